"""A checkout of the tests changes its own parameters, and no mapping that a test gave it."""

from tests.checkout import Checkout


def test_setting_a_parameter_in_a_given_mapping_leaves_the_mapping_alone(tmp_path):
    (tmp_path / "params.yaml").write_text("generate: {windows: {train: 1, test: 1}}\n")
    given = {"train": 2000, "test": 300}
    checkout = Checkout(tmp_path)
    checkout.set(**{"generate.windows": given, "generate.windows.train": 100})
    assert given == {"train": 2000, "test": 300}
    assert checkout.yaml("params.yaml")["generate"]["windows"] == {"train": 100, "test": 300}
