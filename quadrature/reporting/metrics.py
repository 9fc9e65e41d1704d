"""metrics/test.json and metrics/train.json as the stages after them read them: every name there, nothing strange."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from quadrature.runtime.errors import DataError
from quadrature.storage.digest import DigestList


class Metrics(BaseModel):
    """A metrics file: the names it must hold, finite numbers, and nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Baselines(Metrics):
    """Mean squared errors of what a user could have had instead, on the same windows."""

    zero: float
    hilbert: float
    least_squares: float


class TestMetrics(Metrics):
    """What evaluate says; docs/accuracy.md tells what each means."""

    mse: float
    rmse: float
    max_abs_error: float
    floor_mse: float | None
    floor_windows: int
    excess: float | None
    excess_standard_error: float | None
    floor_numerical_error: float | None
    floor_missing: str | None
    baselines: Baselines
    windows: int
    seen_in_training: float


class TrainMetrics(Metrics):
    """What train says."""

    epochs: int
    steps: int
    parameters: int
    train_mse: float
    validation_mse: float


Model = TypeVar("Model", bound=Metrics)


def read_metrics(model: type[Model], path: Path, digests: DigestList) -> Model:
    """Returns a metrics file's content. Raises DataError naming the file and all that is wrong with it."""
    try:
        return model.model_validate_json(digests.read(path))
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}".lstrip(": ") for each in error.errors())
        raise DataError(
            f"{path} is not what this project writes ({reasons}); run `dvc repro` to make it again"
        ) from None
