"""Reads metrics/test.json and metrics/train.json, and checks that they hold exactly the expected names and types."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from quadrature.runtime.errors import DataError
from quadrature.storage.digest import DigestList


class Metrics(BaseModel):
    """A metrics file: exactly the declared names, and finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Baselines(Metrics):
    """Mean squared errors of simple alternatives to the network, on the same windows."""

    zero: float
    hilbert: float
    least_squares: float


class AnalyticBaselines(Metrics):
    """Another figure of the same alternatives; None where it is not defined."""

    zero: float | None
    hilbert: float | None
    least_squares: float | None


class TestMetrics(Metrics):
    """The metrics of the evaluate stage; docs/accuracy.md explains each."""

    mse: float
    mse_standard_error: float | None
    rmse: float
    max_abs_error: float
    floor_mse: float | None
    floor_standard_error: float | None
    floor_windows: int
    excess: float | None
    excess_standard_error: float | None
    floor_z_score: float | None
    floor_numerical_error: float | None
    floor_missing: str | None
    baselines: Baselines
    baselines_standard_error: AnalyticBaselines
    in_phase_mse: float | None
    amplitude_rmse: float | None
    phase_rmse_degrees: float | None
    floor_in_phase_mse: float | None
    floor_amplitude_rmse: float | None
    floor_phase_rmse_degrees: float | None
    baselines_in_phase_mse: AnalyticBaselines
    baselines_amplitude_rmse: AnalyticBaselines
    baselines_phase_rmse_degrees: AnalyticBaselines
    windows: int
    seen_in_training: float


class TrainMetrics(Metrics):
    """The metrics of the train stage."""

    epochs: int
    steps: int
    parameters: int
    train_mse: float
    train_target: str  # posterior_mean | clean: the kind of target that train_mse is measured against
    validation_mse: float


Model = TypeVar("Model", bound=Metrics)


def read_metrics(model: type[Model], path: Path, digests: DigestList) -> Model:
    """Returns the metrics in a file. Raises DataError that names the file and all its mistakes."""
    try:
        return model.model_validate_json(digests.read(path))
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}".lstrip(": ") for each in error.errors())
        raise DataError(f"{path} has wrong content ({reasons}); run `dvc repro` to make it again") from None
