"""The tests. Variables are set here because torch reads them when it is imported."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Tests run in parallel, one per core: code that does not ask for threads gets one, and a test's two threads do not
    # spin while they wait. On two cores, two trainings of two threads each took 65 ms a step without these settings and
    # 27 ms with them; tests/network/test_stepwise.py took 42 and 19 seconds of processor time beside other tests.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
