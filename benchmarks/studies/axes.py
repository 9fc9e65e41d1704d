"""Axes of the studies' pictures."""

from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter


def mark_decades(axis: Axis, *, percent: bool = False) -> None:
    """Labels 1, 2 and 5 of each decade of a logarithmic axis, in plain numbers or in per cent."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %" if percent else f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
