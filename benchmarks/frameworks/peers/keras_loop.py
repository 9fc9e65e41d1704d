"""Keras on the backend that KERAS_BACKEND names: compile and fit."""

from collections.abc import Mapping

import keras
import numpy as np

from benchmarks.frameworks.peers import task

# Steps that `fit` takes between two looks at its callbacks. On JAX this saves a dispatch from Python per step. On torch
# it has no effect, as every operation is dispatched from Python.
STEPS_PER_EXECUTION = 32 if keras.backend.backend() == "jax" else 1


def build(hidden: int, seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    # Unrolling makes a wide network two to three times as fast on XLA. Narrow ones and torch gain nothing.
    unroll = keras.backend.backend() == "jax" and hidden >= 64
    layers = [keras.Input((task.LENGTH, 1)), keras.layers.GRU(hidden, unroll=unroll), keras.layers.Dense(task.LENGTH)]
    return keras.Sequential(layers)


def train(
    model: keras.Model, inputs: np.ndarray, target: np.ndarray, batch: int, epochs: int = 1, rate: float | None = None
) -> keras.Model:
    if not model.compiled:
        steps = epochs * -(-len(inputs) // batch)
        rise = int(task.RISE * steps)
        optimizer = keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(
                rate * task.START, steps - rise, alpha=task.END, warmup_target=rate, warmup_steps=rise
            )
            if rate
            else 0.001
        )
        model.compile(optimizer, "mse", steps_per_execution=STEPS_PER_EXECUTION)
    model.fit(inputs[:, :, None], target, batch_size=batch, epochs=epochs, verbose=0)
    return model


def estimate(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    return model.predict(inputs[:, :, None], batch_size=1024, verbose=0)


def load(model: keras.Model, weights: Mapping[str, np.ndarray]) -> keras.Model:
    def gates(name: str) -> np.ndarray:
        reset, update, new = np.split(weights[f"gru.{name}_l0"], 3)
        return np.concatenate([update, reset, new])  # Keras' order

    bias = np.stack([gates("bias_ih"), gates("bias_hh")])
    kernels = [gates("weight_ih").T, gates("weight_hh").T, bias]
    model.set_weights([*kernels, weights["linear.weight"].T, weights["linear.bias"]])
    return model


if __name__ == "__main__":
    limit = None
    if keras.backend.backend() == "torch":
        import torch

        limit = torch.set_num_threads
    peer = task.Peer(build, train, estimate, load, keras.Model.count_params)
    task.main(peer, *([limit] if limit else []))
