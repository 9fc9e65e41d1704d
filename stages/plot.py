"""Draws the run: predictions, snapshots and history -> metrics/plots/*.svg and training.gif, metrics/error_by_*.csv.

data/narrow/ gets those with panels side by side once more, one below the other: for the report on a phone.
"""

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from quadrature.plotting import animation, error_figures, error_tables, figures
from quadrature.plotting.params import PlotParams
from quadrature.plotting.time_axis import TimeAxis
from quadrature.runtime import lifecycle
from quadrature.runtime.arguments import take_none
from quadrature.runtime.errors import DataError
from quadrature.runtime.params import load_params
from quadrature.runtime.settings import Section
from quadrature.signals.params import GenerateParams
from quadrature.storage.digest import DigestList, write_list
from quadrature.storage.files import write_bytes
from quadrature.storage.history import read_history
from quadrature.storage.windows import (
    ESTIMATE_COLUMNS,
    IN_PHASE_COLUMNS,
    SNAPSHOT_COLUMNS,
    WINDOW_COLUMNS,
    read_row_groups,
    read_windows,
)


class Params(Section):
    output: Annotated[Literal["analytic", "quadrature"], Field(alias="model.output")]
    generate: GenerateParams
    plot: PlotParams


def main() -> None:
    take_none("stages.plot", __doc__)
    params = load_params(Params)
    axis = TimeAxis.of(params.generate)
    # All is read before the first picture is drawn, so that a damaged file is refused at once. Predictions may not fit
    # in memory: they are read a row group at a time, once for each use.
    columns = (*WINDOW_COLUMNS, *ESTIMATE_COLUMNS, *(IN_PHASE_COLUMNS[:1] if params.output == "analytic" else ()))
    read = partial(read_row_groups, Path("data/predictions.parquet"), columns)
    first, worst, fastest = figures.choose_windows(read(), params.plot.windows)
    snapshots = read_windows(Path("data/snapshots.parquet"), SNAPSHOT_COLUMNS, leading=SNAPSHOT_COLUMNS)
    history = read_history(Path("metrics/history.csv"), DigestList(Path("data/digests/train.sha256")))
    floor = read_floor(params.output)
    tables = error_tables.make_tables(read, params.plot.bins)
    sizes = tables.pop("size")
    wide, narrow = (
        {
            "task.svg": figures.task(fastest, axis, narrow=narrow),
            "predictions.svg": figures.predictions(first, axis, narrow=narrow),
            "worst_windows.svg": figures.predictions(worst, axis, narrow=narrow, errors=True),
            "error_by_signal.svg": error_figures.error_by_signal(
                tables["frequency"], tables["phase"], axis, narrow=narrow
            ),
        }
        for narrow in (False, True)
    )
    pictures = wide | {
        "learning_curves.svg": figures.learning_curves(history, floor),
        "error_by_size.svg": error_figures.error_by_size(sizes),
        "error_by_position.svg": error_figures.error_by_position(tables["position"]),
        "training.gif": animation.training(snapshots, axis),
    }
    written = {Path("metrics/plots") / name: picture for name, picture in pictures.items()}
    written |= {Path("data/narrow") / name: picture for name, picture in narrow.items()}
    for name, table in tables.items():
        error_tables.write_table(Path(f"metrics/error_by_{name}.csv"), table)
    for path, picture in written.items():
        write_bytes(path, picture)
    write_list(Path("data/digests/plot.sha256"), written)


def read_floor(output: str) -> float | None:
    """Returns the floor of the components that the network estimates, from metrics/test.json; None if there is none."""
    path, names = Path("metrics/test.json"), ["floor_mse", *(["floor_in_phase_mse"] if output == "analytic" else [])]
    content = DigestList(Path("data/digests/evaluate.sha256")).read(path)
    try:
        test = json.loads(content)
        floors = [None if test[name] is None else float(test[name]) for name in names]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} has wrong content ({error}); run `dvc repro` to make it again") from None
    known = [floor for floor in floors if floor is not None]
    return sum(known) / len(known) if len(known) == len(floors) else None


if __name__ == "__main__":
    lifecycle.run(main)
