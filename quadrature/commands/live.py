"""`python -m quadrature live`: reads a signal from standard input, and answers each sample at once.

A line of input is a sample; an empty line, NA or nan is a missing one. Each is answered by a line of CSV with the
estimates at that sample, from it and the samples before it alone. The columns are those of `predict`, but the
frequency is the advance of the phase since the sample before: the next sample is not known. Fields are empty where
there is no estimate: before the first window is full, and while a missing sample is in it.
"""

import argparse
import logging
import math
from collections.abc import Iterator

import numpy as np

from quadrature.network.device import set_up_device
from quadrature.network.model_file import load_model
from quadrature.prediction.derived import as_complex, frequency, phase
from quadrature.prediction.live import follow
from quadrature.runtime.arguments import add_model, hertz
from quadrature.runtime.errors import DataError
from quadrature.runtime.lifecycle import standard

COLUMNS = ("in_phase", "quadrature", "amplitude", "phase", "frequency")

MISSING = ("", "na", "nan")

COMPARED = 100
"""Samples after which the signal is compared with those in training, again and again until it is found unlike them."""

_MAX_LINE = 101  # bytes of a line, with its end
_MAX_FLOAT32 = float(np.finfo(np.float32).max)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_model(parser)
    parser.add_argument(
        "--rate", type=hertz, metavar="HZ", help="samples a second: adds frequency_hz, the frequency in Hz"
    )


def main(arguments: argparse.Namespace) -> None:
    """Answers until standard input ends."""
    set_up_device("cpu", threads=1)
    live, rate, is_warned = follow(load_model(arguments.model)), arguments.rate, False
    before: tuple[float, float] | None = None
    with standard("output") as output:
        output.write(",".join(COLUMNS if rate is None else (*COLUMNS, "frequency_hz")) + "\n")
        output.flush()
        for number, line in enumerate(_lines(), start=1):
            with np.errstate(all="ignore"):  # an estimate that is not finite is refused
                found = live.update(_sample(line, number))
            if found is not None and not all(map(math.isfinite, found)):
                raise DataError(
                    f"standard input, line {number}: the estimate is not finite; scale the samples to the size of "
                    "those in training"
                )
            output.write(",".join(_fields(before, found, rate)) + "\n")
            output.flush()
            before = found
            if not is_warned and number % COMPARED == 0 and (words := live.likeness.describe()) is not None:
                logging.warning("%s", words)
                is_warned = True


def _lines() -> Iterator[bytes]:
    with standard("input") as samples:
        while line := samples.buffer.readline(_MAX_LINE):
            yield line


def _sample(line: bytes, number: int) -> float:
    """Returns a line's sample, NaN if it is missing. Raises DataError."""
    text = line.decode(errors="replace").strip()
    if len(line) == _MAX_LINE and not line.endswith(b"\n"):
        raise DataError(f"standard input, line {number} is longer than {_MAX_LINE - 1} characters; write one number")
    if text.lower() in MISSING:
        return math.nan
    try:
        sample = float(text.replace("_", "?"))  # Python would read 1_0 as 10
    except ValueError:
        raise DataError(f"standard input, line {number} is {text!r}, not a number") from None
    if abs(sample) > _MAX_FLOAT32:
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
