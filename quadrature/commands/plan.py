"""`python -m quadrature plan`: how well a signal's phase and amplitude can be estimated at best, by length of window.

For windows of several lengths it prints the errors of the best possible estimate, of least squares and of the Hilbert
transform, in the middle of a window and at its end, where an estimate in real time is made. No network is trained.
It ends with the `generate` section of params.yaml for the shortest window that is nearly as good as the best one.
"""

import argparse
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError
from tqdm import tqdm

from quadrature.experiments.text_tables import text_table
from quadrature.planning.outlook import ESTIMATES, Outlook, look
from quadrature.runtime.arguments import hertz, whole_number
from quadrature.runtime.errors import ParameterError
from quadrature.runtime.lifecycle import standard
from quadrature.runtime.settings import describe, lines
from quadrature.signals.params import GenerateParams

PERIODS = (0.5, 1, 2, 4, 8)
"""Lengths of windows by default, in periods of the wave in the middle of the band."""

MAX_LENGTH = 1024
"""Samples in a window, at most: least squares takes memory and time in proportion to their square and cube."""

DEFAULT_LENGTH = 10
"""Samples of a window of the default task; the cost of training is in proportion to the number of samples."""

NEARLY = 2.0
"""A window is nearly as good as the best if the error of its phase at the end is at most this many times the least."""

NAMES = {"best": "best", "least_squares": "least squares", "hilbert": "Hilbert"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--rate", type=hertz, required=True, metavar="HZ", help="samples a second")
    for name, unit, what in (("band", "HZ", "frequencies of the wave"), ("amplitude", "A", "amplitudes of the wave")):
        parser.add_argument(
            f"--{name}", type=float, nargs=2, metavar=(f"{unit}_LOW", f"{unit}_HIGH"), required=True, help=what
        )
    parser.add_argument("--noise", type=float, required=True, metavar="STD", help="standard deviation of the noise")
    for name, what in (
        ("color", "the noise's power spectrum is 1 / f^COLOR, 0 to 2"),
        ("offset", "standard deviation of a constant added to each window"),
        ("drift", "standard deviation of a slope added to each window: its change over the window"),
        ("chirp", "largest change of the frequency over a window, relative"),
    ):
        parser.add_argument(f"--{name}", type=float, default=0.0, metavar=name.upper(), help=f"{what} (default: 0)")
    parser.add_argument(
        "--harmonics", type=float, nargs="+", default=[], metavar="STD",
        help="standard deviations of the components of the 2nd, 3rd ... harmonic, relative to the amplitude",
    )  # fmt: skip
    parser.add_argument(
        "--length", type=whole_number(2, MAX_LENGTH), nargs="+", metavar="N",
        help=f"samples in a window (default: {', '.join(f'{each:g}' for each in PERIODS)} periods)",
    )  # fmt: skip


def main(arguments: argparse.Namespace) -> None:
    """Prints the tables and the section."""
    logging.disable(logging.WARNING)  # the floor's words; a reason why there is none is printed below
    _params(arguments, DEFAULT_LENGTH)  # so that a mistake is told as such
    tasks = [_params(arguments, length) for length in _lengths(arguments)]
    threads = os.cpu_count() or 1
    looked = [look(task, threads) for task in tqdm(tasks, unit="length", leave=False, disable=None)]
    outlooks = [found for found, _ in looked]
    chosen = _choose(tasks, outlooks)
    with standard("output") as output:
        output.write("Phase error (degrees, root mean square):\n\n")
        output.write(_table(tasks, [[(each.place, each.phase_degrees) for each in found] for found in outlooks]))
        output.write("\nAmplitude error (% of the highest amplitude, root mean square):\n\n")
        output.write(_table(tasks, [[(each.place, each.amplitude_percent) for each in found] for found in outlooks]))
        for reason in dict.fromkeys(reason for _, reason in looked if reason):
            output.write(f"\nNo best estimate: {reason}\n")
        if arguments.band[1] > (half := arguments.rate / 2.0):
            output.write(f"\nFrequencies above half the rate, {half:g} Hz, look like lower ones in the samples.\n")
        output.write("\nTraining is the time relative to windows of ten samples, the default task.\n")
        output.write(f"For windows of {chosen.length} samples, put this in params.yaml:\n\n")
        output.write(yaml.safe_dump({"generate": chosen.model_dump()}, sort_keys=False, default_flow_style=None))


def _lengths(arguments: argparse.Namespace) -> list[int]:
    """Returns the lengths of windows. Raises ParameterError."""
    if arguments.length:
        return list(dict.fromkeys(arguments.length))
    middle = sum(arguments.band) / 2.0
    if not middle > 0.0:
        raise ParameterError("--band has no frequency above 0; give --length, too")
    samples = [periods * (arguments.rate / middle) + 1.0 for periods in PERIODS]
    possible = [round(length) for length in samples if 2.5 <= length <= MAX_LENGTH]
    if not possible:
        raise ParameterError(
            f"half a period to eight of {middle:g} Hz are {samples[0]:,.4g} to {samples[-1]:,.4g} samples, and windows "
            f"have 2 to {MAX_LENGTH:,}; resample the signal, or give --length"
        )
    return list(dict.fromkeys(possible))


def _params(arguments: argparse.Namespace, length: int) -> GenerateParams:
    """Returns the `generate` section. Raises ParameterError."""
    tree = {
        "source": None,
        "hop": None,
        "seed": 0,
        "windows": {"train": 131072, "validation": 8192, "test": 8192},
        "shard_windows": max(1, min(65536, 2**24 // length)),
        "length": length,
        "span": None,
        "rate": arguments.rate,
        "phase": "uniform",
        "frequency": dict(zip(("low", "high"), arguments.band, strict=True)),
        "amplitude": dict(zip(("low", "high"), arguments.amplitude, strict=True)),
        "noise_std": arguments.noise,
        "noise_color": arguments.color,
        "offset_std": arguments.offset,
        "drift_std": arguments.drift,
        "harmonics": arguments.harmonics,
        "chirp": arguments.chirp,
    }
    if arguments.amplitude[1] == 0.0:
        raise ParameterError("--amplitude is 0, so there is no wave to estimate; give the range of your signal's")
    try:
        return GenerateParams.model_validate(tree)
    except ValidationError as error:
        raise ParameterError("; ".join(lines([*describe(GenerateParams, error, Path("the plan"))]))) from None


def _table(tasks: list[GenerateParams], errors: list[list[tuple[str, Mapping[str, float | None]]]]) -> str:
    """Returns a table with a row for each length and place, by the places and errors of each length."""
    rows = []
    for task, found in zip(tasks, errors, strict=True):
        milliseconds = f"{1000.0 * (task.length - 1) / (task.rate or 1.0):.3g}"
        for place, figures in found:
            shown = (_figure(figures[name]) for name in ESTIMATES)
            rows.append([task.length, milliseconds, place, *shown, f"x {task.length / DEFAULT_LENGTH:.3g}"])
    return text_table(["samples", "ms", "at", *(NAMES[name] for name in ESTIMATES), "training"], rows)


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.2g}"


def _choose(tasks: list[GenerateParams], outlooks: list[list[Outlook]]) -> GenerateParams:
    """Returns the shortest windows whose phase at the end is nearly as good as any.

    Where a best estimate is missing, least squares decides.
    """

    has_best = all(found[-1].phase_degrees["best"] is not None for found in outlooks)

    def error(found: list[Outlook]) -> float:
        value = found[-1].phase_degrees["best" if has_best else "least_squares"]
        return float("inf") if value is None else value

    least = min(map(error, outlooks))
    return min(
        (task for task, found in zip(tasks, outlooks, strict=True) if error(found) <= NEARLY * least),
        key=lambda task: task.length,
    )
