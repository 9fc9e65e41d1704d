"""The network's file: its weights and the arguments that rebuild it."""

from pathlib import Path
from typing import Annotated, Any

import safetensors
import torch
from pydantic import Field, model_validator
from safetensors.torch import save

from quadrature.network.model import QuadratureNetwork
from quadrature.network.params import Execution, ModelParams
from quadrature.network.ranges import Ranges
from quadrature.runtime.errors import DataError
from quadrature.runtime.settings import Section
from quadrature.runtime.system_errors import refuse_special, reraise_systems
from quadrature.storage import digest
from quadrature.storage.files import canonical_json, replacing

LEAST, MOST = 2.0**-126, 2.0**127
"""Bounds of the number by which a network divides windows: float32's normal numbers."""


class _Blueprint(Section):
    """A model file's metadata, under the key `quadrature`."""

    model: ModelParams
    window_length: Annotated[int, Field(ge=1)]
    sha256: str
    scale: Annotated[float, Field(ge=LEAST, le=MOST)] = 1.0  # absent if 1
    ranges: Ranges | None = None
    trained_on: dict[str, str] | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_older_files(cls, values: Any) -> Any:
        """Adds model.output, which files lack that were written before there was a choice."""
        if isinstance(values, dict) and isinstance(values.get("model"), dict):
            values = {**values, "model": {"output": "quadrature", **values["model"]}}
        return values


def save_model(network: QuadratureNetwork, path: Path) -> None:
    """Writes the weights and the arguments that rebuild the network; the same network gives the same bytes."""
    blueprint = _Blueprint(
        model=network.params,
        window_length=network.window_length,
        sha256=digest.ZEROS,
        scale=network.scale,
        ranges=network.ranges,
        trained_on=network.trained_on,
    )
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    # One metadata key: safetensors writes several in random order.
    metadata = {"quadrature": canonical_json(blueprint.model_dump(exclude_defaults=True))}
    with replacing(path) as temporary:
        temporary.write_bytes(save(weights, metadata=metadata))
        digest.write(temporary)


def load_model(path: Path, execution: Execution | None = None) -> QuadratureNetwork:
    """Builds the network from its file alone, on the CPU, in evaluation mode. Raises DataError.

    `execution` overrides the execution that the network was trained with: the weights serve both.
    """
    refuse_special(path)
    try:
        with path.open("rb") as whole:
            digest.check(whole)
        with safetensors.safe_open(path, framework="pt") as file:
            blueprint = _Blueprint.model_validate_json((file.metadata() or {}).get("quadrature", ""))
            # Copied out of the file's buffer, whose tensors are at any address, torch's own at multiples of 64 bytes:
            # MKL's sums differ in the last bits between alignments (seen on AMD Zen 4).
            weights = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118, no dict
        params = blueprint.model.model_copy(update={} if execution is None else {"execution": execution})
        with torch.device("meta"):  # takes no memory and draws no numbers until the weights fit
            network = QuadratureNetwork(params, blueprint.window_length, blueprint.scale)
            network.ranges, network.trained_on = blueprint.ranges, blueprint.trained_on
        network.load_state_dict(weights, assign=True)
        for name, tensor in weights.items():
            if tensor.dtype != torch.float32 or not tensor.isfinite().all():
                raise ValueError(f"{name} is not all finite float32")
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run `dvc repro train` to make it") from None
    except (OSError, safetensors.SafetensorError, ValueError, RuntimeError) as error:
        reraise_systems(error, path)
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"{path} is not a model of this project ({reason}); if it should be, remove it and run `dvc repro train`"
        ) from None
    return network.eval()
