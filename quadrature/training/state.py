"""A model on its way: with the parameters and the windows, all that going on takes."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from quadrature.storage.history import Record
from quadrature.training.adam import Adam
from quadrature.training.checkpoint import prefixed, within
from quadrature.training.params import TrainParams
from quadrature.training.soap import SOAP


class Optimizer(Protocol):
    """Moves weights; `state` and `restore` are those of a checkpoint."""

    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """Moves the weights against their gradients."""

    def state(self) -> dict[str, Tensor]: ...
    def restore(self, state: Mapping[str, Tensor]) -> None: ...


class Training:
    """A model on its way: with the parameters and the windows, all that going on takes."""

    def __init__(self, model: nn.Module, params: TrainParams) -> None:
        self.model = model
        self.params = params
        self.optimizer = make_optimizer(model, params)
        self.step = 0  # steps done
        self.records: list[Record] = []
        self.samples = 0  # that the losses since the last record are sums over
        # One buffer, not a tensor a step: those would pin the memory that each step's others are returned to, and a
        # training of 1,500 large steps would hold three times what it needs.
        self._losses = torch.zeros(64, device=next(model.parameters()).device)
        self._noted = 0  # of them

    @property
    def losses(self) -> Tensor:
        """The sums of squared errors of the steps since the last record."""
        return self._losses[: self._noted]

    def note(self, loss: Tensor, samples: int) -> None:
        """Counts a step done, whose loss is a sum over so many samples."""
        self.step += 1
        self.samples += samples
        if self._noted == len(self._losses):
            self._losses = torch.cat([self._losses, torch.zeros_like(self._losses)])
        self._losses[self._noted] = loss
        self._noted += 1

    def record(self, record: Record) -> None:
        """Keeps a record of the steps since the one before."""
        self.records.append(record)
        self.samples = self._noted = 0

    def state(self) -> dict[str, Tensor]:
        """Returns all that changes from step to step."""
        return {
            "step": torch.tensor(self.step),
            "samples": torch.tensor(self.samples),
            "losses": self.losses.clone(),
            "records": torch.tensor(self.records, dtype=torch.float64),
            **prefixed("model", self.model.state_dict()),
            **prefixed("optimizer", self.optimizer.state()),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a state."""
        self.step, self.samples = int(state["step"]), int(state["samples"])
        losses = state["losses"].to(self._losses.device)
        self._noted = len(losses)
        self._losses = torch.cat([losses, torch.zeros_like(self._losses)])
        rows = state["records"].tolist()
        self.records = [Record(epoch, int(step), *figures) for epoch, step, *figures in rows]
        self.model.load_state_dict(within("model", state))
        self.optimizer.restore(within("optimizer", state))


def make_optimizer(model: nn.Module, params: TrainParams) -> Optimizer:
    """Returns the optimizer of the model's weights, before its first step."""
    match params.optimizer:
        case "adam":
            return Adam(model.parameters())
        case "soap":
            return SOAP(model.parameters())
