"""A plain torch loop over a DataLoader."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.frameworks.peers import task


class Network(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.gru = nn.GRU(1, hidden, batch_first=True)
        self.linear = nn.Linear(hidden, task.LENGTH)

    def forward(self, window: Tensor) -> Tensor:
        _, state = self.gru(window)
        return self.linear(state[-1])


def build(hidden: int, seed: int) -> Network:
    torch.manual_seed(seed)
    return Network(hidden)


def dataset(inputs: np.ndarray, target: np.ndarray) -> TensorDataset:
    return TensorDataset(torch.tensor(inputs).unsqueeze(-1), torch.tensor(target))


def train(
    model: nn.Module, inputs: np.ndarray, target: np.ndarray, batch: int, epochs: int = 1, rate: float | None = None
) -> nn.Module:
    loader = DataLoader(dataset(inputs, target), batch_size=batch, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters())
    schedule = rate and torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, epochs=epochs, steps_per_epoch=len(loader), cycle_momentum=False
    )
    for _ in range(epochs):
        for window, cosine in loader:
            loss = nn.functional.mse_loss(model(window), cosine)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if schedule:
                schedule.step()
    return model


@torch.no_grad()
def estimate(model: nn.Module, inputs: np.ndarray) -> np.ndarray:
    return model(torch.tensor(inputs).unsqueeze(-1)).numpy()


def load(model: nn.Module, weights: Mapping[str, np.ndarray]) -> nn.Module:
    model.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights})
    return model


def count(model: nn.Module) -> int:
    return sum(weights.numel() for weights in model.parameters())


if __name__ == "__main__":
    task.main(task.Peer(build, train, estimate, load, count), torch.set_num_threads)
