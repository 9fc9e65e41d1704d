"""SOAP: Adam in slowly rotating coordinates, in which the entries of a matrix's gradient are least correlated.

Vyas, Morwani, Zhao, Kwun, Shapira, Brandfonbrener, Janson and Kakade, "SOAP: Improving and Stabilizing Shampoo using
Adam", arXiv:2409.11321, algorithm 3, with the paper's constants. One difference: the first step moves the weights,
where the paper's only initializes the coordinates. For networks this small the coordinates cost little, and a step gets
further than Adam's; docs/accuracy.md has the figures.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

MEAN_DECAY = 0.95
"""Decay per step of the running mean of gradients."""

SQUARE_DECAY = 0.95
"""Decay per step of the running means of squared gradients and of gradient products."""

UPDATE_EVERY = 10
"""Steps between updates of the coordinates."""

EPSILON = 1e-8
"""Added to the root of a mean square to avoid a division by 0."""

MAX_SIDE = 1024
"""A longer side of a matrix keeps its coordinates: the cost of rotating them grows with the cube of the side."""


class SOAP:
    """SOAP over weights of one and two dimensions; vectors, and matrices of one row or column, get plain Adam."""

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
            _follow(gradient, state)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the moments, gradient products and bases of each weight, and its step count."""
        tensors = {}
        for number, state in enumerate(self.states):
            tensors[f"{number}.steps"] = torch.tensor(state["steps"])
            tensors[f"{number}.mean"], tensors[f"{number}.square"] = state["mean"], state["square"]
            for name in ("products", "bases"):
                tensors |= {f"{number}.{name}.{axis}": tensor for axis, tensor in state[name].items()}
        return tensors

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continues from a state that `state_dict` returned."""
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
    """Returns the state before the first step, in the eigenvectors of the first gradient's products."""
    products = {axis: _product(gradient, axis) for axis in _rotated_axes(weights)}
    return {
        "steps": 0,
        "mean": torch.zeros_like(weights),
        "square": torch.zeros_like(weights),
        "products": products,
        "bases": {axis: _eigenvectors(product) for axis, product in products.items()},
    }


def _eigenvectors(product: Tensor) -> Tensor:
    """Returns a symmetric matrix's eigenvectors as columns; the identity if the matrix is not finite.

    Computes in float64, as float32 may not converge for the low rank of a single gradient's product, and on the CPU, as
    not every accelerator has eigh. A gradient that is not finite is reported by the loss, not here.
    """
    if not product.isfinite().all():
        return torch.eye(len(product), dtype=product.dtype, device=product.device)
    eigenvectors: Tensor = torch.linalg.eigh(product.cpu().double()).eigenvectors
    return eigenvectors.to(product).contiguous()


def _move(weights: Tensor, gradient: Tensor, state: dict[str, Any], rate: float) -> None:
    """Takes an Adam step in the coordinates of the bases' columns, in which the moments are kept."""
    state["steps"] += 1
    mean, square, bases = state["mean"], state["square"], state["bases"]
    rotated = _rotate(gradient, bases)
    mean.lerp_(rotated, 1.0 - MEAN_DECAY)
    square.lerp_(rotated.square(), 1.0 - SQUARE_DECAY)
    step = (square / (1.0 - SQUARE_DECAY ** state["steps"])).sqrt_().add_(EPSILON)
    torch.div(mean, step, out=step)
    weights.sub_(_rotate_back(step, bases), alpha=rate / (1.0 - MEAN_DECAY ** state["steps"]))


def _follow(gradient: Tensor, state: dict[str, Any]) -> None:
    """Updates the products of gradients and, every few steps, the bases, with the moments in their coordinates."""
    for axis, product in state["products"].items():
        product.lerp_(_product(gradient, axis), 1.0 - SQUARE_DECAY)
        if state["steps"] % UPDATE_EVERY == 0:
            mean, square, basis = state["mean"], state["square"], state["bases"][axis]
            # One step of power iteration towards the eigenvectors; sorting the largest first keeps them apart.
            powers = product @ basis
            order = (basis * powers).sum(0).argsort(descending=True)
            # Contiguous rows, as in a loaded state: the memory layout changes the last bits of products.
            state["bases"][axis] = torch.linalg.qr(powers[:, order]).Q.contiguous()
            turn = state["bases"][axis].T @ basis
            mean.copy_(turn @ mean if axis == 0 else mean @ turn.T)
            square.copy_(square.index_select(axis, order))


def _rotated_axes(weights: Tensor) -> list[int]:
    """Returns the axes of a matrix along which rotating the coordinates is useful and affordable."""
    if weights.ndim != 2 or 1 in weights.shape:
        return []
    return [axis for axis, side in enumerate(weights.shape) if side <= MAX_SIDE]


def _product(gradient: Tensor, axis: int) -> Tensor:
    """Returns the matrix of inner products of a gradient's rows (axis 0) or columns (axis 1)."""
    return gradient @ gradient.T if axis == 0 else gradient.T @ gradient


def _rotate(matrix: Tensor, bases: dict[int, Tensor]) -> Tensor:
    """Returns a matrix in the coordinates of the bases."""
    rows = bases[0].T @ matrix if 0 in bases else matrix
    return rows @ bases[1] if 1 in bases else rows


def _rotate_back(matrix: Tensor, bases: dict[int, Tensor]) -> Tensor:
    """Inverse of _rotate."""
    rows = bases[0] @ matrix if 0 in bases else matrix
    return rows @ bases[1].T if 1 in bases else rows
