"""Files that were truncated or had a bit flipped: the stage that reads one always refuses it by name."""

import importlib
import json
import logging
import os
import random
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from quadrature.runtime.errors import DataError
from tests.forks import STAGES, inputs, run_stage, written
from tests.promises.test_readme import commands

pytestmark = pytest.mark.slow

CUTS, FLIPS = 200, 1000
READERS = [name for name in STAGES if name not in ("check", "generate")]


@pytest.fixture(scope="module")
def done(tiny, tmp_path_factory):
    """A project after all its stages."""
    return tiny.copy(tmp_path_factory.mktemp("damage") / "project")


def cut(content, length):
    return content[:length]


def flip(content, bit):
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def damages(content, drawn):
    """Returns the kinds of damage by name: the function that damages, and the places in the file."""
    cuts, flips = range(len(content)), range(8 * len(content))
    return {
        "cut to bytes": (cut, drawn.sample(cuts, min(CUTS, len(cuts)))),
        "with a flipped bit": (flip, drawn.sample(flips, min(FLIPS, len(flips)))),
    }


@contextmanager
def damaged(name, file, fraction, answer):
    """Runs a stage for each damage of a file; writes to `answer` which it took or refused without the file's name."""
    path, main = Path(file), importlib.import_module(f"stages.{name}").main
    content, missed = path.read_bytes(), {}
    logging.disable()
    for kind, (damage, places) in damages(content, random.Random(f"{name} {file}")).items():
        places = places[: max(1, round(len(places) * fraction))]
        missed[kind] = len(places), []
        for at in places:
            path.write_bytes(damage(content, at))
            try:
                main()
                missed[kind][1].append((at, "taken"))
            except DataError as error:
                if not str(error).startswith(f"{file} "):
                    missed[kind][1].append((at, str(error)))
    path.write_bytes(content)
    logging.disable(logging.NOTSET)
    answer.write_text(json.dumps(missed))
    yield


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_is_damaged_is_refused_by_name(done, tally, request, tmp_path, name):
    golden, fraction = written(done, name), request.config.getoption("torture")
    for file in inputs(done, name):
        torment = partial(damaged, name, file, fraction, tmp_path / "missed")
        ended = run_stage(done, name, torment=torment, seconds=600.0)  # for up to 1,200 runs
        assert ended.returncode == 0, ended.stderr
        for kind, (tried, missed) in json.loads((tmp_path / "missed").read_text()).items():
            before = tally.counts.get(promise := f"{name} refuses a file {kind}", (0, 0))
            tally.counts[promise] = before[0] + tried, before[1] + tried - len(missed)
            assert not missed, f"{file} {kind}"
        assert written(done, name) == golden


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_ends_the_process_with_65_and_a_line(done, chosen, name):
    for file in chosen(inputs(done, name)):
        path = done.path / file
        content = path.read_bytes()
        for damage, places in damages(content, random.Random(file)).values():
            path.write_bytes(damage(content, places[0]))
            ended = run_stage(done, name)
            assert ended.returncode == 65
            assert ended.stderr.splitlines()[-1].startswith(f"{file} ")
        path.write_bytes(content)
    assert run_stage(done, name).returncode == 0  # makes what the refusals removed


def test_damage_in_dvcs_cache_is_refused_and_mended_as_the_document_says(again):
    look, fix = commands("docs/reliability.md")
    checkout = again
    golden, path = checkout.digests(), checkout.path / "data/predictions.parquet"
    content = path.read_bytes()
    outs = {out["path"]: out["md5"] for out in checkout.yaml("dvc.lock")["stages"]["evaluate"]["outs"]}
    copy = next((checkout.path / ".dvc/cache").glob(f"**/{outs['data/predictions.parquet'][2:]}"))
    before = copy.stat()
    copy.chmod(0o644)
    copy.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    copy.chmod(before.st_mode)
    os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.unlink()
    checkout.run("dvc", "repro")  # DVC takes the damaged copy
    (checkout.path / "metrics/plots/task.svg").unlink()
    refused = checkout.run("dvc", "repro", "--force", "--single-item", "plot", check=False)
    assert refused.returncode != 0
    assert "data/predictions.parquet is not a parquet file of this project" in refused.stderr
    path.unlink()
    checkout.run("bash", "-c", fix)
    checkout.repro()
    assert checkout.digests() == golden
    assert checkout.run("bash", "-c", look).stdout.count(": OK\n") == 15
