"""What a model file says of its weights, read without torch and without the weights themselves."""

import math
from pathlib import Path
from typing import NamedTuple

import safetensors

from quadrature.runtime.errors import DataError
from quadrature.storage import digest
from quadrature.storage.files import reraise_systems


class Weights(NamedTuple):
    """One tensor of the network, named and shaped as torch has it."""

    name: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def read_weights(path: Path) -> list[Weights]:
    """Returns the tensors of a model file, by name. Raises DataError when it is missing or damaged."""
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
            f"{path} is no model of this project ({error}); `dvc repro train` makes one where none is"
        ) from None
