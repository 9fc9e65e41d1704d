"""From a recording to its phase, by the network and by others: four examples, the tables of docs/real-signals.md.

    .venv/bin/python -m benchmarks.studies.real_signals            # writes docs/real-signals.{csv,svg} and the tables
    .venv/bin/python -m benchmarks.studies.real_signals mains      # prints one example's table
    .venv/bin/python -m benchmarks.studies.real_signals mains train.epochs=1     # with other parameters

For each example, a network is trained on windows drawn like the signal, and estimates the recording with the command
`predict`. benchmarks/studies/recordings.py has the signals, classical.py the other estimators.
"""

import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure

from benchmarks.frameworks.tasks import make_tree
from benchmarks.pages import write_section
from benchmarks.processes import PROJECT, run
from benchmarks.studies import classical
from benchmarks.studies.recordings import EXAMPLES, Complexes, Example, Floats, Recording
from quadrature.plotting.figures import BLUE, GREY, ORANGE, style, svg

DOCS = PROJECT / "docs"

TRAINING: Mapping[str, object] = {
    "generate.windows": {"train": 262144, "validation": 4096, "test": 4096},
    "generate.span": None,
    "targets.kind": "clean",
    "model.output": "analytic",
    "train.epochs": 4,
}
METHODS = {"network": "the network", "least_squares": "least squares", "hilbert": "Hilbert transform", "sogi": "SOGI",
           "kalman": "Kalman filter"}  # fmt: skip


def by_network(example: Example, samples: Floats, changes: Mapping[str, object]) -> dict[str, Complexes]:
    """Trains a network for an example; returns its estimates of the signal, `causal` and `afterwards`."""
    with tempfile.TemporaryDirectory() as folder:
        section = {f"generate.{name}": value for name, value in example.generate.items()}
        tree = make_tree(Path(folder) / "tree", {**TRAINING, **section, **changes})
        run([sys.executable, "-m", "stages.train"], tree)
        pd.DataFrame({"signal": samples}).to_csv(tree / "signal.csv", index=False)
        found = {}
        for when, at in (("causal", "end"), ("afterwards", "mean")):
            command = ["-m", "quadrature", "predict", "--model", "models/model.safetensors", "--input", "signal.csv"]
            command += ["--hop", "1", "--column", "signal", "--at", at, "--output", f"{at}.csv"]
            subprocess.run([sys.executable, *command], cwd=tree, check=True)
            table = pd.read_csv(tree / f"{at}.csv")
            found[when] = table["quadrature"].to_numpy() + 1j * table["in_phase"].to_numpy()
    return found


def estimates(example: Example, samples: Floats, changes: Mapping[str, object]) -> dict[str, dict[str, Complexes]]:
    """Returns the estimates of each method, `causal` and, where it has one, `afterwards`."""
    length, centred = int(str(example.generate["length"])), samples - samples.mean()
    return {
        "network": by_network(example, centred, changes),
        "least_squares": {
            when: classical.least_squares(samples, example.turn, length, when == "causal")
            for when in ("causal", "afterwards")
        },
        "hilbert": {when: classical.hilbert(samples, length, when == "causal") for when in ("causal", "afterwards")},
        "sogi": {"causal": classical.sogi(centred, example.turn)},
        "kalman": {
            when: classical.kalman(samples, example.turn, when != "causal") for when in ("causal", "afterwards")
        },
    }


def phase_error(estimate: Complexes, recording: Recording, example: Example) -> float:
    """Returns the error of the phase in degrees, root mean square, without two windows at either end."""
    edge = 2 * example.length
    turned = np.angle(estimate * recording.truth.conj(), deg=True)[edge:-edge]
    return float(np.sqrt(np.mean(np.square(turned))))


def measure(name: str, changes: Mapping[str, object]) -> tuple[pd.DataFrame, Recording, Complexes]:
    """Returns an example's errors, its recording, and the network's estimates afterwards."""
    example = EXAMPLES[name]
    recording = example.record(example)
    found = estimates(example, recording.samples, changes)
    rows = {
        method: {when: phase_error(estimate, recording, example) for when, estimate in by_time.items()}
        for method, by_time in found.items()
    }
    errors = pd.DataFrame(rows).T.reindex(columns=["causal", "afterwards"]).round(2)
    return errors, recording, found["network"]["afterwards"]


def table(errors: pd.DataFrame) -> str:
    """Returns an example's table."""
    rows = [
        f"| {METHODS[str(method)]} | " + " | ".join("" if np.isnan(each) else f"{each:.1f}" for each in row) + " |"
        for method, row in errors.iterrows()
    ]
    return "\n".join(["| phase error, degrees | as samples come | afterwards |", "|---|---|---|", *rows])


def picture(measured: Mapping[str, tuple[pd.DataFrame, Recording, Complexes]]) -> bytes:
    """Draws a part of each signal, and the network's estimates of both components."""
    with style():
        figure = Figure(figsize=(8.4, 2.3 * len(measured)))
        panels = figure.subplots(len(measured), 1, squeeze=False)[:, 0]
        for panel, (name, (_, recording, estimate)) in zip(panels, measured.items(), strict=True):
            example = EXAMPLES[name]
            shown = slice(100, 100 + round(6.0 * 2.0 * math.pi / example.turn))
            time = np.arange(len(estimate))[shown] / example.rate
            centred = recording.samples - recording.samples.mean()
            panel.plot(time, centred[shown], "o", color=GREY, markersize=2.5, label="samples, without their mean")
            panel.plot(time, estimate.imag[shown], color=BLUE, label="in-phase estimate")
            panel.plot(time, estimate.real[shown], "--", color=ORANGE, label="quadrature estimate")
            panel.set(title=example.title, xlabel=f"time ({example.time})", ylabel=example.unit)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
        return svg(figure)


def main(names: list[str], changes: Mapping[str, object]) -> None:
    measured = {name: measure(name, changes) for name in names or EXAMPLES}
    for name, (errors, _, _) in measured.items():
        print(f"\n{EXAMPLES[name].title}\n\n{table(errors)}", flush=True)
    if names:
        return
    pd.concat({name: errors for name, (errors, _, _) in measured.items()}, names=["signal", "method"]).to_csv(
        DOCS / "real-signals.csv", float_format="%.2f"
    )
    (DOCS / "real-signals.svg").write_bytes(picture(measured))
    for name, (errors, _, _) in measured.items():
        write_section(DOCS / "real-signals.md", name, table(errors))


if __name__ == "__main__":
    words = sys.argv[1:]
    main(
        [word for word in words if "=" not in word],
        {name: yaml.safe_load(value) for name, value in (word.split("=", 1) for word in words if "=" in word)},
    )
