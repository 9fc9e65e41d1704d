"""Compares the results of `make repro` with the committed ones: dvc.lock and metrics/*.json at HEAD.

The windows must be the same to the byte. So is the model, on a processor that rounds in the same way. A model that
differs is reported, and its errors must be near the committed ones: within 1 %, and more for those in TOLERANCES.
"""

import json
import math
import subprocess
import sys
from pathlib import Path

import yaml

METRICS = ("metrics/train.json", "metrics/test.json")

TOLERANCES = {"train_mse": 0.25, "amplitude_rmse": 0.1, "excess_standard_error": 0.25}
"""Relative, in place of 1 %, for errors that are small beside the floor's: two seeds differ by more than 1 % there.

Another processor's rounding makes another network, as a new seed does. Training aims at the floor's estimates, so
train_mse is the excess over the floor.
"""

NOT_COMPARED = ("max_abs_error", "floor_z_score")
"""One window in thousands makes the largest error, and chance makes the score."""


def committed(path: str) -> str:
    """Returns a file's text at HEAD. Exits with 69 and git's reason if git does not give it."""
    try:
        return subprocess.run(["git", "show", f"HEAD:./{path}"], check=True, capture_output=True, text=True).stdout
    except OSError as error:
        reason = error.strerror
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.split())
    print(f"nothing was compared: git does not show the committed {path} ({reason})", file=sys.stderr)
    sys.exit(69)


def outputs(lock: str) -> dict[str, str]:
    """Returns each output's hash by path."""
    return {out["path"]: out["md5"] for stage in yaml.safe_load(lock)["stages"].values() for out in stage["outs"]}


def flat(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
    numbers: dict[str, object] = {}
    for key, value in tree.items():
        numbers |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return numbers


def differences() -> list[str]:
    before, after = outputs(committed("dvc.lock")), outputs(Path("dvc.lock").read_text())
    changed = [path for path in before | after if before.get(path) != after.get(path)]
    for path in changed:
        print(f"differs from the committed one: {path} ({before.get(path)} -> {after.get(path)})")
    found = [path for path in changed if path.startswith("data/windows/")]
    if "models/model.safetensors" not in changed:  # the same model gives the same scores and pictures
        found += [path for path in changed if path != "metrics/report.html"]  # it names the installed versions
    for path in METRICS:
        then, now = flat(json.loads(committed(path))), flat(json.loads(Path(path).read_text()))
        for name in then | now:
            old, new = then.get(name), now.get(name)
            print(f"{path} {name}: committed {old}, now {new}")
            if name not in NOT_COMPARED and not agree(name, old, new):
                found.append(f"{path} {name}")
    return found


def agree(name: str, old: object, new: object) -> bool:
    if isinstance(old, float) and isinstance(new, float):
        if name == "excess":  # a ratio of errors, near 1, minus 1
            return math.isclose(1.0 + old, 1.0 + new, rel_tol=0.01)
        return math.isclose(old, new, rel_tol=TOLERANCES.get(name, 0.01))
    return old == new


if __name__ == "__main__":
    try:
        found = differences()
    except (OSError, ValueError, yaml.YAMLError) as error:
        print(f"nothing was compared: {' '.join(str(error).split())}; run `make repro`", file=sys.stderr)
        sys.exit(65)
    if found:
        sys.exit(f"results are not the committed ones: {', '.join(found)}")
    print("results are the committed ones")
