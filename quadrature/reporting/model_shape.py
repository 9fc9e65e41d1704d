"""Reads the names and shapes of a model file's weights, without torch and without loading the weights."""

import math
from pathlib import Path
from typing import NamedTuple

import safetensors

from quadrature.runtime.errors import DataError
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


def read_weights(path: Path) -> list[Weights]:
    """Returns the tensors of a model file, sorted by name. Raises DataError if the file is missing or damaged."""
    refuse_special(path)
    try:
        with path.open("rb") as whole:
            digest.check(whole)
        with safetensors.safe_open(path, framework="np") as file:
            return [Weights(name, tuple(file.get_slice(name).get_shape())) for name in sorted(file.keys())]
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run `dvc repro train` to make it") from None
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        reraise_systems(error, path)
        raise DataError(
            f"{path} is not a model of this project ({error}); remove it and run `dvc repro train`"
        ) from None
