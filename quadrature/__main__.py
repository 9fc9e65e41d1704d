"""`quadrature COMMAND`, in a checkout `python -m quadrature COMMAND`. Each is a short file in quadrature/commands/."""

import importlib
import os
import signal
import sys
from functools import partial
from pathlib import Path

import shtab

from quadrature import __version__
from quadrature.runtime import lifecycle
from quadrature.runtime.arguments import Parser

COMMANDS = {
    "predict": "estimate amplitude, phase and frequency of windows, or of a long signal",
    "live": "read a signal from standard input, and answer each sample at once",
    "export": "write the network for other runtimes, as ONNX",
    "plan": "say how well a signal could be estimated at best, before any training",
    "show": "print this run's errors beside those of other estimates",
    "compare": "compare runs: the parameters that differ and the metrics",
    "sweep": "run a grid of experiments, and compare them",
    "tune": "search ranges of parameters, one experiment a trial",
    "gate": "check this run's metrics against the rules in gates.yaml",
    "verify": "check that dvc.lock belongs to this code and these parameters, without any data",
    "heal": "fix files that a killed DVC left torn: dvc.lock, .dvc/tmp/rwlock, its run cache",
}


EXAMPLES = {
    "predict": "--model models/model.safetensors --input signal.wav --hop 1 --output estimates.csv",
    "live": "--model models/model.safetensors --rate 1000",
    "export": "--model models/model.safetensors --onnx model.onnx",
    "plan": "--rate 1000 --band 45 55 --amplitude 280 360 --noise 5",
    "compare": "main noisier --html comparison/runs.html",
    "sweep": "--jobs 2 model.cell=lstm,gru train.seed=0,1,2 train.threads=1",
    "tune": "train.learning_rate=0.003..0.1 model.hidden_size=16..128 --trials 30",
    "gate": "--against main",
}
"""An example's options, by command; a command without options has none."""


def main() -> None:
    """Parses the command line and runs the command. Imports the modules of that command only."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command has begun: stages/__init__.py says why
    os.environ.pop("MPLBACKEND", None)  # so it does here
    completing = "".join(sys.argv[1:2]).startswith("--print-completion")
    program = "quadrature" if completing or Path(sys.argv[0]).name == "quadrature" else "python -m quadrature"
    parser = Parser(prog=program, description="Commands for models and runs.")
    parser.add_argument("--version", action="version", version=f"quadrature {__version__}")
    shtab.add_argument_to(parser, "--print-completion", help="print a script that completes commands in a shell")
    parsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        epilog = f"example: {program} {name} {EXAMPLES[name]}" if name in EXAMPLES else None
        description = f"{summary[0].upper()}{summary[1:]}."
        subparser = parsers.add_parser(name, help=summary, description=description, epilog=epilog)
        if completing or name in sys.argv[1:2]:
            try:
                module = importlib.import_module(f"quadrature.commands.{name}")
            except ModuleNotFoundError as error:
                if (error.name or "quadrature").partition(".")[0] == "quadrature":
                    raise
                if completing:
                    continue  # its options are known once its extra is installed
                remedy = (
                    "pip install onnx" if error.name == "onnx" else "install this project with its extra `pipeline`"
                )
                parser.exit(69, f"{program} {name} needs {error.name}: {remedy}\n")
            module.add_arguments(subparser)
            subparser.set_defaults(main=module.main)
            for action in subparser._actions:
                if action.metavar == "FILE":
                    action.complete = shtab.FILE  # type: ignore[attr-defined]
    if len(sys.argv) == 1:
        parser.print_help()
        parser.exit(2)
    arguments = parser.parse_args()
    lifecycle.run(partial(arguments.main, arguments))


if __name__ == "__main__":
    main()
