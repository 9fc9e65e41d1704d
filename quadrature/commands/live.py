"""`python -m quadrature live`: reads a signal from standard input, and answers each sample at once.

A line of input is a sample; an empty line, NA or nan is a missing one. Each is answered by a line of CSV with the
estimates at that sample, from it and the samples before it alone. The columns are those of `predict`. The frequency is
the advance of the phase since the sample before. Fields are empty where there is no estimate: before the first window
is full, and while a missing sample is in it.
"""

import argparse
import math
from pathlib import Path

import numpy as np

from quadrature.network.device import set_up_device
from quadrature.network.model_file import load_model
from quadrature.prediction.derived import as_complex, frequency, phase
from quadrature.prediction.live import follow
from quadrature.runtime.arguments import hertz
from quadrature.runtime.errors import DataError
from quadrature.runtime.lifecycle import standard

COLUMNS = ("in_phase", "quadrature", "amplitude", "phase", "frequency")

MISSING = ("", "na", "nan")

_MAX_LINE = 100  # characters of a sample
_MAX_FLOAT32 = float(np.finfo(np.float32).max)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="such as models/model.safetensors")
    parser.add_argument(
        "--rate", type=hertz, metavar="HZ", help="samples a second: adds frequency_hz, the frequency in Hz"
    )


def main(arguments: argparse.Namespace) -> None:
    """Answers until standard input ends."""
    set_up_device("cpu", threads=1)
    signal, rate = follow(load_model(arguments.model)), arguments.rate
    before: tuple[float, float] | None = None
    with standard("input") as samples, standard("output") as output:
        output.write(",".join(COLUMNS if rate is None else (*COLUMNS, "frequency_hz")) + "\n")
        output.flush()
        number = 0
        while line := samples.readline(_MAX_LINE):
            number += 1
            found = signal.update(_sample(line, number))
            output.write(",".join(_fields(before, found, rate)) + "\n")
            output.flush()
            before = found


def _sample(line: str, number: int) -> float:
    """Returns a line's sample, NaN if it is missing. Raises DataError."""
    text = line.strip()
    if text.lower() in MISSING:
        return math.nan
    try:
        sample = float(text)
    except ValueError:
        raise DataError(f"standard input, line {number} is {text!r}, not a number") from None
    if not abs(sample) <= _MAX_FLOAT32:
        raise DataError(
            f"standard input, line {number} is {text}, beyond float32's {_MAX_FLOAT32:.3g}; scale the signal"
        )
    return sample


def _fields(before: tuple[float, float] | None, found: tuple[float, float] | None, rate: float | None) -> list[str]:
    """Returns the fields of a line by the components at the sample before and at this one."""
    count = len(COLUMNS) + (rate is not None)
    if found is None:
        return [""] * count
    in_phase, quadrature = np.array([found], np.float32).T
    values = [*found, float(np.hypot(in_phase, quadrature)[0]), float(phase(in_phase, quadrature)[0])]
    if before is not None:
        advance = float(frequency(as_complex(*np.array([before, found]).T))[-1])
        if not math.isnan(advance):
            values += [advance] if rate is None else [advance, advance * rate / (2.0 * math.pi)]
    fields = [f"{value:.9g}" for value in values]
    return fields + [""] * (count - len(fields))
