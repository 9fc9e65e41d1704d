"""SOAP: Adam in the slowly turning coordinates where a matrix's gradients are least correlated.

Vyas, Morwani, Zhao, Kwun, Shapira, Brandfonbrener, Janson and Kakade, "SOAP: Improving and Stabilizing Shampoo using
Adam", arXiv:2409.11321, algorithm 3, with the paper's constants; but its first step, which there only finds the
coordinates, moves as well. For networks as small as these, its coordinates cost
little, and a step goes further than Adam's: docs/accuracy.md has the figures.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

MEAN_DECAY = 0.95
"""Of the running mean of gradients, a step."""

SQUARE_DECAY = 0.95
"""Of the running means of gradients' squares and products, a step."""

TURN_EVERY = 10
"""Steps between one set of coordinates and the next."""

MIN_MAGNITUDE = 1e-8
"""Added to the root of a mean square, so that nothing is divided by 0."""

LONGEST_SIDE = 1024
"""Of a matrix; along a longer one the coordinates stay as they are, as their cost grows with its cube."""


class SOAP:
    """The optimizer for weights of one and two dimensions; a vector, or a matrix of one row or column, gets Adam."""

    def __init__(self, weights: Iterable[nn.Parameter]) -> None:
        self._weights = list(weights)
        self.states: list[dict[str, Any]] = []

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """Moves the weights against their gradients."""
        if not self.states:
            self.states = [_begin(*pair) for pair in zip(self._weights, gradients, strict=True)]
        for weights, gradient, state in zip(self._weights, gradients, self.states, strict=True):
            _move(weights, gradient, state, rate)

    def state(self) -> dict[str, Tensor]:
        """Returns what going on takes beside the weights."""
        tensors = {}
        for number, state in enumerate(self.states):
            tensors[f"{number}.steps"] = torch.tensor(state["steps"])
            tensors[f"{number}.mean"], tensors[f"{number}.square"] = state["mean"], state["square"]
            for name in ("products", "bases"):
                tensors |= {f"{number}.{name}.{axis}": tensor for axis, tensor in state[name].items()}
        return tensors

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a state."""
        device = self._weights[0].device
        self.states = []
        for number in range(len(self._weights) if state else 0):
            of_axes = {
                name: {
                    axis: state[f"{number}.{name}.{axis}"].to(device)
                    for axis in range(2)
                    if f"{number}.{name}.{axis}" in state
                }
                for name in ("products", "bases")
            }
            moments = {name: state[f"{number}.{name}"].to(device) for name in ("mean", "square")}
            self.states.append({"steps": int(state[f"{number}.steps"]), **moments, **of_axes})


def _begin(weights: Tensor, gradient: Tensor) -> dict[str, Any]:
    """Returns the state before the first step, in the coordinates that the first gradient suggests."""
    products = {axis: _product(gradient, axis) for axis in _turning_axes(weights)}
    return {
        "steps": 0,
        "mean": torch.zeros_like(weights),
        "square": torch.zeros_like(weights),
        "products": products,
        "bases": {axis: _eigenvectors(product) for axis, product in products.items()},
    }


def _eigenvectors(product: Tensor) -> Tensor:
    """Returns a symmetric matrix's eigenvectors as columns.

    In float64, as a single gradient's product is of low rank, which can keep float32's from converging, and on the CPU,
    as not every accelerator has them. Of what is not finite there are none: the loss will tell, not the optimizer.
    """
    if not product.isfinite().all():
        return torch.eye(len(product), dtype=product.dtype, device=product.device)
    eigenvectors: Tensor = torch.linalg.eigh(product.cpu().double()).eigenvectors
    return eigenvectors.to(product).contiguous()


def _move(weights: Tensor, gradient: Tensor, state: dict[str, Any], rate: float) -> None:
    """Takes a step of Adam in the coordinates that the columns of `bases` span, then brings these up to date."""
    mean, square, products, bases = (state[name] for name in ("mean", "square", "products", "bases"))
    state["steps"] += 1
    mean.lerp_(gradient, 1.0 - MEAN_DECAY)
    square.lerp_(_turned(gradient, bases).square(), 1.0 - SQUARE_DECAY)
    step = _turned(mean, bases) / (1.0 - MEAN_DECAY ** state["steps"])
    step /= (square / (1.0 - SQUARE_DECAY ** state["steps"])).sqrt() + MIN_MAGNITUDE
    weights.sub_(_turned_back(step, bases), alpha=rate)

    for axis, product in products.items():
        product.lerp_(_product(gradient, axis), 1.0 - SQUARE_DECAY)
        if state["steps"] % TURN_EVERY == 0:
            # One step of the power iteration towards the eigenvectors; the largest first keeps them apart.
            order = (bases[axis].T @ product @ bases[axis]).diagonal().argsort(descending=True)
            square.copy_(square.index_select(axis, order))
            # Row by row in memory, as a saved state is: where a number lies alters the last bits of products.
            bases[axis] = torch.linalg.qr(product @ bases[axis][:, order]).Q.contiguous()


def _turning_axes(weights: Tensor) -> list[int]:
    """Returns the axes of a matrix along which gradients may be correlated and coordinates are affordable."""
    if weights.ndim != 2 or 1 in weights.shape:
        return []
    return [axis for axis, side in enumerate(weights.shape) if side <= LONGEST_SIDE]


def _product(gradient: Tensor, axis: int) -> Tensor:
    """Returns the products of a gradient's rows (axis 0) or columns (axis 1) with each other."""
    return gradient @ gradient.T if axis == 0 else gradient.T @ gradient


def _turned(matrix: Tensor, bases: dict[int, Tensor]) -> Tensor:
    """Returns a matrix in the bases' coordinates."""
    rows = bases[0].T @ matrix if 0 in bases else matrix
    return rows @ bases[1] if 1 in bases else rows


def _turned_back(matrix: Tensor, bases: dict[int, Tensor]) -> Tensor:
    """Returns what _turned was given."""
    rows = bases[0] @ matrix if 0 in bases else matrix
    return rows @ bases[1].T if 1 in bases else rows
