"""`python -m quadrature plan`: tables of errors to expect, and the section of params.yaml that draws such windows."""

import re
import subprocess
import sys

import pytest
import yaml

from quadrature.commands.plan import PERIODS
from quadrature.signals.params import GenerateParams
from tests.checkout import PROJECT

MAINS = ["--rate", "1000", "--band", "45", "55", "--amplitude", "280", "360", "--noise", "5"]


def plan(*arguments):
    command = [sys.executable, "-m", "quadrature", "plan", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_it_prints_what_is_best_by_length_and_a_section_to_paste():
    done = plan(*MAINS)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    phase, amplitude, rest = re.split(r"\n\n(?:Amplitude|Training)", done.stdout)
    for table in (phase, amplitude):
        rows = [line.split() for line in table.splitlines() if line[:1].isdigit()]
        assert [row[0] for row in rows] == [str(round(20 * periods) + 1) for periods in PERIODS for _ in range(2)]
        assert [row[2] for row in rows] == ["middle", "end"] * len(PERIODS)
        best, line, hilbert = zip(*([float(figure) for figure in row[3:6]] for row in rows), strict=True)
        assert all(one <= 1.1 * two for one, two in zip(best, line, strict=True))
        assert all(two < three for two, three in zip(line, hilbert, strict=True))
        assert best[1::2] == tuple(sorted(best[1::2], reverse=True))  # more samples tell more
        assert rows[0][6:] == ["x", "1.1"]
    section = yaml.safe_load(rest.partition("params.yaml:")[2])["generate"]
    params = GenerateParams.model_validate(section)
    assert f"For windows of {params.length} samples" in rest
    assert params.rate == 1000.0
    assert (params.frequency.low, params.amplitude.high, params.noise_std) == (45.0, 360.0, 5.0)


@pytest.mark.slow
def test_disturbances_go_into_the_section_and_a_missing_best_is_said_once():
    disturbed = ["--offset", "3", "--drift", "2", "--color", "1", "--chirp", "0.1", "--harmonics", "0.1", "0.05"]
    done = plan(*MAINS, *disturbed, "--length", "10", "12")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("No best estimate: the posterior of waves with harmonics and an unknown amplitude") == 1
    assert " none " in done.stdout
    assert "half the rate" not in done.stdout
    section = yaml.safe_load(done.stdout.partition("params.yaml:")[2])["generate"]
    found = {name: section[name] for name in ("offset_std", "drift_std", "noise_color", "chirp", "harmonics")}
    assert found == {"offset_std": 3.0, "drift_std": 2.0, "noise_color": 1.0, "chirp": 0.1, "harmonics": [0.1, 0.05]}


@pytest.mark.slow
def test_a_band_above_half_the_rate_is_told_to_look_like_a_lower_one():
    done = plan("--rate", "1000", "--band", "700", "800", "--amplitude", "1", "1", "--noise", "0.1", "--length", "10")
    assert done.stdout.count("Frequencies above half the rate, 500 Hz, look like lower ones in the samples.") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--band", "55", "45"], "frequency.high in the plan is 45.0; it should not be below low, 55.0"),
        (["--noise", "-1"], "noise_std in the plan is -1.0; it should be 0, or from 1e-30 to 1e+30"),
        (["--amplitude", "nan", "1"], "amplitude.low in the plan is nan; it should be a finite number"),
        (["--band", "0", "0"], "--band has no frequency above 0; give --length, too"),
        (["--band", "1e-6", "1e-6"], "half a period to eight of 1e-06 Hz are"),
        (["--rate", "1e12", "--band", "1e-320", "1e-320"], "frequency.low in the plan is"),
        (["--amplitude", "0", "0"], "--amplitude is 0, so there is no wave to estimate"),
        (["--rate", "0"], "argument --rate: 0 is not a number of samples a second from 1e-12 to 1e12"),
        (["--length", "1"], "argument --length: 1 is not a whole number from 2 to 1,024"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_line(arguments, line):
    done = plan(*MAINS, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert line in done.stderr.splitlines()[-1]
