"""The page of a comparison: a dot for every run, the tables, and the learning and error curves."""

from collections.abc import Sequence
from pathlib import Path

from quadrature.experiments import curves, dots
from quadrature.experiments.comparison import Setting
from quadrature.experiments.curves import Drawing
from quadrature.experiments.runs import read_tables
from quadrature.experiments.setting_tables import by_task
from quadrature.reporting import page
from quadrature.storage.files import write_bytes


def write_page(path: Path, settings: Sequence[Setting], metrics: Sequence[str], search: Drawing | None = None) -> None:
    """Writes the page; the first metric is drawn, and orders the settings. `search` is a drawing of their search.

    The curves are those of the best settings of the reference's task: errors of other tasks are not comparable.
    """
    shown = curves.choose(settings)
    tables = [[read_tables(run.name) for run in setting.runs] for setting in shown]
    dot_plot = dots.draw(settings, shown, metrics[0])
    values = {
        "settings": settings,
        "tables": by_task(settings, metrics),
        "shown": len(shown),
        "search": page.encode_svg(*search) if search else None,
        "dots": page.encode_svg(*dot_plot) if dot_plot else None,
        "pictures": [page.encode_svg(*drawing) for drawing in curves.draw(shown, tables)],
    }
    write_bytes(path, page.render("comparison.html", values))
