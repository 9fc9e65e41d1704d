"""Measures what each stage's start costs, from the process's start until its parameters are read, and whose code it is.

    .venv/bin/python -m benchmarks.imports            # medians of five starts each
    .venv/bin/python -m benchmarks.imports 1 plot     # of one start, of one stage

Prints a row for each stage, in milliseconds: the whole; ours, of which reading params.yaml; Python with its own
library; and each library's modules, without what they import of others. `-X importtime` tells them, and adds a little.
"""

import statistics
import subprocess
import sys
import time
from collections import Counter

STAGES = ("generate", "train", "evaluate", "plot", "report")
LEAST = 10.0
"""Milliseconds below which a library is among the others."""

PROGRAM = """
import time, stages.{stage} as stage
imported = time.time()
stage.load_params(stage.Params)
print(imported, time.time())
"""


def start(stage: str) -> Counter[str]:
    """Starts a stage once; returns the milliseconds of `all`, of `params`, and of each package."""
    started = time.time()
    command = [sys.executable, "-X", "importtime", "-c", PROGRAM.format(stage=stage)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    imported, ready = map(float, process.stdout.split())
    spent: Counter[str] = Counter()
    for line in process.stderr.splitlines():
        microseconds, _, module = line.removeprefix("import time:").split("|")
        if microseconds.strip().isdigit():
            spent[package(module.strip())] += int(microseconds) / 1e3
    params, whole = 1e3 * (ready - imported), 1e3 * (ready - started)
    spent["ours"] += params
    libraries = sum(milliseconds for name, milliseconds in spent.items() if name != "Python")
    return spent | Counter({"all": whole, "params": params}) | Counter({"Python": whole - libraries})


def package(module: str) -> str:
    """Returns whose a module is: ours, Python's, or a library's name."""
    name = module.partition(".")[0]
    if name in ("quadrature", "stages"):
        return "ours"
    return "Python" if name in sys.stdlib_module_names else name.removeprefix("_")


def row(stage: str, starts: list[Counter[str]]) -> str:
    """Returns a stage's medians as a row of the table."""
    names = set().union(*starts)
    medians = {name: statistics.median(one[name] for one in starts) for name in names}
    own = [medians.pop(name) for name in ("all", "ours", "params", "Python")]
    ordered = sorted(medians.items(), key=lambda item: -item[1])
    listed = [f"{name} {milliseconds:.0f}" for name, milliseconds in ordered if milliseconds >= LEAST]
    listed.append(f"others {sum(milliseconds for _, milliseconds in ordered if milliseconds < LEAST):.0f}")
    return f"| {stage} | {' | '.join(f'{milliseconds:.0f}' for milliseconds in own)} | {', '.join(listed)} |"


def main(rounds: int = 5, *stages: str) -> None:
    starts: dict[str, list[Counter[str]]] = {stage: [] for stage in stages or STAGES}
    for _ in range(rounds):
        for stage, measured in starts.items():
            measured.append(start(stage))
    print("| stage | start (ms) | ours | of it params.yaml | Python | libraries |\n|---|---|---|---|---|---|")
    for stage, measured in starts.items():
        print(row(stage, measured))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
