"""Checks all of params.yaml -> data/checked.txt, on which the other stages depend.

DVC removes the outputs of a stage before it runs the stage. So a mistake that only the stage itself found, such as a
misspelt cell, would cost the last network. This stage finds it first. Its output always has the same bytes, so no other
stage runs again because of it.
"""

from pathlib import Path

from quadrature.network.params import Device, ModelParams
from quadrature.plotting.params import PlotParams
from quadrature.posterior.params import TargetsParams
from quadrature.runtime import lifecycle
from quadrature.runtime.arguments import take_none
from quadrature.runtime.params import load_params
from quadrature.runtime.settings import Section
from quadrature.scoring.params import EvaluateParams
from quadrature.signals.params import GenerateParams
from quadrature.storage.files import write_bytes
from quadrature.training.params import TrainParams


class Params(Section):
    device: Device
    generate: GenerateParams
    targets: TargetsParams
    model: ModelParams
    train: TrainParams
    evaluate: EvaluateParams
    plot: PlotParams


def main() -> None:
    take_none("stages.check", __doc__)
    params = load_params(Params)
    if params.device not in ("auto", "cpu"):
        from quadrature.network.device import set_up_device  # torch takes a second to import

        set_up_device(params.device, 1)
    write_bytes(Path("data/checked.txt"), b"params.yaml has no mistake.\n")


if __name__ == "__main__":
    lifecycle.run(main)
