import os

import pytest

from tests.checkout import Checkout

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several tests run at once, so a thread that waits for another must not spin: on two cores, two trainings of two
    # threads each took 65 ms a step beside each other, and 27 ms so. Read when torch is imported, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A small checkout after `dvc repro`, to be read and not changed."""
    checkout = Checkout(tmp_path_factory.mktemp("finished"))
    checkout.repro()
    checkout.commit()
    return checkout


@pytest.fixture
def make_checkout(tmp_path):
    """Makes checkouts in directories of the test's own."""
    return lambda name="checkout", parameters=None: Checkout(tmp_path / name, parameters)


@pytest.fixture
def checkout(make_checkout):
    return make_checkout()
