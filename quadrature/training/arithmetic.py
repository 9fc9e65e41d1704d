"""A digest of the bits that this machine computes, so that a training is resumed only where they go on.

torch, MKL and oneDNN choose their code by the processor's maker and model and by environment variables. Lists of these
are never complete, and oneDNN does not tell its choice. So the choice is read off the results of the training's own
steps, of its own sizes.
"""

import copy
import hashlib

from torch import nn

from quadrature.network.device import computing_alone
from quadrature.training.batches import Batch
from quadrature.training.params import TrainParams
from quadrature.training.parts import PartGradients
from quadrature.training.state import Training
from quadrature.training.step import TrainStep

_STEPS = 2


def arithmetic(model: nn.Module, params: TrainParams, batch: Batch) -> str:
    """Returns a digest of weights and optimizer after a copy of the model has learned a batch."""
    trial = Training(copy.deepcopy(model), params)
    with computing_alone(), PartGradients(trial.model, params) as gradients:
        take_step = TrainStep(trial.model, trial.optimizer, params, gradients)
        for step in range(1, _STEPS + 1):
            take_step(batch, step, params.learning_rate)
    state = trial.state_dict().values()
    return hashlib.sha256(b"".join(tensor.cpu().numpy().tobytes() for tensor in state)).hexdigest()
