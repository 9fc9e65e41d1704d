"""The quadrature component of a running signal, one sample at a time: the network's real-time use."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from quadrature.model import QuadratureNetwork
from quadrature.stepwise import State


class Tracker:
    """Takes each sample as it comes and returns its estimate at once, keeping the hidden state between samples.

        tracker = Tracker(load_model(Path("models/model.safetensors")))
        cosine = tracker.update(sample)

    After n samples it has returned what the network makes of a window of these n, to rounding. The network learnt
    windows of `window_length`; what it makes of longer signals is for the test of whoever uses it, and `reset` begins
    a new one. Raises ValueError unless the network has head `every` and one direction.
    """

    def __init__(self, network: QuadratureNetwork) -> None:
        if network.params.head != "every":
            raise ValueError("head last estimates a window at its end; a tracker needs a network of head every")
        if network.params.bidirectional:
            raise ValueError("two directions wait for the window's end; a tracker needs a network of one")
        self._network = network.eval()
        self._device = network.linear.weight.device
        self._state: State | None = None
        self._shape: tuple[int, ...] | None = None

    def update(self, sample: ArrayLike) -> NDArray[np.float32]:
        """Returns the estimate for a sample, (), or for one of each channel, (channels,).

        Raises ValueError, and forgets nothing, if a sample is not finite or the channels are not those before it.
        """
        samples = np.asarray(sample, np.float32)
        if samples.ndim > 1 or self._shape not in (None, samples.shape):
            raise ValueError(f"a sample has the shape {samples.shape}; {self._expected()}")
        if not np.isfinite(samples).all():
            raise ValueError("a sample is not finite; leave it out and reset, or put a number in its place")
        self._shape = samples.shape
        with torch.inference_mode():
            window = torch.tensor(samples.reshape(-1, 1, 1), device=self._device)  # (channels, 1, 1)
            estimate, self._state = self._network.advance(window, self._state)
            return estimate.cpu().numpy().reshape(samples.shape)

    def reset(self) -> None:
        """Forgets the signal: the next sample is the first of another."""
        self._state, self._shape = None, None

    def _expected(self) -> str:
        return "give one number, or one a channel" if self._shape is None else f"those before it had {self._shape}"
