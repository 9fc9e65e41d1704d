"""The targets stage: posterior means or clean targets, the same bytes from any number of threads and processes."""

import numpy as np
import pytest

from quadrature.posterior.mean import PosteriorMean, PrefixMean
from quadrature.posterior.prior import Prior
from quadrature.posterior.targets import _can_be_drawn
from quadrature.signals.params import GenerateParams
from quadrature.signals.waves import draw_shard
from quadrature.storage.arrow import stack
from quadrature.storage.windows import COMPONENTS, WINDOW_COLUMNS, Split, shard_path, writing
from tests.checkout import Checkout
from tests.posterior.test_mean import make_params
from tests.signals.running import content


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A checkout whose windows are drawn, to be copied."""
    checkout = Checkout.make(tmp_path_factory.mktemp("drawn") / "checkout")
    checkout.stage("generate")
    return checkout


@pytest.fixture
def project(drawn, tmp_path):
    return drawn.copy(tmp_path / "checkout")


def read(folder, columns):
    split = Split(folder / "train", leading=columns)
    shards = [split.read(shard, columns) for shard in range(len(split.sizes))]
    return {name: np.concatenate([shard[name] for shard in shards]) for name in columns}, split.sizes


def make_targets(project, **changes):
    """Returns the windows, the targets that the stage makes of them, which have the same shards, and its log.

    Targets are (count, 2, length): in-phase, then quadrature.
    """
    project.set(**changes)
    log = project.stage("targets").stderr
    windows, sizes = read(project.path / "data/windows", (*WINDOW_COLUMNS, "in_phase"))
    targets, target_sizes = read(project.path / "data/targets", ("target", "in_phase"))
    assert sizes == target_sizes == (600, 600, 600, 200)
    return windows, stack(targets, COMPONENTS), log


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, PosteriorMean),
        ({"model.head": "every", "model.bidirectional": True}, PosteriorMean),
        ({"model.head": "every"}, PrefixMean),
    ],
    ids=["at the end", "in two directions", "sample by sample"],
)
def test_targets_are_the_posterior_mean_of_what_the_network_sees(project, changes, kind):
    windows, targets, log = make_targets(project, **changes)
    params = GenerateParams.model_validate(project.yaml("params.yaml")["generate"])
    expected = kind(Prior(params, 2000)).estimate(windows["input"]).mean
    np.testing.assert_allclose(targets, expected, rtol=0, atol=1e-5)
    assert "targets of 2,000 windows; processes 1, threads" in log
    assert "; posterior means, numerical error " in log


@pytest.mark.slow
def test_clean_targets_are_those_of_the_windows(project):
    windows, targets, log = make_targets(project, **{"targets.kind": "clean"})
    assert (targets == stack(windows, COMPONENTS)).all()
    assert log.rstrip().endswith("; clean")


@pytest.mark.slow
def test_without_noise_the_posterior_mean_is_the_clean_target(project):
    project.set(**{"generate.noise_std": 0.0})
    project.stage("generate")
    windows, targets, log = make_targets(project)
    assert (targets == stack(windows, COMPONENTS)).all()
    assert "clean: without noise they are the posterior means" in log


@pytest.mark.slow
def test_any_number_of_threads_and_processes_makes_the_same_bytes(project):
    project.stage("targets", "--threads", "1")
    expected = content(project.path / "data/targets")
    assert len(expected) == 4
    project.stage("targets", "--threads", "3", "--targets", "threads")
    assert content(project.path / "threads") == expected
    logs = [
        project.stage("targets", "--targets", "processes", RANK=str(rank), WORLD_SIZE="2").stderr for rank in range(2)
    ]
    assert content(project.path / "processes") == expected
    assert "processes 2" in logs[0]
    assert logs[1] == ""


DISTURBED = {
    "generate.offset_std": 0.3,
    "generate.drift_std": 0.2,
    "generate.noise_color": 1.0,
    "generate.harmonics": [0.1],
    "generate.chirp": 0.1,
    "generate.noise_std": 0.2,
}


@pytest.mark.slow
def test_the_targets_of_disturbed_windows_are_their_posterior_means_unless_the_windows_are_others(project):
    project.set(**DISTURBED)
    project.stage("generate")
    windows, targets, _ = make_targets(project)
    params = GenerateParams.model_validate(project.yaml("params.yaml")["generate"])
    expected = PosteriorMean(Prior(params, 2000)).estimate(windows["input"]).mean
    np.testing.assert_allclose(targets, expected, rtol=0, atol=1e-4)
    other = {"generate.harmonics": [0.12], "generate.chirp": 0.12, "generate.offset_std": 0.31, "generate.span": 3.2}
    for name, value in other.items():
        project.set(**{**DISTURBED, name: value})
        result = project.stage("targets", check=False)
        assert result.returncode == 65, name
        assert "were not drawn with the `generate` section of params.yaml" in result.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"generate.harmonics": [0.1], "generate.amplitude": {"low": 0.5, "high": 1.0}},
            "targets.kind in params.yaml: the posterior of waves with harmonics and an unknown amplitude is not "
            "computed; make the ends of generate.amplitude equal or set generate.harmonics to []; or set it to clean",
        ),
        (
            {"generate.offset_std": 0.1, "generate.noise_std": 0.0},
            "targets.kind in params.yaml: the posterior of disturbed windows without noise is not computed; "
            "raise generate.noise_std; or set it to clean",
        ),
        (
            {"generate.chirp": 0.1, "generate.phase": "consecutive"},
            "targets.kind in params.yaml: the posterior of consecutive phases with harmonics or chirp is not computed; "
            "set generate.phase to uniform; or set it to clean",
        ),
    ],
    ids=["harmonics", "no noise", "chirp"],
)
def test_disturbances_without_a_posterior_are_refused_in_one_line(project, changes, line):
    project.set(**changes)
    project.stage("generate")
    result = project.stage("targets", check=False)
    assert (result.returncode, result.stderr.splitlines()[-1]) == (2, line)
    make_targets(project, **{"targets.kind": "clean"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "code", "line"),
    [
        ({"generate.offset_std": 0.1}, 65, "were not drawn with the `generate` section of params.yaml"),
        ({"generate.span": 7e4}, 65, "were not drawn with the `generate` section of params.yaml"),
        ({"generate.noise_std": 0.11}, 65, "were not drawn with the `generate` section of params.yaml"),
        ({"targets.kind": "median"}, 2, "targets.kind in params.yaml is the text 'median'"),
    ],
)
def test_targets_that_cannot_be_right_are_refused(project, changes, code, line):
    project.set(**changes)
    result = project.stage("targets", check=False)
    assert result.returncode == code, result.stderr
    assert line in result.stderr.splitlines()[-1]
    assert not (project.path / "data/targets").exists()


@pytest.mark.slow
@pytest.mark.parametrize("noise", [1e-12, 1e-8, 1e-7, 3e-7])
def test_noise_below_float32s_rounding_is_no_reason_to_doubt_the_windows(noise):
    params = make_params(noise_std=noise)
    shard = draw_shard(params, "test", 0)
    assert _can_be_drawn(params, shard)
    assert not _can_be_drawn(params.model_copy(update={"noise_std": 1e-5}), shard)


@pytest.mark.slow
def test_a_posterior_out_of_reach_is_refused_and_the_way_out_named(project):
    project.set(**{"generate.span": 7e4})
    project.stage("generate")
    result = project.stage("targets", check=False)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("targets.kind in params.yaml: it would take 1,")
    assert result.stderr.endswith(
        "lower generate.span, raise generate.rate, or narrow generate.frequency; or set it to clean\n"
    )
    make_targets(project, **{"targets.kind": "clean"})


@pytest.mark.slow
def test_training_refuses_the_targets_of_other_windows(project):
    project.stage("targets")
    with writing(shard_path(project.path / "data/targets/train", 3), 3, 4) as file:
        file.write({"target": np.zeros((100, 10), np.float32)})
    result = project.stage("train", check=False)
    assert result.returncode == 65
    assert "data/targets/train holds targets of 1,900 windows, not of the 2,000 in data/windows/train" in result.stderr


@pytest.mark.slow
def test_the_prefix_mean_is_the_weighted_mean_of_waves_given_the_samples_so_far():
    """Importance sampling with the prior as proposal."""
    params = make_params(noise_std=0.3)
    shard = draw_shard(params, "test", 0)
    windows = shard["input"][:4]
    found = PrefixMean(Prior(params, 500)).estimate(windows).mean  # (count, 2, length)
    rng, count = np.random.default_rng(2), 400_000
    phase, frequency = rng.uniform(0.0, 2.0 * np.pi, count), rng.uniform(0.5, 2.0, count)
    log_likelihood = np.zeros((len(windows), count))
    for index, instant in enumerate(np.linspace(0.0, params.span, params.length)):
        angle = phase + frequency * instant
        log_likelihood -= np.square(windows[:, index, None] - np.sin(angle)) / (2.0 * params.noise_std**2)
        weight = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        for component, values in enumerate((np.sin(angle), np.cos(angle))):
            expected = weight @ values
            error = np.sqrt((np.square(weight) * np.square(values - expected[:, None])).sum(axis=1))
            assert (np.abs(found[:, component, index] - expected) < 5.0 * error + 1e-4).all()
