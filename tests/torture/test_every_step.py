"""Training stopped by a signal after any step resumes and ends in the golden bytes, in memory and streamed."""

import pytest

from tests.checkout import SMALL, Checkout
from tests.forks import after_step, clear, interrupt, run_stage, written
from tests.torture.conftest import CELLS, TINY

pytestmark = pytest.mark.slow

STEPS = {"train.epochs": 12, "train.batch_size": 420, "train.validations_per_epoch": 2}
"""Five steps an epoch, the last one smaller; a validation after the third and the last."""


@pytest.mark.parametrize("memory", [1000, 0], ids=["in memory", "streamed"])
@pytest.mark.parametrize("cell", CELLS)
def test_training_stopped_after_any_step_ends_in_the_golden_bytes(tmp_path, tally, chosen, cell, memory):
    checkout = Checkout.make(tmp_path, {**SMALL, **STEPS, "model.cell": cell})
    options = ("train", "--memory", str(memory), "--save-every", "1000")
    run_stage(checkout, "generate")
    run_stage(checkout, "targets")
    log = run_stage(checkout, *options).stderr
    assert "60 steps in" in log, log
    golden = written(checkout, "train")
    for step in chosen(range(60)):
        clear(checkout, "train")
        with tally.trying(f"SIGTERM after any step, {'streamed' if memory == 0 else 'in memory'}"):
            stopped = run_stage(checkout, *options, torment=after_step(step, interrupt))
            told = f"interrupted by SIGTERM; the next run resumes after step {step}"
            assert (stopped.returncode, stopped.stderr.splitlines()[-1]) == (75, told)
            assert written(checkout, "train") == {}
            resumed = run_stage(checkout, *options)
            assert resumed.returncode == 0
            assert f"resuming after step {step} " in resumed.stderr
            assert f"\n{60 - step} steps in" in resumed.stderr
            assert written(checkout, "train") == golden


KERNELS = [
    ("lstm", "DNNL_MAX_CPU_ISA", "SSE41"),
    *(
        pytest.param(cell, name, value, marks=pytest.mark.nightly)
        for cell in CELLS
        for name, value in {"MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "AVX"}.items()
    ),
]
"""Variables that make oneDNN and MKL compute as on another processor. They read them when they first compute."""


@pytest.mark.parametrize(("cell", "name", "value"), KERNELS)
def test_training_stopped_under_other_kernels_ends_in_the_bytes_that_these_make_alone(tmp_path, cell, name, value):
    checkout = Checkout.make(tmp_path, {**TINY, "model.cell": cell})
    run_stage(checkout, "generate")
    run_stage(checkout, "targets")
    assert run_stage(checkout, "train", **{name: value}).returncode == 0
    alone = written(checkout, "train")
    clear(checkout, "train")
    assert run_stage(checkout, "train", torment=after_step(2, interrupt)).returncode == 75
    assert run_stage(checkout, "train", **{name: value}).returncode == 0
    assert written(checkout, "train") == alone
