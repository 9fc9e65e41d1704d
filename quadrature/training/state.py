"""A training in progress: with the parameters and the windows, everything that resuming takes."""

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
    """Moves weights against their gradients."""

    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """Moves the weights once."""

    def state_dict(self) -> dict[str, Tensor]: ...
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None: ...


def make_optimizer(model: nn.Module, params: TrainParams) -> Optimizer:
    """Returns the optimizer of the model's weights, before its first step."""
    match params.optimizer:
        case "adam":
            return Adam(model.parameters())
        case "soap":
            return SOAP(model.parameters())


class Training:
    """A model, its optimizer, the number of steps done, and the losses and records so far."""

    def __init__(self, model: nn.Module, params: TrainParams) -> None:
        self.model = model
        self.params = params
        self.optimizer = make_optimizer(model, params)
        self.step = 0
        """Optimizer steps done."""
        self.records: list[Record] = []
        self.samples = 0
        """Samples over which the losses since the last record are sums."""
        # One buffer rather than a tensor a step: single tensors would pin the memory blocks that each step's other
        # tensors are freed into, and a training of 1,500 large steps would hold three times the memory it needs.
        self._losses = torch.zeros(64, device=next(model.parameters()).device)
        self._count = 0  # of losses in the buffer

    @property
    def losses(self) -> Tensor:
        """The sums of squared errors of the steps since the last record, in units of the scale squared."""
        return self._losses[: self._count]

    def add_loss(self, loss: Tensor, samples: int) -> None:
        """Counts a step, whose loss is a sum over so many samples."""
        self.step += 1
        self.samples += samples
        if self._count == len(self._losses):
            self._losses = torch.cat([self._losses, torch.zeros_like(self._losses)])
        self._losses[self._count] = loss
        self._count += 1

    def add_record(self, record: Record) -> None:
        """Keeps a record of the steps since the previous one, whose losses are no longer needed."""
        self.records.append(record)
        self.samples = self._count = 0

    def state_dict(self) -> dict[str, Tensor]:
        """Returns everything that changes from step to step."""
        return {
            "step": torch.tensor(self.step),
            "samples": torch.tensor(self.samples),
            "losses": self.losses.clone(),
            "records": torch.tensor(self.records, dtype=torch.float64),
            **prefixed("model", self.model.state_dict()),
            **prefixed("optimizer", self.optimizer.state_dict()),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continues from a state that `state_dict` returned."""
        self.step, self.samples = int(state["step"]), int(state["samples"])
        losses = state["losses"].to(self._losses.device)
        self._count = len(losses)
        self._losses = torch.cat([losses, torch.zeros_like(self._losses)])
        rows = state["records"].tolist()
        self.records = [Record(epoch, int(step), *figures) for epoch, step, *figures in rows]
        self.model.load_state_dict(within("model", state))
        self.optimizer.load_state_dict(within("optimizer", state))
