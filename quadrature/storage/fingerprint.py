"""A digest of everything that determines a result, so that interrupted work is resumed only by the same work.

Does not import torch.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np

from quadrature.storage.files import canonical_json

_ANGLES = 100_000
"""Angles whose sine and cosine are computed: of a libm's two variants, one in 1,500 sines has another last bit."""


def fingerprint(**what: object) -> str:
    """Returns a digest of the arguments, the imported code, numpy and its arithmetic, as 32 hexadecimal digits."""
    code = {
        name: hashlib.sha256(Path(path).read_bytes()).hexdigest()
        for name, module in sys.modules.items()
        if name.partition(".")[0] in ("quadrature", "stages", "__main__")
        and (path := getattr(module, "__file__", None))
    }
    machine = {"numpy": np.__version__, "arithmetic": _arithmetic()}
    return hashlib.sha256(canonical_json({"code": code, **machine, **what}).encode()).hexdigest()[:32]


def _arithmetic() -> str:
    """Returns a digest of sines and cosines. numpy and libm choose their code by processor, version and variables."""
    angles = np.linspace(0.0, 100.0, _ANGLES)
    return hashlib.sha256(np.sin(angles).tobytes() + np.cos(angles).tobytes()).hexdigest()
