"""The `evaluate` section of params.yaml."""

from typing import Annotated

from pydantic import Field

from quadrature.runtime.settings import Section


class EvaluateParams(Section):
    """The `evaluate` section."""

    batch_size: Annotated[int, Field(ge=1, le=2**24)]  # windows per forward pass; MAX_WINDOWS_ON_CPU at most on a CPU
