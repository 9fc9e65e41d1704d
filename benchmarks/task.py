"""The project's own task, which the benchmarks measure. It does not depend on params.yaml."""

from pathlib import Path

PARAMETERS = Path(__file__).parent / "params.yaml"

FLOOR_MSE = 2.87604e-3
"""The floor of the task's test windows: `floor_mse` in the committed metrics/test.json."""
