"""Strange names for every path and name: one clear line and an exit code of the contract, or no harm."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.checkout import Checkout
from tests.torture.strange import windows_table, write_table

pytestmark = pytest.mark.slow

CANARY = "canary"
NAMES = [
    *("", " ", ".", "..", "/", "//", "../..", "../out.parquet", "../../out.csv", "./-", "~", "~/out.parquet"),
    *("~root/x.csv", "-", "--", "-rf", "--output", "--help", "--upload-pack=touch canary"),
    *("--exec=touch canary", "@file", "@{-1}", "$(touch canary)", "`touch canary`.csv", "; touch canary"),
    *("| touch canary", "&& touch canary", "> canary", "$HOME/x.csv", "${IFS}x.parquet", "%00", "%2e%2e/x.csv"),
    *("a'b\".parquet", "a b.csv", "a\\b.csv", "*", "?.csv", "[a].parquet", "{a,b}.csv", "NUL", "con.csv"),
    *("a:b.csv", "C:\\x.csv", "\\\\host\\x.csv", "file:///x.csv", "http://host/x.csv", "s3://", "s3:///", "gs://"),
    *("s3://?/x", "S3://a/b.csv", "://", "a://b.csv", "s3:/a.csv", "HEAD", "HEAD:params.yaml", "main..HEAD"),
    *("^main", ":/x", "@", "refs/heads/../../x", "main.lock", "0" * 40, "workspace\x00", "a\x00.parquet"),
    *("a\nb.parquet", "a\r\nb.csv", "a\tb.csv", "\x1b[2Jx.csv", "\x07.parquet", "\u2028.csv", "\x85.parquet"),
    *("\u202egnp.csv", "\ufeffx.csv", "é.csv", "e\u0301.parquet", "💥.csv", "\udcff.csv", "a\udc80b.parquet"),
    *("\udcff", "a" * 255, f"{'a' * 250}.csv", f"{'a' * 300}.parquet", "a/" * 3000, "/".join(["a" * 200] * 30)),
    *("x" * 100_000, "/dev/null", "/dev/zero/x.csv", "/dev/full", "/dev/stdin", "/proc/self/mem"),
    *("/proc/self/fd/0", "/etc/passwd", "/nowhere/x.csv", "link.csv", "link.parquet", "loop.csv", "loop"),
    *("outward/x.csv", "outward", "folder.csv", "input.csv/x.csv", "models/../out.parquet", "part-00000.parquet"),
    *(".tmp", ".csv", "..csv", "__import__('os').system('touch canary')", "{{7*7}}", "%s%s%n", "<script>.csv"),
    *("a" * 64, "nan", "1e999", "null", "/dev/zero"),
]  # fmt: skip

PREDICT = ("quadrature", "predict")
MODEL, INPUT, OUTPUT = "--model=models/model.safetensors", "--input=input.csv", "--output=out.csv"
ARGUMENTS = {
    "predict --model": lambda name: (*PREDICT, f"--model={name}", INPUT, OUTPUT),
    "predict --input": lambda name: (*PREDICT, MODEL, f"--input={name}", OUTPUT),
    "predict --input, apart": lambda name: (*PREDICT, MODEL, "--input", name, OUTPUT),
    "predict --output": lambda name: (*PREDICT, MODEL, INPUT, f"--output={name}"),
    "predict --output, apart": lambda name: (*PREDICT, MODEL, INPUT, "--output", name),
    "predict a folder": lambda name: (*PREDICT, MODEL, "--input=data/windows/test", f"--output={name}"),
    "predict --column": lambda name: (*PREDICT, MODEL, INPUT, OUTPUT, "--hop=2", f"--column={name}"),
    "predict --threads": lambda name: (*PREDICT, MODEL, INPUT, OUTPUT, f"--threads={name}"),
    "predict --device": lambda name: (*PREDICT, MODEL, INPUT, OUTPUT, f"--device={name}"),
    "a command": lambda name: ("quadrature", name),
    "compare RUN": lambda name: ("quadrature", "compare", "workspace", "--", name),
    "compare --reference": lambda name: ("quadrature", "compare", "workspace", f"--reference={name}", "--json"),
    "compare --metric": lambda name: ("quadrature", "compare", "workspace", f"--metric={name}"),
    "compare --html": lambda name: ("quadrature", "compare", "workspace", f"--html={name}"),
    "gate --rules": lambda name: ("quadrature", "gate", f"--rules={name}"),
    "gate --against": lambda name: ("quadrature", "gate", f"--against={name}"),
    "generate --windows": lambda name: ("stages.generate", f"--windows={name}"),
    "train --windows": lambda name: ("stages.train", f"--windows={name}"),
    "train --save-every": lambda name: ("stages.train", f"--save-every={name}"),
}
"""Command lines by the place where they take a name."""

WRITES = ("predict --output", "predict --output, apart", "predict a folder", "compare --html", "generate --windows")

FILES = {
    **{
        f"params.yaml, {key}": key
        for key in ("device", "phase", "cell", "optimizer", "schedule", "head", "output", "threads")
    },
    **{f"gates.yaml, {key}": key for key in ("metric", "better", "against")},
}
"""Keys by the place where a file takes a name."""

CODES = (0, 1, 2, 65, 74)


@pytest.fixture(scope="module")
def outside(tmp_path_factory, cage):
    """A folder with a small project after two stages, and links from the project to files outside it."""
    folder = tmp_path_factory.mktemp("outside")
    small = {"device": "cpu", "generate.windows": {"train": 64, "validation": 8, "test": 8}, "train.epochs": 1}
    small |= {"train.batch_size": 64, "model.hidden_size": 4, "train.threads": 1, "train.shuffle_windows": 64}
    small |= {"train.snapshots": 2, "train.validations_per_epoch": 1, "generate.shard_windows": 64}
    checkout = Checkout.make(folder / "in/project", small)
    for stage in ("generate", "targets", "train"):
        ended = cage.run(f"stages.{stage}", cwd=checkout.path, seconds=60.0, env=checkout.env)
        assert ended.code == 0, ended
    (checkout.path / "input.csv").write_text(f"{','.join(f'input_{i}' for i in range(10))}\n{'0.5,' * 9}0.5\n")
    write_table(checkout.path / "input.parquet", windows_table(np.random.default_rng(0), 4))
    for target, link in (
        ("secret", "link.csv"),
        ("secret", "link.parquet"),
        ("loop.csv", "loop.csv"),
        ("loop", "loop"),
    ):
        (checkout.path / link).symlink_to(folder / target if target == "secret" else target)
    (folder / "secret").write_text("not to be changed\n")
    (folder / "beside").mkdir()
    (checkout.path / "outward").symlink_to(folder / "beside")
    (checkout.path / "folder.csv").mkdir()
    (folder / "home").mkdir()
    return folder


def look(folder):
    """Returns the content of every file in a folder, or a link's target, without git's and DVC's own files."""
    found = {}
    for place, names, files in os.walk(folder):
        names[:] = [name for name in names if name not in (".git", ".dvc")]
        for name in files:
            path = Path(place) / name
            found[str(path)] = str(path.readlink()) if path.is_symlink() else path.read_bytes()
    return found


def cases(request):
    """Returns pairs (place, name) in the number given by --torture, with every place at least once."""
    count, places, drawn = round(1000 * request.config.getoption("torture")), [*ARGUMENTS, *FILES], random.Random(0)
    first = [(place, drawn.choice(NAMES)) for place in places]
    pairs = [(place, name) for place in places for name in NAMES]
    return first + drawn.sample(pairs, max(0, count - len(first)))


def run(cage, project, env, place, name):
    """Runs a command with a name at a place; returns its end."""
    if place in ARGUMENTS:
        return cage.run(*ARGUMENTS[place](name), cwd=project, env=env)
    file, key = place.split(", ")
    path = project / file
    before = path.read_text()
    tree = yaml.safe_load(before)
    if file == "params.yaml":
        section = next((tree[section] for section in ("generate", "model", "train") if key in tree[section]), tree)
        command = f"stages.{'generate' if section is tree['generate'] else 'train'}"
    else:
        section, command = tree["rules"][0], "quadrature"
    section[key] = name
    try:
        path.write_text(yaml.safe_dump(tree))
        return cage.run(command, *(("gate",) if file == "gates.yaml" else ()), cwd=project, env=env)
    finally:
        path.write_text(before)


def test_a_strange_name_does_no_harm(outside, cage, tally, request):
    project = outside / "in/project"
    env = {
        "HOME": str(outside / "home"),
        "QUADRATURE_STATE_DIR": str(outside / "state"),
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    }
    failures = []
    for place, drawn in cases(request):
        # A command would write to the absolute path. The tests may run as root and must not replace /dev/null.
        name = f"{outside}/absolute{drawn}" if place in WRITES and drawn.startswith("/") else drawn
        before = look(outside)
        ended = run(cage, project, env, place, name)
        after = look(outside)
        try:
            with tally.trying("a strange name is refused in a line, or does no harm"):
                assert ended.code in CODES
                assert "Traceback" not in ended.error
                assert not [deed for deed in ended.deeds if "canary" in deed or "system" in deed]
                assert_told_in_a_line(ended)
                changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
                assert not [path for path in changed if not may_change(Path(path), project, place, name)], changed
        except AssertionError as error:
            failures.append(f"{place} {name[:80]!r}: {error}\n{ended}"[:1500])
        restore(before, after)
    assert not failures, f"{len(failures)} failures\n" + "\n".join(failures)


def assert_told_in_a_line(ended):
    """Asserts that a refusal is one line, apart from the stages' log and argparse's usage."""
    logged = ("device cpu", "epoch ", "train 64, ", "usage: ", "      ")
    said = [line for line in ended.error.split("\n")[:-1] if not line.startswith(logged)]
    if ended.code not in (0, 1):
        assert len(said) == 1, said
    assert all("\x1b" not in line for line in said)


def may_change(path, project, place, name):
    """Whether a command with a name at a place may change a file: one that is named, or its usual output."""
    own = [project / known for known in ("data", "models", "metrics", "out.csv")] + [project.parent.parent / "state"]
    named = [Path(os.path.normpath(project / name))] if place in WRITES else []
    named += [path.resolve() if path.is_dir() else path.parent.resolve() / path.name for path in named]
    return any(path == each or each in path.parents for each in own + named)


def restore(before, after):
    """Restores every file."""
    for path in after.keys() - before.keys():
        Path(path).unlink()
    for path, content in before.items():
        if after.get(path) != content:
            Path(path).unlink(missing_ok=True)
            if isinstance(content, str):
                Path(path).symlink_to(content)
            else:
                Path(path).write_bytes(content)
