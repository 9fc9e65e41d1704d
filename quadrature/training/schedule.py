"""The learning rate of each step."""

import math
from typing import Literal

Schedule = Literal["constant", "cosine", "onecycle"]


def learning_rate(schedule: Schedule, highest: float, step: int, steps: int) -> float:
    """Returns the learning rate of a step, counted from 0, of `steps`.

    `cosine` falls from the highest rate to 0 along half a cosine (Loshchilov and Hutter, arXiv:1608.03983). `onecycle`
    rises from 1/25 of the highest rate over the first 30 % of the steps, then falls to 4e-6 of it, both along half a
    cosine (Smith and Topin, arXiv:1708.07120, in the form of torch.optim.lr_scheduler.OneCycleLR).
    """
    match schedule:
        case "constant":
            return highest
        case "cosine":
            return _half_cosine(highest, 0.0, step / steps)
        case "onecycle":
            top = max(0.3 * steps - 1.0, 0.0)
            if step < top:
                return _half_cosine(highest / 25.0, highest, step / top)
            return _half_cosine(highest, highest / 25.0e4, (step - top) / max(steps - 1.0 - top, 1.0))


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * progress)) / 2.0
