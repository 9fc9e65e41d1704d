"""What it costs a stage that its files are digested: of all processor seconds, those spent in quadrature.digest.

Each stage runs in a process of its own, in a folder that holds nothing but params.yaml at first:

    python -m benchmarks.digests              # three rounds of every stage
    python -m benchmarks.digests 1 generate   # one of these, each of which reads what those before it wrote
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

PROJECT = Path(__file__).parents[1]
STAGES = tuple(yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])

PROGRAM = """
import importlib, sys, time
from quadrature import digest

spent = 0.0

def timed(function):
    def wrapped(*arguments):
        global spent
        began = time.thread_time()
        try:
            return function(*arguments)
        finally:
            spent += time.thread_time() - began
    return wrapped

for name in ("_find", "_compute", "_hash"):
    setattr(digest, name, timed(getattr(digest, name)))
importlib.import_module(f"stages.{sys.argv.pop()}").main()
print(spent, time.process_time())
"""


def measure(stage: str, folder: Path) -> tuple[float, float]:
    """Returns the processor seconds of a stage's digests and of all of it."""
    command = [sys.executable, "-c", PROGRAM, stage]
    environment = {"PYTHONPATH": str(PROJECT), "QUADRATURE_STATE_DIR": str(folder / "state")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    part, whole = map(float, done.stdout.splitlines()[-1].split())
    return part, whole


def main(rounds: int = 3, *stages: str) -> None:
    runs: dict[str, list[tuple[float, float]]] = {stage: [] for stage in stages or STAGES}
    with tempfile.TemporaryDirectory() as name:
        shutil.copy(PROJECT / "params.yaml", name)
        for _ in range(rounds):
            for stage, measured in runs.items():
                measured.append(measure(stage, Path(name)))
    print("| stage | all of it (s) | digests (s) | share (%) |\n|---|---|---|---|")
    for stage, measured in runs.items():
        part, whole = (statistics.median(column) for column in zip(*measured, strict=True))
        print(f"| {stage} | {whole:.2f} | {part:.4f} | {100 * part / whole:.2f} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
