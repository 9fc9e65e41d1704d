"""Measures whether the tests notice mistakes: changes the code in one place at a time and runs the tests.

    .venv/bin/python -m tests.mutants 100                 # 100 places, drawn by a seed; an hour or two
    .venv/bin/python -m tests.mutants 100 --only 7 31     # two of them again

Each mutant (DeMillo, Lipton and Sayward 1978, doi.org/10.1109/C-M.1978.218136) is tried in a copy of the tree until a
test fails: first the quick tests of the files that name its module, then their slow tests, then `make quick`, then the
rest of `make test`. Tests of the committed results are left out, as any change of the code makes these stale; so is the
test that runs the linter. Prints a line for each mutant, and the percentage that was killed.
"""

import argparse
import ast
import contextlib
import copy
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import NamedTuple

PROJECT = Path(__file__).parent.parent
OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.MatMult: ast.Add,
}  # fmt: skip
"""The replacement of each operator."""

LEFT_OUT = ("--deselect", "tests/promises/test_setup.py::test_make_format_mends_what_make_check_refuses")
SECONDS = 300
"""Time limit of a test; a longer one counts as failed."""


class Mutant(NamedTuple):
    """A file with one place changed."""

    path: str
    line: int
    before: str
    after: str
    text: str  # of the whole file

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.before!r} -> {self.after!r}"


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """Yields the mistakes that could be made in a node's place."""
    changed = copy.deepcopy(node)
    match changed:
        case ast.Compare(ops=[operator]) if type(operator) in OPERATORS:
            changed.ops = [OPERATORS[type(operator)]()]
            yield changed
        case ast.BinOp(op=operator) | ast.BoolOp(op=operator) if type(operator) in OPERATORS:
            changed.op = OPERATORS[type(operator)]()
            yield changed
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield changed.operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.Return(value=ast.expr()):
            yield ast.Return(ast.Constant(None))
        case ast.Raise() | ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()


def places(node: ast.AST) -> Iterator[ast.AST]:
    """Yields the nodes of a tree, without annotations."""
    yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from places(child)


def mutants_of(path: str) -> Iterator[Mutant]:
    """Yields every mutant of a file."""
    text = (PROJECT / path).read_text()
    lines = [line.encode() for line in text.splitlines(keepends=True)]
    starts = [sum(map(len, lines[:number])) for number in range(len(lines))]
    whole = text.encode()
    for node in places(ast.parse(text)):
        for variant in variants(node):
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            # In parentheses, as an expression may be part of another.
            after = f"({ast.unparse(variant)})" if isinstance(variant, ast.expr) else ast.unparse(variant)
            changed = (whole[:start] + after.encode() + whole[end:]).decode()
            yield Mutant(path, node.lineno, whole[start:end].decode(), after, changed)


def draw(count: int, seed: int) -> list[Mutant]:
    """Returns mutants of the library and the stages, drawn uniformly by a seed."""
    names = subprocess.run(
        ["git", "ls-files", "quadrature/*.py", "stages/*.py"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.split()
    return random.Random(seed).sample([mutant for name in names for mutant in mutants_of(name)], count)


def near(path: str) -> list[str]:
    """Returns the test files that name a module, its own first, then most mentions first; or those of its folder."""
    module = path.removesuffix(".py").replace("/", ".")
    package, _, own = module.rpartition(".")
    name = re.compile(rf"\b{re.escape(module)}\b|from {re.escape(package)} import .*\b{own}\b|test_{own}\b")
    counts = {
        str(file.relative_to(PROJECT)): len(name.findall(file.read_text() + file.name))
        for file in (PROJECT / "tests").rglob("test_*.py")
    }
    mirror = f"/test_{own}.py"
    named = sorted(
        (file for file, count in counts.items() if count), key=lambda file: (mirror not in file, -counts[file])
    )
    folder = PROJECT / "tests" / package.rpartition(".")[2]
    return named or sorted(str(file.relative_to(PROJECT)) for file in folder.glob("test_*.py"))


def killer(mutant: Mutant, tree: Path) -> str:
    """Returns the test that fails with a mutant, empty if none does.

    Raises RuntimeError if the test fails without the mutant, too.
    """
    target = tree / mutant.path
    original = target.read_bytes()
    close = near(mutant.path)
    for speed, files in (("not slow", close), ("slow", close), ("not slow", ["tests"]), ("slow", ["tests"])):
        marks = f"{speed} and not nightly and not committed_results"
        try:
            target.write_text(mutant.text)
            failed = first_failure(tree, marks, *files) if files else ""
        finally:
            target.write_bytes(original)
        if failed:
            if first_failure(tree, marks, *([failed.split(" - ")[0]] if "::" in failed else files)):
                raise RuntimeError(f"without a mutant, too: {failed}")
            return failed
    return ""


def first_failure(tree: Path, marks: str, *files: str) -> str:
    """Returns the first test with these marks in these files that fails or does not end, empty if there is none."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", marks, *LEFT_OUT, *files]
    command += ["-o", f"faulthandler_timeout={SECONDS}", "-o", "faulthandler_exit_on_timeout=true"]
    with subprocess.Popen(
        command, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as tests:
        try:
            output, _ = tests.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(tests.pid, signal.SIGKILL)  # processes left by a test that did not end
    if tests.returncode in (0, 5):  # 5: no such tests
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) (.*)$", output, re.MULTILINE)
    return failed[1] if failed else f"exit {tests.returncode}: {output.strip().splitlines()[-1]}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Change the code, run the tests.")
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="mutants tried at once (default: 2)")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="try only these")
    arguments = parser.parse_args()
    drawn = draw(arguments.count, arguments.seed)
    chosen = arguments.only or range(len(drawn))

    with tempfile.TemporaryDirectory() as folder:
        trees: Queue[Path] = Queue()
        for number in range(arguments.jobs):
            tree = Path(folder) / f"tree-{number}"
            shutil.copytree(PROJECT, tree, ignore=shutil.ignore_patterns(".venv*", "data", "models", "__pycache__"))
            (tree / ".git/info/exclude").write_text(".venv\n")
            (tree / ".venv").symlink_to(sys.prefix)
            trees.put(tree)

        def attempt(number: int) -> bool:
            tree = trees.get()
            found = killer(drawn[number], tree)
            trees.put(tree)
            print(f"{number:3d} {'killed  ' if found else 'SURVIVED'} {drawn[number]}  {found}", flush=True)
            return bool(found)

        with ThreadPoolExecutor(arguments.jobs) as pool:
            killed = sum(pool.map(attempt, chosen))
    print(f"killed {killed} of {len(chosen)}: {100 * killed / len(chosen):.0f} %")


if __name__ == "__main__":
    main()
