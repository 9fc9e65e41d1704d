"""Amplitude, phase and frequency of a signal from short windows of noisy samples, by a recurrent network."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from quadrature.prediction.model import Model

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


def load(path: Path | str) -> Model:
    """Returns the trained network in a file, such as models/model.safetensors. Raises quadrature's DataError."""
    from quadrature.prediction.model import load  # imports torch, which takes seconds

    return load(path)
