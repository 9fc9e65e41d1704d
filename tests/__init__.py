"""The tests. What is set here is set before torch is imported, which reads it then."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several tests run at once, one a core: what is not asked for threads takes one, and those of a test that asks for
    # two do not spin while they wait. Two trainings of two threads each on two cores took 65 ms a step beside each
    # other, and 27 ms so; tests/network/test_stepwise.py 42 seconds of processor time beside other tests, and 19 so.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
