"""Failures of the operating system name the file and the remedy; a lack of memory or threads is told as such."""

import errno
import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from quadrature.runtime.errors import DataError
from quadrature.runtime.system_errors import ExhaustedError, explain, naming, refuse_special, reraise_systems
from quadrature.storage.files import write_bytes

GREEDY = {
    "python": lambda: bytearray(2**60),
    "numpy": lambda: np.empty(2**58),
    "torch": lambda: torch.empty(2**55),
    "pyarrow": lambda: pa.allocate_buffer(2**60),
}


@pytest.mark.parametrize("library", GREEDY)
def test_a_lack_of_memory_is_told_as_such_whoever_asks_for_it(library):
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        GREEDY[library]()
    told = explain(caught.value)
    assert told.exit_code == 71
    assert str(told).startswith("memory ran out")
    assert "\n" not in str(told)
    with pytest.raises(ExhaustedError):
        reraise_systems(caught.value, "a good file")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("can't start new thread"),
        OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)),
        pa.ArrowException("Unknown error: Failed to launch worker thread: Resource temporarily unavailable"),
    ],
    ids=["threading", "fork", "pyarrow"],
)
def test_a_lack_of_threads_is_told_as_such(error):
    assert explain(error).exit_code == 71
    assert re.match(r"no other thread or process can be started \(.*\); raise the limits", str(explain(error)))


def test_an_error_that_only_quotes_such_words_is_none_of_these():
    reraise_systems(ValueError("a column is named out of memory"), "file")
    assert explain(ValueError("a column is named out of memory")) is None
    named = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "out of memory.csv")
    assert str(explain(named)) == "out of memory.csv: No such file or directory"
    assert explain(RuntimeError("dictionary changed size during iteration")) is None


def test_a_write_that_fails_names_the_file_and_the_remedy(tmp_path):
    with pytest.raises(OSError, match="File name too long") as caught:
        write_bytes(tmp_path / ("a" * 300), b"")
    assert str(explain(caught.value)) == f"{tmp_path}/{'a' * 300}: File name too long; choose a shorter name"
    with (
        pytest.raises(OSError, match="No space left on device") as caught,
        naming(tmp_path / "file"),
        Path("/dev/full").open("w", buffering=1) as full,
    ):
        full.write("\n")
    assert str(explain(caught.value)) == f"{tmp_path}/file: No space left on device; free some space on its disk"
    assert explain(caught.value).exit_code == 74


def test_a_pipe_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "link"):
        if path.name == "link":
            path.symlink_to("/dev/zero")
        with pytest.raises(DataError, match=f"^{path} is not a regular file but a device or a pipe; "):
            refuse_special(path)
    (tmp_path / "file").touch()
    for name in ("file", "missing", "."):
        refuse_special(tmp_path / name)
