"""The `train` section of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from quadrature.runtime.params import Seed
from quadrature.runtime.settings import Section
from quadrature.training.schedule import Schedule


class TrainParams(Section):
    """The `train` section."""

    seed: Seed
    epochs: Annotated[int, Field(ge=1, le=10**6)]
    batch_size: Annotated[int, Field(ge=1, le=2**24)]  # windows per optimizer step
    optimizer: Literal["adam", "soap"]
    learning_rate: Annotated[float, Field(gt=0.0, le=10.0)]  # the schedule's highest
    schedule: Schedule
    gradient_clip: Annotated[float, Field(gt=0.0)] | None  # largest norm of the gradient; null: no limit
    validations_per_epoch: Annotated[int, Field(ge=1, le=10**6)]  # rows of history.csv, at most one a step
    snapshots: Annotated[int, Field(ge=2, le=200)]  # at most, including the untrained network and the last step
    snapshot_windows: Annotated[int, Field(ge=1, le=6)]  # validation windows that each snapshot estimates
    processes: Annotated[int, Field(ge=1, le=1024)]  # which share the gradient's shards
    threads: Annotated[int, Field(ge=1, le=1024)]  # cores of each process, which share its shards
    shuffle_windows: Annotated[int, Field(ge=1, le=2**40)]
    gradient_shards: Annotated[int, Field(ge=1, le=1024)]  # of a batch; one core computes a shard

    @field_validator("batch_size")
    @classmethod
    def _is_not_above_the_split(cls, batch_size: int, info: ValidationInfo) -> int:
        windows = (info.context or {}).get("generate.windows.train")
        if isinstance(windows, int) and batch_size > windows:
            raise ValueError(f"it should not be above generate.windows.train, {windows}")
        return batch_size

    @field_validator("gradient_shards")
    @classmethod
    def _can_be_shared(cls, gradient_shards: int, info: ValidationInfo) -> int:
        processes = info.data.get("processes", 1)
        if gradient_shards % processes:
            raise ValueError(f"{processes} processes cannot share them evenly; make it a multiple of {processes}")
        return gradient_shards
