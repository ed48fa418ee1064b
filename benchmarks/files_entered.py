"""Our files that the second training step of conv, batch norm and LIF enters: what its reader has to open.

python benchmarks/files_entered.py [METHOD]
"""

import sys
from pathlib import Path
from types import FrameType

import torch
from torch import nn

import rbp_engine
from rbp_engine.methods import create_method
from rbp_engine.spiking import LIF

ENGINE = Path(rbp_engine.__file__).parent
entered: set[str] = set()


def trace(frame: FrameType, event: str, _: object) -> None:
    if ENGINE in (path := Path(frame.f_code.co_filename)).parents:
        entered.add(str(path.relative_to(ENGINE)))


model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), LIF(kernel="eager"), nn.Flatten(), nn.Linear(144, 3))
method = create_method(sys.argv[1] if sys.argv[1:] else "rate_m", 4)
for tracer in (None, trace):
    sys.settrace(tracer)
    method.step(model, torch.rand(2, 2, 8, 8), torch.tensor([0, 1]))
print("\n".join(sorted(entered)), f"\n{len(entered)} files")
