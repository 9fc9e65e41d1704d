"""The `plot` section of params.yaml. Needs no matplotlib."""

from typing import Annotated

from pydantic import Field

from quadrature.runtime.settings import Section


class PlotParams(Section):
    """The `plot` section."""

    windows: Annotated[int, Field(ge=1, le=48)]  # test windows drawn
    bins: Annotated[int, Field(ge=1, le=1000)]  # intervals of frequency and of phase
