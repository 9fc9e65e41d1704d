"""The article's loop (docs/article/script.py): float64 windows and a DataLoader with two workers."""

import numpy as np
import torch
import torch.utils.data as Data  # noqa: N812, the article's name
from torch import nn, optim

from benchmarks.frameworks.peers import task
from benchmarks.frameworks.peers.torch_loop import count, estimate, load


class GRU(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.gru = nn.GRU(input_size=1, hidden_size=hidden, num_layers=1, batch_first=True)
        self.linear = nn.Linear(hidden, task.LENGTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out, _ = self.gru(x)
        out = out[:, -1, :]
        return self.linear(out)


def build(hidden: int, seed: int) -> GRU:
    torch.manual_seed(seed)
    return GRU(hidden)


def train(
    model: GRU, inputs: np.ndarray, target: np.ndarray, batch: int, epochs: int = 1, rate: float | None = None
) -> GRU:
    train_x = torch.from_numpy(inputs[:, :, None].astype(np.float64))
    train_y = torch.from_numpy(target.astype(np.float64))
    torch_dataset = Data.TensorDataset(train_x, train_y)
    loader = Data.DataLoader(dataset=torch_dataset, batch_size=batch, shuffle=True, num_workers=2)
    criterion = nn.MSELoss()
    optimizer = optim.Adam(model.parameters())
    schedule = rate and optim.lr_scheduler.OneCycleLR(
        optimizer, rate, epochs=epochs, steps_per_epoch=len(loader), cycle_momentum=False
    )
    for _ in range(epochs):
        for batch_x, batch_y in loader:
            x = batch_x.float()
            y = batch_y.float()
            output = model(x)
            loss = criterion(output, y)
            model.zero_grad()
            loss.backward(retain_graph=True)
            optimizer.step()
            if schedule:
                schedule.step()
    return model


if __name__ == "__main__":
    task.main(task.Peer(build, train, estimate, load, count), torch.set_num_threads)
