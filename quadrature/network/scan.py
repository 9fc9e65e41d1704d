"""One GRU layer in one direction on a CPU, forwards and backwards; quadrature.network.gru stacks such layers.

With h the state, x the instant's input and * the elementwise product, a step computes (Cho et al., arXiv:1406.1078, in
cuDNN's form)

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)             reset
    z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)             update
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn))          candidate
    h' = n + z * (h - n)

and backwards, given the loss's gradient dh' with respect to h',

    dn = dh' * (1 - z) * (1 - n * n)                       at the argument of tanh
    dz = dh' * (h - n) * z * (1 - z)                       at the argument of z's sigmoid
    dr = dn * (W_hn h + b_hn) * r * (1 - r)                at the argument of r's sigmoid
    dh = dh' * z + W_hr' dr + W_hz' dz + W_hn' (dn * r)

A small GRU spends its time on a processor in calls of many small operations and in tanh. Therefore

- features come first, (features, batch): each gate is one block of memory, not strided columns;
- the carry holds h, x and a row of ones, (hidden_size + input_size + 1, batch), and the weights have columns for all
  three: one matrix product a step makes all gates, and one makes their gradients;
- tanh(a) is 2 sigmoid(2 a) - 1: torch's sigmoid takes a sixth of the time of its tanh. Near zero this loses relative
  precision, so a layer without biases, whose states may all be tiny, is left to torch;
- the factors of dh' and dn backwards are computed for all steps at once;
- buffers, and the steps' views of them, are made once for each shape and reused.

benchmarks/costs/roofline.py measures the time that is left.
"""

import threading
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


class _ForwardStep(NamedTuple):
    """Views of the buffers for one step: its operands and its results."""

    weights: Tensor  # of all gates
    carry: Tensor  # h, x and 1; x and 1 alone at the first step, where h is zero
    gates: Tensor  # r, z and 2 (W_hn h + b_hn), one block of rows
    r_and_z: Tensor
    r: Tensor
    z: Tensor
    n_from_h: Tensor  # 2 (W_hn h + b_hn)
    n: Tensor  # holds 2 (W_in x + b_in) at first
    h: Tensor
    h_next: Tensor


class _BackwardStep(NamedTuple):
    """Views of the buffers for one step: factors at first, and then gradients in their places."""

    z_and_n: Tensor  # the factors of dh', then dz and dn
    r_and_n_from_h: Tensor  # the factors of dn, then dn * r and dr
    dn: Tensor
    errors: Tensor  # dn * r, dz and dr, one block of rows
    carry: Tensor  # h, x and 1 transposed; x and 1 alone at the first step
    totals: Tensor  # the weights' gradients so far, the columns of this carry
    z: Tensor


class Scan:
    """The buffers of one layer in one direction for one shape of input: a pass forwards, then at most one backwards."""

    def __init__(self, length: int, input_size: int, hidden_size: int, batch: int, dtype: torch.dtype) -> None:
        rows = hidden_size + input_size + 1
        self.shape = (length, input_size, hidden_size, batch, dtype)
        self._length, self._size = length, hidden_size
        empty, zeros = partial(torch.empty, dtype=dtype), partial(torch.zeros, dtype=dtype)

        self._weights = zeros(3 * hidden_size, rows)  # rows for r, z and 2 n; columns for h, x and 1
        self._candidate_weights = empty(hidden_size, input_size + 1)  # for 2 n; columns for x and 1
        self._back_weights = empty(hidden_size, 3 * hidden_size)  # those for h transposed, of n, z and r
        self._totals = zeros(3 * hidden_size, rows)  # gradients of the weights of n, z and r
        self._input_weights = empty(0)

        self._carry = zeros(length + 1, rows, batch)  # h, x and 1 before each step, and after the last
        self._carry[:, -1] = 1.0
        self._inputs = self._carry[:length, hidden_size:]  # x and 1
        self.states = self._carry[1:, :hidden_size]
        """h' of each step, (window_length, hidden_size, batch)."""
        self._gates = empty(length, 4, hidden_size, batch)  # r, z, 2 (W_hn h + b_hn) and n; see _BackwardStep
        self._z = empty(length, hidden_size, batch)
        self._dh = empty(hidden_size, batch)

        self._steps = [*self._forward_steps()]
        self._back_steps = [*self._backward_steps()][::-1]

    def _forward_steps(self) -> Sequence[_ForwardStep]:
        size, states = self._size, self._carry[:, : self._size].unbind()
        return [
            _ForwardStep(
                weights=self._weights[:, 0 if step else size :],
                carry=self._carry[step, 0 if step else size :],
                gates=gates[:3].view(3 * size, -1),
                r_and_z=gates[:2],
                r=gates[0],
                z=gates[1],
                n_from_h=gates[2],
                n=gates[3],
                h=h,
                h_next=h_next,
            )
            for step, (gates, (h, h_next)) in enumerate(zip(self._gates.unbind(), pairwise(states), strict=True))
        ]

    def _backward_steps(self) -> Sequence[_BackwardStep]:
        size = self._size
        return [
            _BackwardStep(
                z_and_n=gates[1::2],
                r_and_n_from_h=gates[::2],
                dn=gates[3:],
                errors=gates[:3].view(3 * size, -1),
                carry=self._carry[step, 0 if step else size :].t(),
                totals=self._totals[:, 0 if step else size :],
                z=z,
            )
            for step, (gates, z) in enumerate(zip(self._gates.unbind(), self._z.unbind(), strict=True))
        ]

    @torch.inference_mode()
    def forward(self, inputs: Tensor, weights: Sequence[Tensor]) -> None:
        """Fills `states` from inputs, (window_length, input_size, batch), beginning from a state of zeros.

        weights are torch's W_i, W_h, b_i and b_h. `backward` may use them and inputs until the next pass.
        """
        self._arrange(weights)
        self._inputs[:, :-1] = inputs
        torch.bmm(self._candidate_weights.expand(self._length, -1, -1), self._inputs, out=self._gates[:, 3])
        for every, carry, gates, r_and_z, r, z, n_from_h, n, h, h_next in self._steps:
            torch.mm(every, carry, out=gates)
            r_and_z.sigmoid_()
            n.addcmul_(r, n_from_h).sigmoid_()
            torch.add(_MINUS_ONE, n, alpha=2, out=n)
            torch.lerp(n, h, z, out=h_next)

    @torch.inference_mode()
    def backward(
        self, states: Tensor | None, final: Tensor | None, wants_inputs: bool
    ) -> tuple[Tensor | None, list[Tensor]]:
        """Returns the gradients of the inputs, or None, and of the weights, given those of all states and of the last.

        Overwrites what `forward` left, so it can be called once after it.
        """
        self._compute_factors()
        self._totals.zero_()
        dh = self._dh.zero_() if final is None else self._dh.copy_(final)
        for step, (z_and_n, r_and_n_from_h, dn, errors, carry, totals, z) in enumerate(self._back_steps, 1):
            if states is not None:
                dh.add_(states[-step])
            z_and_n.mul_(dh)
            r_and_n_from_h.mul_(dn)
            totals.addmm_(errors, carry)
            if step < self._length:
                dh.mul_(z).addmm_(self._back_weights, errors)
        return self._input_gradient() if wants_inputs else None, self._weight_gradients()

    def _arrange(self, weights: Sequence[Tensor]) -> None:
        """Copies torch's weights into the blocks that the steps multiply by."""
        w_i, w_h, b_i, b_h = (tensor.detach() for tensor in weights)
        size = self._size
        self._weights[:, :size] = w_h
        self._weights[: 2 * size, size:-1] = w_i[: 2 * size]
        torch.add(b_i, b_h, out=self._weights[:, -1])
        self._weights[2 * size :, -1] = b_h[2 * size :]
        self._weights[2 * size :].mul_(_TWO)
        self._candidate_weights[:, :-1] = w_i[2 * size :]
        self._candidate_weights[:, -1] = b_i[2 * size :]
        self._candidate_weights.mul_(_TWO)
        self._input_weights = w_i

    def _compute_factors(self) -> None:
        """Computes for all steps at once the factors of dh' and dn, in the places of the gates."""
        r, z, n_from_h, n = self._gates.unbind(1)
        self._z.copy_(z)
        torch.sub(self._carry[:-1, : self._size], n, out=z)
        _sigmoid_backward(z, self._z, grad_input=z)  # (h - n) * z * (1 - z)
        _tanh_backward(torch.sub(_ONE, self._z), n, grad_input=n)  # (1 - z) * (1 - n * n)
        n_from_h.mul_(_HALF)
        _sigmoid_backward(n_from_h, r, grad_input=n_from_h)  # (W_hn h + b_hn) * r * (1 - r)
        hidden = self._weights.view(3, self._size, -1)[:, :, : self._size]
        for rows, gate in zip(self._back_weights.view(self._size, 3, self._size).unbind(1), (2, 1, 0), strict=True):
            rows.copy_(hidden[gate].t())
        self._back_weights[:, : self._size].mul_(_HALF)

    def _weight_gradients(self) -> list[Tensor]:
        """Returns the gradients of W_i, W_h, b_i and b_h."""
        size = self._size
        candidate = torch.matmul(self._gates[:, 3], self._inputs.transpose(1, 2)).sum(0)
        gates = self._totals.view(3, size, -1).flip(0).view(3 * size, -1)
        w_i = torch.cat([gates[: 2 * size, size:-1], candidate[:, :-1]])
        b_i = torch.cat([gates[: 2 * size, -1], candidate[:, -1]])
        return [w_i, gates[:, :size].contiguous(), b_i, gates[:, -1].contiguous()]

    def _input_gradient(self) -> Tensor:
        """Returns the gradient of the inputs, (window_length, input_size, batch)."""
        r, z, n = self._input_weights.view(3, self._size, -1).unbind()
        errors = self._gates[:, 1:].reshape(self._length, 3 * self._size, -1)  # dz, dr and dn
        return torch.matmul(torch.cat([z, r, n]).t(), errors)


# As tensors: torch would make one of a Python number at each use.
_ONE, _TWO, _HALF, _MINUS_ONE = (torch.tensor(value) for value in (1.0, 2.0, 0.5, -1.0))


class IdleScans:
    """A pool of scans that wait for their next use, at most sixteen; safe to share among threads."""

    def __init__(self) -> None:
        self._waiting: list[Scan] = []
        self._lock = threading.Lock()

    def take(self, inputs: Tensor, hidden_size: int) -> Scan:
        """Returns a scan for inputs of this shape and type, (window_length, input_size, batch)."""
        length, input_size, batch = inputs.shape
        shape = (length, input_size, hidden_size, batch, inputs.dtype)
        with self._lock:
            for place, scan in enumerate(self._waiting):
                if scan.shape == shape:
                    return self._waiting.pop(place)
        with torch.inference_mode():
            return Scan(*shape)

    def give(self, scan: Scan) -> None:
        """Takes back a scan that is no longer in use."""
        with self._lock:
            self._waiting.append(scan)
            del self._waiting[:-16]


idle_scans = IdleScans()
