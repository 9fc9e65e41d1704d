"""The stages, a short file each: `python -m stages.NAME` runs one, from the project's folder.

One that is still importing is ended by Ctrl-C as any program is. Python would raise KeyboardInterrupt, which gets lost
in torch's shared libraries: the stage would go on. Once it has begun, quadrature/runtime/lifecycle.py says what
signals do.

Jupyter tells matplotlib in MPLBACKEND to show figures in a notebook, which needs a package that .venv lacks. No stage
shows a figure.
"""

import os
import signal
import sys

os.environ.pop("MPLBACKEND", None)
if sys.argv[0] == "-m":  # while Python looks for the module that it was told to run
    signal.signal(signal.SIGINT, signal.SIG_DFL)
