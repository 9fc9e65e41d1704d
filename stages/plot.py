"""Draws the run: predictions, snapshots and history -> metrics/plots/*.svg and training.gif, metrics/error_by_*.csv."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from quadrature.plotting import animation, error_tables, figures
from quadrature.plotting.figures import PlotParams
from quadrature.runtime import lifecycle
from quadrature.runtime.params import load_params
from quadrature.runtime.settings import Section
from quadrature.storage.digest import DigestList, write_list
from quadrature.storage.files import write_bytes
from quadrature.storage.history import read_history
from quadrature.storage.windows import ESTIMATE_COLUMNS, WINDOW_COLUMNS, read_snapshots, read_windows


class Params(Section):
    span: Annotated[float, Field(gt=0.0, alias="generate.span")]
    plot: PlotParams


def main() -> None:
    params = load_params(Params)
    columns = read_windows(Path("data/predictions.parquet"), (*WINDOW_COLUMNS, *ESTIMATE_COLUMNS))
    snapshots = read_snapshots(Path("data/snapshots.parquet"))
    history = read_history(Path("metrics/history.csv"), DigestList(Path("data/digests/train.sha256")))
    errors = {
        "position": error_tables.error_by_position(columns),
        "frequency": error_tables.error_by_frequency(columns, params.plot.bins),
        "phase": error_tables.error_by_phase(columns, params.plot.bins),
    }
    pictures = {
        "task.svg": figures.task(columns, params.span),
        "learning_curves.svg": figures.learning_curves(history),
        "predictions.svg": figures.predictions(columns, params.plot, params.span),
        "error_by_position.svg": figures.error_by_position(errors["position"]),
        "error_by_signal.svg": figures.error_by_signal(errors["frequency"], errors["phase"]),
        "training.gif": animation.training(snapshots, params.span),
    }
    written = {Path(f"metrics/plots/{name}"): picture for name, picture in pictures.items()}
    for name, table in errors.items():
        error_tables.write_table(Path(f"metrics/error_by_{name}.csv"), table)
    for path, picture in written.items():
        write_bytes(path, picture)
    write_list(Path("data/digests/plot.sha256"), written)


if __name__ == "__main__":
    lifecycle.run(main)
