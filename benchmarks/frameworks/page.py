"""Shows the bench's results as tables and a picture: results.json -> results.md, results.svg, docs/performance.md.

.venv/bin/python -m benchmarks.frameworks.page benchmarks/frameworks
"""

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.frameworks.results import OURS, Row
from benchmarks.pages import write_section
from benchmarks.processes import PROJECT
from quadrature.plotting.figures import BLUE, GREEN, GREY, ORANGE, style, svg

Results = dict[str, Any]

LABELS = {
    "ours": "this project",
    "article": "the article's loop",
    "torch": "plain torch loop",
    "lightning": "PyTorch Lightning",
    "keras-jax": "Keras on JAX",
    "keras-torch": "Keras on torch",
    "equinox": "JAX, equinox, optax",
}
LOOKS = {
    "ours": (ORANGE, "-", "o"),
    "article": (GREY, ":", "v"),
    "torch": (BLUE, "--", "s"),
    "lightning": ("#56B4E9", "--", "D"),
    "keras-jax": (GREEN, "-.", "^"),
    "keras-torch": ("#CC79A7", ":", "P"),
    "equinox": ("#E69F00", "-.", "X"),
}
"""Each framework's colour (from Okabe and Ito's palette), line and marker."""

TASKS = {"default": "default task", "given": "default, posterior means given", "article": "article's windows"}


def tabulate(results: Results) -> str:
    """Returns both tables in Markdown, ratios first, and a list of the frameworks that are better than this project."""
    summary, machine = results["summary"], results["machine"]
    speeds, times = summary["throughput"], summary["target"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"]["peers"].items())
    names = list(dict.fromkeys(name for rows in (*speeds.values(), *times.values()) for name in rows))
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {results['date']}, "
        f"commit {results['commit']}; peers: {versions}.",
        f"Medians of {results['settings']['rounds']} rounds; ratios are to this project's.",
        "",
        "**Steady training**, hidden size x batch: ratio (windows a second; threads). More is better.",
        "",
        *table(["", *speeds], [[LABELS[name], *(speed(rows.get(name)) for rows in speeds.values())] for name in names]),
        "",
        "**Time to target** and peak memory, the whole process from a cold start: ratio (median). Less is better.",
        "",
        *table(
            ["", *(f"{TASKS[task]}, {what}" for task in times for what in ("time", "memory"))],
            [[LABELS[name], *(cell for rows in times.values() for cell in time(rows.get(name)))] for name in names],
        ),
        "",
        better(results),
    ]
    return "\n".join(lines) + "\n"


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Returns a table's lines in Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def speed(row: Row | None) -> str:
    """Returns a cell of the first table."""
    if row is None:
        return "–"
    return f"**{ratio(row['windows_per_second_ratio'])}** ({row['windows_per_second']:,.0f}; {row['threads']})"


def time(row: Row | None) -> tuple[str, str]:
    """Returns the two cells of the second table. A framework that missed the target has no time."""
    if row is None:
        return "–", "–"
    if not row["reached"]:
        return f"missed in {row['runs']} of {row['runs']}", "–"
    missed = f"; missed in {row['runs'] - row['reached']} of {row['runs']}" if row["reached"] < row["runs"] else ""
    return (
        f"**{ratio(row['seconds_ratio'])}** ({row['seconds']:.1f} s{missed})",
        f"**{ratio(row['peak_mb_ratio'])}** ({row['peak_mb']:,.0f} MB)",
    )


def ratio(value: float | None) -> str:
    """Returns a ratio as text, a dash for None."""
    return "–" if value is None else f"{value:.2f}"


def better(results: Results) -> str:
    """Returns a sentence that names who is better than this project, and at what."""
    speeds, times = results["summary"]["throughput"], results["summary"]["target"]
    found = [
        f"{LABELS[name]} at {size} ({row['windows_per_second_ratio']:.2f} x the speed)"
        for size, rows in speeds.items()
        for name, row in rows.items()
        if (row["windows_per_second_ratio"] or 0.0) > 1.0
    ]
    found += [
        f"{LABELS[name]} on the {TASKS[task]} ({row[f'{figure}_ratio']:.2f} x the {word})"
        for task, rows in times.items()
        for figure, word in (("seconds", "time"), ("peak_mb", "memory"))
        for name, row in rows.items()
        if (row[f"{figure}_ratio"] or 1.0) < 1.0
    ]
    return "\n".join(["Better than this project:", "", *(f"- {each}" for each in found or ["none"])])


def draw(results: Results) -> bytes:
    """Draws steady training by size, and the time to each target beside it."""
    summary, machine = results["summary"], results["machine"]
    times = summary["target"]
    with style():
        figure = Figure(figsize=(5.2 + 2.6 * len(times), 4.6))
        left, *right = figure.subplots(1, 1 + len(times), width_ratios=(1.5, *(1.0 for _ in times)))
        draw_speeds(left, summary["throughput"])
        for panel, (task, rows) in zip(right, times.items(), strict=True):
            draw_times(panel, rows, f"Time to target:\n{TASKS[task]}")
        for panel in right[1:]:
            panel.set_yticklabels([])
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
        figure.suptitle(f"{machine['processor']}, {machine['cores']} cores, {results['date']}", fontsize="small")
        return svg(figure)


def draw_speeds(panel: Axes, speeds: dict[str, dict[str, Row]]) -> None:
    """Draws a line for each framework over the sizes."""
    names = dict.fromkeys(name for rows in speeds.values() for name in rows)
    sizes = [size.replace("x", "\n") for size in speeds]
    for name in names:
        color, line, marker = LOOKS[name]
        values = [rows[name]["windows_per_second"] for rows in speeds.values()]
        width = 2.4 if name == OURS else 1.4
        panel.plot(sizes, values, line, color=color, marker=marker, linewidth=width, label=LABELS[name])
    panel.set(yscale="log", xlabel="hidden size, and batch below", ylabel="windows a second", title="Steady training")
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.grid(alpha=0.3, which="both")


def draw_times(panel: Axes, rows: dict[str, Row], title: str) -> None:
    """Draws a bar for each framework, the first on top, or the word `missed` if it missed the target."""
    for place, (name, row) in enumerate(rows.items()):
        panel.barh(place, row["seconds"] or 0.0, color=LOOKS[name][0])
        text = f"{row['seconds']:.1f}" if row["reached"] else "missed"
        panel.annotate(text, (row["seconds"] or 0.0, place), (3, 0), textcoords="offset points", va="center")
    panel.set(xlabel="seconds, from a cold start", title=title)
    panel.set_yticks(range(len(rows)), [LABELS[name] for name in rows])
    panel.invert_yaxis()
    panel.set_xlim(0.0, 1.2 * max((row["seconds"] or 0.0 for row in rows.values()), default=0.0) or 1.0)
    panel.grid(visible=False, axis="y")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    measured = json.loads((folder / "results.json").read_text())
    (folder / "results.md").write_text(tabulate(measured))
    (folder / "results.svg").write_bytes(draw(measured))
    if folder.resolve() == PROJECT / "benchmarks/frameworks":
        write_section(PROJECT / "docs/performance.md", "bench", tabulate(measured).strip())
