"""The `model` section of params.yaml, and `device`. Needs no torch."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from quadrature.runtime.settings import Section

Device = Literal["auto", "cpu", "cuda", "mps"]
Execution = Literal["sequence", "stepwise"]
Output = Literal["analytic", "quadrature"]


class ModelParams(Section):
    """The `model` section."""

    cell: Literal["rnn", "lstm", "gru"]
    nonlinearity: Literal["tanh", "relu"]  # rnn only
    hidden_size: Annotated[int, Field(ge=1, le=8192)]
    num_layers: Annotated[int, Field(ge=1, le=64)]
    bias: bool
    bidirectional: bool
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)]  # between layers
    execution: Execution
    head: Literal["last", "every"]
    output: Output  # both components of the analytic signal, or the quadrature component alone, as in the article

    @property
    def components(self) -> int:
        """The number of estimates for each instant."""
        return 2 if self.output == "analytic" else 1

    @property
    def sees_whole_window(self) -> bool:
        """Whether an estimate of a sample comes from the whole window, or only from the samples up to it."""
        return self.head == "last" or self.bidirectional

    @field_validator("nonlinearity")
    @classmethod
    def _is_a_choice_of_rnn_alone(cls, nonlinearity: str, info: ValidationInfo) -> str:
        if nonlinearity != "tanh" and info.data.get("cell", "rnn") != "rnn":
            raise ValueError(f"cell {info.data['cell']} has its own nonlinearities; leave it at tanh")
        return nonlinearity

    @field_validator("dropout")
    @classmethod
    def _has_layers_to_act_between(cls, dropout: float, info: ValidationInfo) -> float:
        if dropout and info.data.get("num_layers", 2) == 1:
            raise ValueError("it acts between layers; set num_layers to 2 or more, or dropout to 0.0")
        return dropout
