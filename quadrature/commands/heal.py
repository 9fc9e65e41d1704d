"""`python -m quadrature heal`: mends what a killed DVC left torn, so that `dvc repro` runs again."""

import argparse
import logging
import sys

from quadrature.commands.healing import heal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what can be chosen."""
    parser.add_argument("--quiet", action="store_true", help="say nothing where there is nothing to fix")


def main(arguments: argparse.Namespace) -> None:
    """Says what was mended; fails where nothing was, so that a script knows whether to try again."""
    mended = heal()
    for line in mended:
        logging.info("%s", line)
    if not mended and not arguments.quiet:
        logging.info("nothing to fix: DVC can read dvc.lock, .dvc/tmp/rwlock and its run cache")
    if not mended:
        sys.exit(1)
