"""A digest of everything that determines a result, so that interrupted work is resumed only by the same work.

Does not import torch.
"""

import hashlib
import os
import sys
from pathlib import Path

import numpy as np

from quadrature.storage.files import canonical_json

_CHOICES = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "NPY_DISABLE_CPU_FEATURES", "ONEDNN_MAX_CPU_ISA")
"""Environment variables that choose a library's processor instructions."""


def fingerprint(**what: object) -> str:
    """Returns a digest of the arguments, the imported code, numpy and the processor, as 32 hexadecimal digits."""
    code = {
        name: hashlib.sha256(Path(path).read_bytes()).hexdigest()
        for name, module in sys.modules.items()
        if name.partition(".")[0] in ("quadrature", "stages", "__main__")
        and (path := getattr(module, "__file__", None))
    }
    machine = {
        "numpy": np.__version__,
        "instructions": np.show_config(mode="dicts")["SIMD Extensions"]["found"],
        "choices": {name: os.environ.get(name) for name in _CHOICES},
    }
    return hashlib.sha256(canonical_json({"code": code, **machine, **what}).encode()).hexdigest()[:32]
