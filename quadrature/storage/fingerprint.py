"""A name for work that was stopped, by all that determines its result, so that only its like goes on with it.

No torch.
"""

import hashlib
import os
import sys
from pathlib import Path

import numpy as np

from quadrature.storage.files import canonical_json

_CHOICES = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "NPY_DISABLE_CPU_FEATURES", "ONEDNN_MAX_CPU_ISA")
"""Variables by which libraries choose among a processor's instructions."""


def fingerprint(**what: object) -> str:
    """Returns a digest of what is given, of the code in use, of numpy and of the processor, as 32 hexadecimals."""
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
