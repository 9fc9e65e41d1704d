"""The network's file, which holds all that it takes to build it again."""

from pathlib import Path
from typing import Annotated

import safetensors
import torch
from pydantic import Field
from safetensors.torch import save

from quadrature.network.model import Execution, ModelParams, QuadratureNetwork
from quadrature.runtime.errors import DataError
from quadrature.runtime.settings import Section
from quadrature.storage import digest
from quadrature.storage.files import canonical_json, replacing, reraise_systems


class _Blueprint(Section):
    """What a model file says of its network, under the metadata key `quadrature`."""

    model: ModelParams
    window_length: Annotated[int, Field(ge=1)]
    sha256: str


def save_model(network: QuadratureNetwork, path: Path) -> None:
    """Writes the weights and all that it takes to build the network again; the same network gives the same bytes."""
    blueprint = _Blueprint(model=network.params, window_length=network.window_length, sha256=digest.ZEROS)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    # One metadata key: safetensors writes several in an order that changes from run to run.
    with replacing(path) as temporary:
        temporary.write_bytes(save(weights, metadata={"quadrature": canonical_json(blueprint.model_dump())}))
        digest.write(temporary)


def load_model(path: Path, execution: Execution | None = None) -> QuadratureNetwork:
    """Builds the network from its file alone, on the CPU, ready to estimate. Raises DataError.

    It is executed as it was trained, unless another `execution` is asked for: the weights serve both.
    """
    try:
        with path.open("rb") as whole:
            digest.check(whole)
        with safetensors.safe_open(path, framework="pt") as file:
            blueprint = _Blueprint.model_validate_json((file.metadata() or {}).get("quadrature", ""))
            # Copied out of the file's buffer: its tensors lie at any address, torch's own at multiples of 64 bytes,
            # and MKL's sums differ in the last bits from one alignment to another (seen on AMD Zen 4).
            weights = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118, no dict
        params = blueprint.model.model_copy(update={} if execution is None else {"execution": execution})
        with torch.device("meta"):  # no memory and no random numbers until the file's weights are known to fit
            network = QuadratureNetwork(params, blueprint.window_length)
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
            f"{path} is no model of this project ({reason}); `dvc repro train` makes one where none is"
        ) from None
    return network.eval()
