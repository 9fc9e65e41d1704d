"""One GRU layer in one direction on a CPU, forwards and backwards: what quadrature.network.gru is made of.

With h the state, x the instant's input and * the product element by element, a step computes (Cho et al.,
arXiv:1406.1078, in cuDNN's form)

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)             reset
    z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)             update
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn))          candidate
    h' = n + z * (h - n)

and, given the loss's gradient dh' with respect to h', backwards

    dn = dh' * (1 - z) * (1 - n * n)                       at the argument of tanh
    dz = dh' * (h - n) * z * (1 - z)                       at that of z's sigmoid
    dr = dn * (W_hn h + b_hn) * r * (1 - r)                at that of r's sigmoid
    dh = dh' * z + W_hr' dr + W_hz' dz + W_hn' (dn * r)

On a processor a small GRU's time goes into calling many small operations and into tanh, so here

- features come first, (features, batch): each gate is one block of memory, not columns apart;
- the state carries x and a 1 below it, (hidden_size + input_size + 1, batch), and the weights their columns
  and biases: one matrix product a step makes all gates, and one their gradients;
- tanh(a) is 2 sigmoid(2 a) - 1: torch's sigmoid takes a sixth of the time of its tanh;
- what a step backwards needs beside dh' is computed for all steps at once;
- buffers, and the views of them that the steps use, are made once for each shape and used again.

benchmarks/costs/roofline.py measures what is left.
"""

import threading
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


class Scan:
    """One layer's arithmetic in buffers of its own, for one shape of input. Blocks of rows are named by their gate."""

    def __init__(self, length: int, input_size: int, size: int, batch: int, dtype: torch.dtype) -> None:
        rows = size + input_size + 1
        self.shape = (length, input_size, size, batch, dtype)
        empty, zeros = partial(torch.empty, dtype=dtype), partial(torch.zeros, dtype=dtype)
        self.length, self.size = length, size
        self.weights = zeros(3 * size, rows)  # of r, z and twice n's; columns for h, x and 1
        self.candidate_weights = empty(size, input_size + 1)  # twice n's, for x and 1
        self.two, self.half, self.minus_one, self.one = (torch.tensor(value) for value in (2.0, 0.5, -1.0, 1.0))

        self.carry = zeros(length + 1, rows, batch)  # h, x and 1 before each step, and after the last
        self.carry[:, -1] = 1.0
        self.states = self.carry[1:, :size]
        self.inputs = self.carry[:length, size:]  # x and 1
        # Forwards r, z, twice W_hn h + b_hn, and n. Backwards, in their places, what each step multiplies by dh' or
        # by dn, and then the errors: dn * r, dz, dr, dn.
        self.gates = empty(length, 4, size, batch)

        self.h = self.carry[:, :size].unbind()
        self.steps = list(
            zip(
                self.carry[:length].unbind(),
                pairwise(self.h),
                self.gates[:, :3].view(length, 3 * size, batch).unbind(),
                self.gates[:, :2].unbind(),
                *(self.gates[:, gate].unbind() for gate in range(4)),
                strict=True,
            )
        )
        self.back_steps: list[tuple[Tensor, ...]] = []

    @torch.inference_mode()
    def forward(self, inputs: Tensor, before: Tensor | None, weights: Sequence[Tensor]) -> None:
        """Fills `states`, (window_length, hidden_size, batch)."""
        self._arrange(weights)
        self.inputs[:, :-1] = inputs
        self.from_zeros = before is None
        if before is None:
            self.h[0].zero_()
        else:
            self.h[0].copy_(before)
        torch.bmm(self.candidate_weights.expand(self.length, -1, -1), self.inputs, out=self.gates[:, 3])
        for step, (carry, (h, h_next), gates, r_and_z, r, z, n_from_h, n) in enumerate(self.steps):
            if step == 0 and self.from_zeros:
                torch.mm(self.weights[:, self.size :], carry[self.size :], out=gates)
            else:
                torch.mm(self.weights, carry, out=gates)
            r_and_z.sigmoid_()
            n.addcmul_(r, n_from_h).sigmoid_()
            torch.add(self.minus_one, n, alpha=2, out=n)
            torch.lerp(n, h, z, out=h_next)

    def backward(
        self, states: Tensor | None, final: Tensor | None, wants_inputs: bool
    ) -> tuple[Tensor | None, Tensor | None, list[Tensor]]:
        """Returns the gradients of inputs, before and weights, given those of the states and of the last one."""
        self._backward(states, final)
        return self._gradients(wants_inputs)

    @torch.inference_mode()
    def _backward(self, states: Tensor | None, final: Tensor | None) -> None:
        if not self.back_steps:
            self._make_back_steps()
        size = self.size
        self._prepare()
        totals = self.totals.zero_()
        dh = self.dh.zero_() if final is None else self.dh.copy_(final)
        for step in range(self.length - 1, -1, -1):
            dz_dn, dhn_dr, dn, three, carry, z = self.back_steps[step]
            if states is not None:
                dh.add_(states[step])
            dz_dn.mul_(dh)
            dhn_dr.mul_(dn)
            if step == 0 and self.from_zeros:
                totals[:, size:].addmm_(three, carry[:, size:])
            else:
                totals.addmm_(three, carry)
                dh.mul_(z).addmm_(self.back_weights, three)

    def _arrange(self, weights: Sequence[Tensor]) -> None:
        w_i, w_h, b_i, b_h = (tensor.detach() for tensor in weights)
        size = self.size
        self.weights[:, :size] = w_h
        self.weights[: 2 * size, size:-1] = w_i[: 2 * size]
        torch.add(b_i, b_h, out=self.weights[:, -1])
        self.weights[2 * size :, -1] = b_h[2 * size :]
        self.weights[2 * size :].mul_(self.two)
        self.candidate_weights[:, :-1] = w_i[2 * size :]
        self.candidate_weights[:, -1] = b_i[2 * size :]
        self.candidate_weights.mul_(self.two)
        self.input_weights = w_i

    def _make_back_steps(self) -> None:
        length, (size, rows), batch = self.length, (self.size, self.carry.shape[1]), self.carry.shape[2]
        empty = partial(torch.empty, dtype=self.carry.dtype)
        self.z = empty(length, size, batch)
        self.totals = empty(3 * size, rows)  # gradients of the weights for n, z, r
        self.back_weights = empty(size, 3 * size)
        self.dh = empty(size, batch)
        self.back_steps = list(
            zip(
                self.gates[:, 1::2].unbind(),
                self.gates[:, ::2].unbind(),
                self.gates[:, 3:].unbind(),
                self.gates[:, :3].view(length, 3 * size, batch).unbind(),
                self.carry[:length].transpose(1, 2).unbind(),
                self.z.unbind(),
                strict=True,
            )
        )

    def _prepare(self) -> None:
        """Computes, for all steps at once, by what the errors are to be multiplied."""
        r, z, n_from_h, n = self.gates.unbind(1)
        self.z.copy_(z)
        torch.sub(self.carry[:-1, : self.size], n, out=z)
        _sigmoid_backward(z, self.z, grad_input=z)
        _tanh_backward(torch.sub(self.one, self.z), n, grad_input=n)
        n_from_h.mul_(self.half)
        _sigmoid_backward(n_from_h, r, grad_input=n_from_h)
        hidden = self.weights.view(3, self.size, -1)[:, :, : self.size]
        for rows, gate in zip(self.back_weights.view(self.size, 3, self.size).unbind(1), (2, 1, 0), strict=True):
            rows.copy_(hidden[gate].t())
        self.back_weights[:, : self.size].mul_(self.half)

    def _gradients(self, wants_inputs: bool) -> tuple[Tensor | None, Tensor | None, list[Tensor]]:
        size, errors = self.size, self.gates
        candidate = torch.matmul(errors[:, 3], self.inputs.transpose(1, 2)).sum(0)
        gates = self.totals.view(3, size, -1).flip(0).view(3 * size, -1)
        w_i = torch.cat([gates[: 2 * size, size:-1], candidate[:, :-1]])
        b_i = torch.cat([gates[: 2 * size, -1], candidate[:, -1]])
        inputs = None
        if wants_inputs:
            r, z, n = self.input_weights.view(3, size, -1).unbind()
            inputs = torch.matmul(torch.cat([z, r, n]).t(), errors[:, 1:].reshape(self.length, 3 * size, -1))
        before = None if self.from_zeros else self.dh.clone()
        return inputs, before, [w_i, gates[:, :size].contiguous(), b_i, gates[:, -1].contiguous()]


class IdleScans:
    """Buffers that wait for their next use, a few at most; threads may share it."""

    def __init__(self) -> None:
        self._waiting: list[Scan] = []
        self._lock = threading.Lock()

    def take(self, inputs: Tensor, weights: Sequence[Tensor]) -> Scan:
        """Returns a scan of inputs like these, (window_length, input_size, batch), by weights like these."""
        length, input_size, batch = inputs.shape
        shape = (length, input_size, weights[1].shape[1], batch, inputs.dtype)
        with self._lock:
            for place, work in enumerate(self._waiting):
                if work.shape == shape:
                    return self._waiting.pop(place)
        with torch.inference_mode():
            return Scan(*shape)

    def give(self, work: Scan) -> None:
        """Takes back a scan that nobody needs any more."""
        with self._lock:
            self._waiting.append(work)
            del self._waiting[:-16]


idle_scans = IdleScans()
