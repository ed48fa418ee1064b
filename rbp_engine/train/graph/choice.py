"""Decide whether the steps of a run are replayed as a CUDA graph."""

import torch
from torch import distributed

from rbp_engine.preset.schema import Preset

# The first NCCL whose operations torch can capture.
NCCL = (2, 9, 6)


def choose_graph(preset: Preset, device: torch.device, world_size: int) -> tuple[bool, list[str]]:
    """Whether to replay for `train.cuda_graph`, and a warning if it should be on but cannot be."""
    if preset.train.cuda_graph == "off":
        return False, []
    problem = _problem(device, world_size)
    if problem and preset.train.cuda_graph == "on":
        return False, [f'train.cuda_graph: steps are not replayed, and run as with "off": {problem}']
    return not problem, []


def _problem(device: torch.device, world_size: int) -> str:
    if device.type != "cuda":
        return f"a CUDA graph needs an NVIDIA card, and this run is on the {device.type}"
    if torch.version.cuda is None:
        return "this torch is not made for NVIDIA's cards"
    if world_size > 1:
        version = torch.cuda.nccl.version() if distributed.is_nccl_available() else ()
        if version < NCCL:
            return f"several processes need NCCL {'.'.join(map(str, NCCL))}, and this is {'.'.join(map(str, version))}"
    return ""
