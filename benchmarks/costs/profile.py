"""Measures where the seconds of `make repro` go: by stage, and within a stage by the functions that it calls.

    .venv/bin/python -m benchmarks.costs.profile          # a run of the committed pipeline, then ten with nothing to do
    .venv/bin/python -m benchmarks.costs.profile 3        # then three

The run is `dvc repro` in a temporary clone. While a stage works, a thread looks a hundred times a second which of the
library's functions the stage's file has called, and adds the time to it. Prints a row for each function: `start` is the
time before `main`, mostly imports, and `end` is the time after it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import FrameType

from benchmarks.processes import PROJECT, run

INTERVAL = 0.01  # seconds
LEAST = 0.01
"""Functions with a smaller share of a stage's time are counted among the others."""

WATCH = "from benchmarks.costs.profile import watch; watch({stage!r}, {started!r})"


def watch(stage: str, started: float) -> None:
    """Runs a stage in this process, which started at a given time; prints the seconds of each function as JSON."""
    module = import_module(f"stages.{stage}")
    command = import_module("quadrature.runtime.lifecycle")
    spent = Counter({"start": time.time() - started})
    done = threading.Event()
    main_thread = threading.get_ident()

    def look() -> None:
        before = time.perf_counter()
        while not done.wait(INTERVAL):
            now = time.perf_counter()
            spent[called(sys._current_frames()[main_thread], f"stages/{stage}.py")] += now - before
            before = now

    looking = threading.Thread(target=look)
    looking.start()
    code = command.attempt(module.main)
    done.set()
    looking.join()
    print(json.dumps(spent | {"now": time.time()}), flush=True)
    os._exit(code)


def called(frame: FrameType | None, file: str) -> str:
    """Returns the library function that a stage's file has called, given the current frame of its thread."""
    function = "others"
    while frame is not None and not frame.f_code.co_filename.endswith(file):
        path = Path(frame.f_code.co_filename)
        if path.parent.parent.name == "quadrature":
            function = f"{path.stem}.{frame.f_code.co_qualname.removesuffix('.__init__')}"
        frame = frame.f_back
    return function


def run_stage(stage: str) -> None:
    """Runs a stage in place of its command; writes the seconds of its functions to a file beside the clone."""
    started = time.time()
    spent = run([sys.executable, "-c", WATCH.format(stage=stage, started=started)], Path.cwd()).answer
    ended = time.time()
    spent["end"] = ended - spent.pop("now")
    Path(f"../{stage}.json").write_text(json.dumps(spent | {"all": ended - started}))


def seconds_of_dvc(clone: Path) -> float:
    """Returns the seconds of `dvc repro` in a clone."""
    return run([sys.executable, "-m", "dvc", "repro", "--quiet"], clone).seconds


def rows(stage: str, spent: dict[str, float]) -> list[str]:
    """Returns a stage's rows: the total, then its functions, the longest first."""
    whole = spent.pop("all")
    large = {name: seconds for name, seconds in spent.items() if seconds >= LEAST * whole and name != "others"}
    ordered = sorted(large.items(), key=lambda item: -item[1])
    parts = [*ordered, ("others", whole - sum(large.values()))]
    return [f"| **{stage}** | {whole:.2f} |", *(f"| {name} | {seconds:.2f} |" for name, seconds in parts)]


def main(empty_runs: int = 10) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", PROJECT, clone], check=True)
        pipeline = clone / "dvc.yaml"
        text = pipeline.read_text()
        pipeline.write_text(text.replace("python -m stages.", "python -m benchmarks.costs.profile "))
        whole = seconds_of_dvc(clone)
        stages = [line.rpartition(".")[2] for line in text.splitlines() if "python -m stages." in line]
        found = {stage: json.loads((Path(folder) / f"{stage}.json").read_text()) for stage in stages}
        empty = statistics.median(seconds_of_dvc(clone) for _ in range(empty_runs))
    working = sum(spent["all"] for spent in found.values())
    print("| | seconds |\n|---|---|")
    print(f"| **dvc repro** | {whole:.2f} |\n| all stages | {working:.2f} |\n| DVC | {whole - working:.2f} |")
    for stage, spent in found.items():
        print(*rows(stage, spent), sep="\n")
    print(f"| **dvc repro** when nothing changed, median of {empty_runs} | {empty:.2f} |")


if __name__ == "__main__":
    if sys.argv[1:2] and not sys.argv[1].isdecimal():
        run_stage(sys.argv[1])
    else:
        main(*map(int, sys.argv[1:]))
