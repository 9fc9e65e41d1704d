"""Runs DVC experiments and reads their parameters, metrics and logs."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any


def run_dvc(*arguments: str) -> str:
    """Returns the output of dvc, with its log unless the output is JSON. Exits with the log's end if dvc fails."""
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"dvc {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done.stdout if "--json" in arguments else done.stdout + done.stderr


def set_params(changes: Mapping[str, str]) -> list[str]:
    """Returns the options of `dvc exp run` that change parameters, given by dotted path."""
    return [word for change in changes.items() for word in ("--set-param", "=".join(change))]


def finished_experiments() -> dict[str, dict[str, Any]]:
    """Returns the parameters and metrics by file of each finished experiment on the current commit."""
    (*_, baseline) = json.loads(run_dvc("exp", "show", "--json"))
    found = {}
    for experiment in baseline["experiments"] or []:
        data = experiment["revs"][0]["data"]
        if data and data["metrics"]:
            tables = {**data["params"], **data["metrics"]}
            found[experiment["name"]] = {file: table["data"] for file, table in tables.items() if "data" in table}
    return found


def training_seconds(log: str) -> float:
    """Returns the seconds of training in a log. Exits if it has none."""
    seconds = re.findall(r"steps in ([\d.]+) seconds", log)
    if len(seconds) != 1:
        sys.exit("an experiment did not train: its result was in DVC's cache; run it with --force to get its seconds")
    return float(seconds[0])


def value_at(tree: Any, path: str) -> Any:
    """Returns the parameter at a dotted path."""
    for part in path.split("."):
        tree = tree[part]
    return tree
