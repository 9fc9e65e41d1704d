"""The recurrent layers one step at a time, with an explicit hidden state, made of torch's one-step cells.

Equivalent to torch.nn.RNN, LSTM and GRU with batch_first=True, with the same names of weights: each loads the other's.
It is slower and easier to inspect; docs/cells.md has the cost.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

HiddenState = Tensor | tuple[Tensor, Tensor]
"""The hidden state, (num_layers * directions, batch, hidden_size); of an LSTM, the pair of hidden and cell state."""


class Stepwise(nn.Module):
    """Layers of one-step cells, in one direction or two, called like torch.nn.RNN, LSTM or GRU.

    `cell` is nn.RNNCell, nn.LSTMCell or nn.GRUCell; the other arguments are those of torch's layers.
    """

    def __init__(
        self,
        cell: Callable[..., nn.Module],
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        dropout: float,
        bidirectional: bool,
        **options: str,
    ) -> None:
        super().__init__()
        self.num_layers, self.dropout = num_layers, dropout
        self.directions = ("", "_reverse") if bidirectional else ("",)  # suffixes of torch's names of weights
        for layer in range(num_layers):
            size = len(self.directions) * hidden_size if layer else input_size
            for direction in self.directions:
                self.add_module(f"l{layer}{direction}", cell(size, hidden_size, bias, **options))
        self.register_state_dict_post_hook(_use_torchs_names)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_use_own_names)  # type: ignore[no-untyped-call]

    def forward(self, window: Tensor, state: HiddenState | None = None) -> tuple[Tensor, HiddenState]:
        """Maps (batch, window_length, input_size) to the last layer's states at every instant, and the final state.

        The states are (batch, window_length, directions * hidden_size). Without `state`, begins from zeros. Raises
        ValueError if `state` has another number of layers and directions.
        """
        cells = self.num_layers * len(self.directions)
        before = [None] * cells if state is None else _parts(state)
        if len(before) != cells:
            raise ValueError(f"the state has {len(before)} layers and directions, not {cells}")
        after: list[HiddenState] = []
        outputs = window.transpose(0, 1)  # (window_length, batch, features)
        for layer in range(self.num_layers):
            if layer:
                outputs = nn.functional.dropout(outputs, self.dropout, self.training)
            both = []
            for direction in self.directions:
                cell = self.get_submodule(f"l{layer}{direction}")
                instants = outputs.unbind() if direction == "" else outputs.unbind()[::-1]
                states, final = _scan(cell, instants, before[len(after)])
                both.append(torch.stack(states if direction == "" else states[::-1]))
                after.append(final)
            outputs = torch.cat(both, dim=2) if len(both) == 2 else both[0]
        return outputs.transpose(0, 1), _whole(after)


def _scan(cell: nn.Module, instants: Iterable[Tensor], before: HiddenState | None) -> tuple[list[Tensor], HiddenState]:
    """Runs a cell over instants, each (batch, features); returns its hidden state after each, and its last state."""
    states = []
    for instant in instants:
        state: HiddenState = cell(instant, before)
        states.append(_hidden(state))
        before = state
    return states, state


def _hidden(state: HiddenState) -> Tensor:
    return state[0] if isinstance(state, tuple) else state


def _parts(state: HiddenState) -> Sequence[HiddenState]:
    """Splits a state by layer and direction."""
    return list(zip(*state, strict=True)) if isinstance(state, tuple) else state.unbind()


def _whole(parts: Sequence[HiddenState]) -> HiddenState:
    """Inverse of _parts."""
    hidden = torch.stack([_hidden(part) for part in parts])
    cells = [part[1] for part in parts if isinstance(part, tuple)]
    return (hidden, torch.stack(cells)) if cells else hidden


def _use_torchs_names(_module: nn.Module, state_dict: dict[str, Tensor], prefix: str, _metadata: object) -> None:
    """Renames `l0_reverse.weight_ih` to `weight_ih_l0_reverse`."""
    for name in [name for name in state_dict if name.startswith(prefix)]:
        place, weights = name.removeprefix(prefix).split(".")
        state_dict[f"{prefix}{weights}_{place}"] = state_dict.pop(name)


def _use_own_names(_module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_others: object) -> None:
    """Renames `weight_ih_l0_reverse` to `l0_reverse.weight_ih`."""
    for name in [name for name in state_dict if name.startswith(prefix)]:
        weights, _, place = name.removeprefix(prefix).rpartition("_l")
        state_dict[f"{prefix}l{place}.{weights}"] = state_dict.pop(name)
