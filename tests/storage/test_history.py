"""The history file: what is written is read exactly, anything else is refused."""

import pytest

from quadrature.runtime.errors import DataError
from quadrature.storage.digest import DigestList, write_list
from quadrature.storage.history import History, Record, read_history, write_history

RECORDS = [Record(0.5, 3, 0.1, 1 / 3, 1e-12), Record(1.0, 6, 0.2, 5e-324, 2.0)]


def read(path):
    """Reads a history whose digest is right."""
    write_list(path.with_suffix(".sha256"), [path])
    return read_history(path, DigestList(path.with_suffix(".sha256")))


def test_what_is_written_is_read_exactly(tmp_path):
    history = History(RECORDS, "posterior_mean")
    write_history(tmp_path / "history.csv", history)
    assert read(tmp_path / "history.csv") == history
    assert (tmp_path / "history.csv").read_bytes().splitlines()[
        1
    ] == b"0.5,3,0.1,0.3333333333333333,1e-12,posterior_mean"


@pytest.mark.parametrize(
    "text",
    ["", "epoch,step\n1,2\n", "{row}", "a\0b", "{row}1.0,2,clean\n", "{row}a,b,c,d,e,clean\n",
     "{row}1.0,2,0.1,nan,0.1,clean\n", "{row}1.0,2,0.1,inf,0.1,clean\n", "{row}1.0,2,0.1,0.1,0.1,0.1,clean\n",
     "{row}1.0,2,0.1,0.1,0.1\n", "{row}\n", "epoch,step,learning_rate,train_mse,validation_mse\n1.0,2,0.1,0.1,0.1\n"],
)  # fmt: skip
def test_what_is_no_history_is_refused_by_name(tmp_path, text):
    path = tmp_path / "history.csv"
    path.write_text(text.replace("{row}", "epoch,step,learning_rate,train_mse,validation_mse,train_target\n"))
    with pytest.raises(DataError, match="is not a training history"):
        read(path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "history.csv"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="is not a training history"):
        read(path)
