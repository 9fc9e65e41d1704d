"""Recordings: WAV files of every kind of sample, written by Python's own module or by hand."""

import struct
import wave

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quadrature.prediction import estimates
from quadrature.prediction.added_columns import OUTPUTS
from quadrature.runtime.errors import DataError, ParameterError
from tests.prediction.running import run

SAMPLES = np.random.default_rng(0).uniform(-1.0, 1.0, (333, 3))


def pcm(path, samples, width):
    """Writes whole numbers of 8, 16, 24 or 32 bits. Returns the samples that they stand for."""
    whole = np.floor(samples * 2 ** (8 * width - 1)).astype(np.int64)
    numbers = (whole + 128 if width == 1 else whole).ravel().tolist()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(48_000)
        file.writeframes(b"".join(number.to_bytes(width, "little", signed=width > 1) for number in numbers))
    return (whole / 2 ** (8 * width - 1)).astype(np.float32)


def floats(path, samples, size):
    """Writes floats of 32 or 64 bits, after a chunk of text."""
    data = samples.astype(f"<f{size // 8}").tobytes()
    channels = samples.shape[1]
    block = channels * size // 8
    chunks = struct.pack("<4sI8s", b"note", 8, b"of scope")
    chunks += struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, channels, 8000, 8000 * block, block, size)
    chunks += struct.pack("<4sI", b"data", len(data)) + data
    path.write_bytes(struct.pack("<4sI4s", b"RIFF", 4 + len(chunks), b"WAVE") + chunks)
    return samples.astype(np.float32)


KINDS = {
    "8 bits": (pcm, 1), "16 bits": (pcm, 2), "32 bits": (pcm, 4), "float": (floats, 32), "double": (floats, 64),
}  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_gives_the_estimates_of_its_samples_as_a_table(model, tmp_path, monkeypatch, kind, channels):
    monkeypatch.setattr(estimates, "_SLAB_VALUES", 200)
    write, size = KINDS[kind]
    samples = write(tmp_path / "in.WAV", SAMPLES[:, :channels], size)
    names = [f"channel_{index}" for index in range(channels)] if channels > 1 else ["input"]
    table = pa.table({name: samples[:, index] for index, name in enumerate(names)})
    pq.write_table(table, tmp_path / "in.parquet")
    options = ("--hop", 4, "--batch-size", 8)
    run(model, tmp_path / "in.WAV", tmp_path / "found.parquet", *options)
    run(model, tmp_path / "in.parquet", tmp_path / "expected.parquet", *options, *columns(names))
    found, expected = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("found", "expected"))
    assert found.equals(expected)
    assert found.num_rows == 333
    run(model, tmp_path / "in.WAV", tmp_path / "one.csv", *options, "--column", names[-1])
    assert (tmp_path / "one.csv").read_text().startswith(",".join([*names, *OUTPUTS]) + "\n")


def columns(names):
    return [option for name in names for option in ("--column", name)]


def cut(path):
    pcm(path, SAMPLES, 2)
    path.write_bytes(path.read_bytes()[:-10])


def header(path, end):
    pcm(path, SAMPLES, 2)
    path.write_bytes(path.read_bytes()[:end])


READABLE = "{} is not a readable WAV file ("
REFUSED = {
    "missing": (lambda _: None, "{} is missing"),
    "empty": (lambda path: path.touch(), READABLE),
    "text": (lambda path: path.write_text("input\n1\n"), READABLE),
    "cut": (cut, READABLE + "it ends before its header says)"),
    "half a header": (lambda path: header(path, 30), READABLE + "its header is damaged)"),
    "no data": (lambda path: header(path, 36), READABLE),
    "no samples": (lambda path: pcm(path, SAMPLES[:0], 2), "{} holds no samples, so there is nothing to estimate"),
    "24 bits": (
        lambda path: pcm(path, SAMPLES, 3),
        "{} has samples of 24 bits; convert them: ffmpeg -i in.wav -c:a pcm_s32le out.wav",
    ),
    "too short": (
        lambda path: pcm(path, SAMPLES[:9], 2), "{} holds a signal of 9 samples; the model reads windows of 10"
    ),
    "a float that is no number": (
        lambda path: floats(path, np.where(np.arange(333)[:, None] == 7, np.inf, SAMPLES), 32),
        "{}, row 8: channel_0 is inf; put a finite number there, or none and give --gaps interpolate or --gaps null",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_recording_that_cannot_be_read_is_refused_in_one_line(model, tmp_path, name):
    make, message = REFUSED[name]
    make(tmp_path / "in.wav")
    with pytest.raises(DataError) as caught:
        run(model, tmp_path / "in.wav", tmp_path / "out.csv", "--hop", 5)
    found, expected = str(caught.value), message.format(tmp_path / "in.wav")
    assert found.startswith(expected) if message == READABLE else found == expected
    assert "\n" not in found
    assert not (tmp_path / "out.csv").exists()


def test_a_recording_is_a_signal_and_never_written(model, tmp_path):
    pcm(tmp_path / "in.wav", SAMPLES, 2)
    with pytest.raises(ParameterError, match=r"in\.wav is a recording, not windows; give --hop$"):
        run(model, tmp_path / "in.wav", tmp_path / "out.csv")
    with pytest.raises(DataError, match=r"out\.wav ends in neither \.parquet nor \.csv; rename it"):
        run(model, tmp_path / "in.wav", tmp_path / "out.wav", "--hop", 5)
