"""`python -m quadrature verify`: whether dvc.lock belongs to this code and these parameters, without any data."""

import argparse
import logging

from quadrature.commands.lockfile import find_stale
from quadrature.runtime.errors import QuadratureError


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Declares no argument: there is nothing to choose."""


def main(_arguments: argparse.Namespace) -> None:
    """Fails with a line for each reason why a stage is stale."""
    stages = find_stale()
    lines = [f"{stage}: {reason}" for stage, reasons in stages.items() for reason in reasons]
    if lines:
        raise QuadratureError(
            "\n".join([*lines, "dvc.lock is stale: run `make repro`, then commit dvc.lock and metrics/"])
        )
    logging.info("dvc.lock is fresh: its %d stages belong to this code, these parameters and commands", len(stages))
