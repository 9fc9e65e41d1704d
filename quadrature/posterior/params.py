"""The `targets` section of params.yaml."""

from typing import Literal

from quadrature.runtime.settings import Section


class TargetsParams(Section):
    """The `targets` section."""

    kind: Literal["posterior_mean", "clean"]
