import pytest


@pytest.fixture(scope="module")
def report(finished):
    """The report of the small checkout."""
    return finished.path / "metrics/report.html"
