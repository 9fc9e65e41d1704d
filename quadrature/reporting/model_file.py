"""Reads a model file without torch: the network's parameters, and the names and shapes of its weights."""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
from numpy.typing import NDArray

from quadrature.runtime.errors import DataError
from quadrature.runtime.settings import Section
from quadrature.runtime.system_errors import refuse_special, reraise_systems
from quadrature.storage import digest


class Weights(NamedTuple):
    """A tensor of the network, with its name and shape in torch."""

    name: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        """The number of its elements."""
        return math.prod(self.shape)


class Blueprint(Section, extra="allow"):
    """The part of a file's metadata that pages show."""

    model: dict[str, object]
    window_length: int
    sha256: str
    scale: float = 1.0
    ranges: dict[str, tuple[float, float]] | None = None  # of the windows in training
    trained_on: dict[str, str] | None = None  # digests of training's windows and targets


class ModelFile(NamedTuple):
    """What a model file says of its network, with the weights if they are few."""

    blueprint: Blueprint
    weights: list[Weights]  # sorted by name
    tensors: Mapping[str, NDArray[np.floating]] | None
    md5: str  # of the file, by which dvc.lock names it


def read_model(path: Path, most: int) -> ModelFile:
    """Reads a model file, its weights only if they are at most so many. Raises DataError if missing or damaged."""
    refuse_special(path)
    try:
        with path.open("rb") as whole:
            digest.check(whole)
            whole.seek(0)
            md5 = hashlib.file_digest(whole, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        with safetensors.safe_open(path, framework="np") as file:
            blueprint = Blueprint.model_validate_json((file.metadata() or {}).get("quadrature", ""))
            weights = [Weights(name, tuple(file.get_slice(name).get_shape())) for name in sorted(file.keys())]
            are_few = sum(each.numbers for each in weights) <= most
            tensors = {each.name: file.get_tensor(each.name) for each in weights} if are_few else None
        return ModelFile(blueprint, weights, tensors, md5)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run `dvc repro train` to make it") from None
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        reraise_systems(error, path)
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path} is not a model of this project ({reason}); remove it and run `dvc repro train`"
        ) from None
