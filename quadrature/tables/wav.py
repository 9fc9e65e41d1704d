"""Reads the channels of a WAV file as a table: float32 columns, in units of full scale."""

import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from quadrature.runtime.errors import DataError
from quadrature.runtime.system_errors import refuse_special
from quadrature.tables.refusing import refusing


class Recording(NamedTuple):
    """Where a WAV file has its samples, and how."""

    path: Path
    offset: int
    dtype: np.dtype[np.generic]
    rows: int
    channels: int

    @property
    def schema(self) -> pa.Schema:
        """The columns: channel_0, channel_1 and so on, or input if there is only one."""
        names = [f"channel_{index}" for index in range(self.channels)] if self.channels > 1 else ["input"]
        return pa.schema([(name, pa.float32()) for name in names])


def open_wav(label: str, path: Path) -> Recording:
    """Reads a WAV file's header. Raises DataError."""
    from scipy.io import wavfile  # takes 0.4 s

    refuse_special(path)
    with refusing(label, "WAV"), warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that hold no samples
        try:
            _, samples = wavfile.read(path, mmap=True)
        except (struct.error, ArithmeticError, TypeError, NameError):
            raise ValueError("its header is damaged") from None
        except ValueError as error:
            if "3-byte" in str(error):
                raise DataError(
                    f"{label} has samples of 24 bits; convert them: ffmpeg -i in.wav -c:a pcm_s32le out.wav"
                ) from None
            if "mmap length" in str(error):
                raise ValueError("it ends before its header says") from None
            raise
    if not isinstance(samples, np.memmap) or not len(samples):
        raise DataError(f"{label} holds no samples, so there is nothing to estimate")
    channels = samples.shape[1] if samples.ndim > 1 else 1
    return Recording(path, int(samples.offset), samples.dtype, len(samples), channels)


def read_wav(label: str, recording: Recording, size: int) -> Iterator[pa.RecordBatch]:
    """Yields a WAV file's rows, `size` at a time."""
    with refusing(label, "WAV"), recording.path.open("rb") as file:
        file.seek(recording.offset)
        for first in range(0, recording.rows, size):
            count = min(size, recording.rows - first) * recording.channels
            samples = np.fromfile(file, recording.dtype, count)
            if len(samples) < count:
                raise ValueError("it became shorter while it was read")
            scaled = _full_scale(samples).reshape(-1, recording.channels)
            columns = [pa.array(np.ascontiguousarray(column)) for column in scaled.T]
            yield pa.RecordBatch.from_arrays(columns, schema=recording.schema)


def _full_scale(samples: NDArray[np.generic]) -> NDArray[np.float32]:
    """Returns samples as float32, whole numbers divided by the largest, so that they are in [-1, 1)."""
    kind = samples.dtype
    with np.errstate(over="ignore", invalid="ignore"):  # the reader of samples refuses what is not finite
        values = samples.astype(np.float64)
        if kind.kind == "u":  # of 8 bits, around 128
            values = (values - 128.0) / 128.0
        elif kind.kind == "i":
            values /= 2.0 ** (8 * kind.itemsize - 1)
        return values.astype(np.float32)
