"""PyTorch Lightning without logger, checkpoints, progress bar and summary, which only cost time."""

import logging
import warnings

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.frameworks.peers import task
from benchmarks.frameworks.peers.torch_loop import Network, count, dataset, estimate, load


class Regression(pl.LightningModule):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.network = Network(hidden)
        self.rate: float | None = None

    def forward(self, window: Tensor) -> Tensor:
        return self.network(window)

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        window, cosine = batch
        return nn.functional.mse_loss(self(window), cosine)

    def configure_optimizers(self) -> object:
        optimizer = torch.optim.Adam(self.parameters())
        if not self.rate:
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.rate, total_steps=steps, cycle_momentum=False)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def build(hidden: int, seed: int) -> Regression:
    pl.seed_everything(seed, verbose=False)
    return Regression(hidden)


def train(
    model: Regression, inputs: np.ndarray, target: np.ndarray, batch: int, epochs: int = 1, rate: float | None = None
) -> Regression:
    loader = DataLoader(dataset(inputs, target), batch_size=batch, shuffle=True)
    model.rate = rate
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, loader)
    return model


def load_network(model: Regression, weights: dict[str, np.ndarray]) -> Regression:
    load(model.network, weights)
    return model


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    task.main(task.Peer(build, train, estimate, load_network, count), torch.set_num_threads)
