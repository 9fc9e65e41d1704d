"""Interrupted work is resumed only where numpy computes the same bits."""

import os
import subprocess
import sys

import pytest

OTHER_SINES = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA"}
"""Variables with which libm computes other sines, where the processor has AVX2."""

PROGRAM = """
import hashlib
import numpy as np
from quadrature.storage.fingerprint import fingerprint
print(fingerprint(), hashlib.sha256(np.sin(np.linspace(0.0, 50.0, 300_000)).tobytes()).hexdigest())
"""


def key_and_sines(**env):
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, env=os.environ | env, check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.slow
def test_the_key_changes_with_the_sines_of_numpy_and_libm():
    key, sines = key_and_sines()
    assert key_and_sines() == [key, sines]
    for name, value in {"NPY_DISABLE_CPU_FEATURES": "X86_V3", **OTHER_SINES}.items():
        other_key, other_sines = key_and_sines(**{name: value})
        assert (other_key == key) == (other_sines == sines), name
