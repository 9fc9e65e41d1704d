"""torch.nn.GRU, arranged for a CPU: the same weights and the same estimates, in about two thirds of the time.

quadrature.network.scan has the arithmetic; this puts it in torch's place, layer upon layer and in both directions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from quadrature.network.scan import Scan, idle_scans

PIECE = 512
"""Windows that are estimated at a time where no gradient is asked for, so that they stay in the cache."""


class GRU(nn.GRU):
    """torch.nn.GRU with batch_first, which it remains on every device but the CPU."""

    def forward(self, window: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Maps (batch, window_length, input_size) to the last layer's states at every instant, and the final state.

        The states are (batch, window_length, directions * hidden_size), the final state (num_layers * directions,
        batch, hidden_size). Without a state, it begins from zeros. Raises RuntimeError where torch.nn.GRU does.
        """
        if window.device.type != "cpu" or not self.batch_first or window.ndim != 3 or not len(window):
            return super().forward(window, state)
        if window.shape[2] != self.input_size or state is not None:
            self.check_forward_args(window, self._begin(window) if state is None else state, None)
        if torch.is_grad_enabled():
            return self._layers(window, state)
        pieces = [self._layers(*piece) for piece in self._pieces(window, state)]
        return (
            torch.cat([states for states, _ in pieces]) if len(pieces) > 1 else pieces[0][0],
            torch.cat([final for _, final in pieces], 1) if len(pieces) > 1 else pieces[0][1],
        )

    def _begin(self, window: Tensor) -> Tensor:
        """Returns what torch checks a window beside."""
        layers = self.num_layers * (2 if self.bidirectional else 1)
        return window.new_empty(()).expand(layers, len(window), self.hidden_size)

    def _pieces(self, window: Tensor, state: Tensor | None) -> list[tuple[Tensor, Tensor | None]]:
        windows = torch.split(window, PIECE)
        return list(zip(windows, [None] * len(windows) if state is None else torch.split(state, PIECE, 1), strict=True))

    def _layers(self, window: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        outputs = window.permute(1, 2, 0)  # (window_length, features, batch)
        finals: list[Tensor] = []
        for layer in range(self.num_layers):
            if layer:
                # Drawn in torch's order, so that quadrature.network.stepwise drops the same numbers.
                torchs = outputs.transpose(1, 2).contiguous()
                outputs = nn.functional.dropout(torchs, self.dropout, self.training).transpose(1, 2)
            both = []
            for reverse in (False, True)[: 2 if self.bidirectional else 1]:
                before = None if state is None else state[len(finals)].t()
                inputs = outputs.flip(0) if reverse else outputs
                states, final = _scan(inputs, before, self._weights(layer, reverse))
                both.append(states.flip(0) if reverse else states)
                finals.append(final.t())
            outputs = torch.cat(both, 1) if self.bidirectional else both[0]
        return outputs.permute(2, 0, 1), torch.stack(finals)

    def _weights(self, layer: int, reverse: bool) -> Sequence[Tensor]:
        weights: Sequence[Tensor] = self.all_weights[2 * layer + reverse if self.bidirectional else layer]
        if self.bias:
            return weights
        zero = weights[0].new_zeros(3 * self.hidden_size)
        return [*weights, zero, zero]


def _scan(inputs: Tensor, before: Tensor | None, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Runs one layer in one direction over (window_length, input_size, batch).

    `before` is the state that it begins from, (hidden_size, batch); weights are W_i, W_h, b_i, b_h as torch has them.
    Returns the states, (window_length, hidden_size, batch), and the last of them.
    """
    if _wants_gradient(inputs, before, *weights):
        states, final = _Scan.apply(inputs, before, *weights)  # type: ignore[no-untyped-call]
        return states, final
    work = idle_scans.take(inputs, weights)
    work.forward(inputs, before, weights)
    states = work.states.clone()
    idle_scans.give(work)
    return states, states[-1]


def _wants_gradient(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


class _Context(FunctionCtx):
    work: Scan | None


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, inputs: Tensor, before: Tensor | None, *weights: Tensor) -> tuple[Tensor, Tensor]:
        ctx.work = idle_scans.take(inputs, weights)
        ctx.work.forward(inputs, before, weights)
        ctx.set_materialize_grads(False)
        return ctx.work.states.clone(), ctx.work.h[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, states: Tensor | None, final: Tensor | None) -> tuple[Tensor | None, ...]:
        if ctx.work is None:
            raise RuntimeError("a GRU's backward pass can be taken once: run the forward pass again in its place")
        wants_inputs = ctx.needs_input_grad[0]  # type: ignore[attr-defined]
        inputs, before, weights = ctx.work.backward(states, final, wants_inputs)
        idle_scans.give(ctx.work)
        ctx.work = None
        return inputs, before, *weights
