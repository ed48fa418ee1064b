"""Operations that a training step dispatches and bytes that it allocates, counted by torch's profiler, without noise.

    python benchmarks/launches.py [--json] [--networks vgg11,resnet18] [--methods rate_m,bptt] [--timesteps 4,8]

Counts are for each network, method, T and kernel, on random images on the CPU, and for an ANN, one forward and backward
pass of the network with ReLU. An operation is the innermost that torch names, or a fused loop of a compiled kernel;
views and empty tensors do not count. The optimizer is left out, because its operations depend on the weights alone.
Bytes are everything allocated, including what is freed at once.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch._inductor.config
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from rbp_engine.bench.baselines import ann_baseline
from rbp_engine.methods import create_method
from rbp_engine.models import create_model

METHODS = ("rate_m", "rate_s", "bptt", "bptt_s", "sltt", "ottt")
# Operations that compute nothing.
FREE = {
    "_has_compatible_shallow_copy_type", "_reshape_alias", "alias", "as_strided", "as_strided_", "detach",
    "detach_", "empty", "empty_like", "empty_strided", "expand", "is_floating_point", "lift_fresh", "permute",
    "promote_types", "resize_", "resolve_conj", "resolve_neg", "result_type", "select", "set_", "slice", "split",
    "squeeze", "t", "to", "transpose", "unbind", "unsqueeze", "view", "view_as_real",
}  # fmt: skip


@dataclass(frozen=True)
class Count:
    """What one training step does."""

    network: str
    method: str
    timesteps: int
    kernel: str
    operations: int
    allocated: int


def count(step: Callable[[], object]) -> tuple[int, int]:
    """Operations dispatched and bytes allocated by the third step; the first ones compile and build tables."""
    for _ in range(2):
        step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    operations = sum(map(_operations, (event for event in seen.events() if event.cpu_parent is None)))
    memory = (event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]")
    return operations, sum(max(0, event.nbytes()) for event in memory)


def _operations(event: Any) -> int:
    """The number of computing operations in a profiler event: those of its children, or itself if they have none."""
    within = sum(map(_operations, event.cpu_children))
    name = event.name.removeprefix("aten::")
    computes = name not in FREE if name != event.name else "_fused_" in name
    return within or int(computes)


def step_of(network: str, method: str, timesteps: int, kernel: str, batch: int) -> Callable[[], object]:
    torch.manual_seed(0)
    model = create_model(network, num_classes=10, in_channels=3, kernel=kernel).to(memory_format=torch.channels_last)
    images = torch.rand(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 10
    if method == "ann":
        ann_baseline(model, 1)  # replaces the neurons by ReLU

        def backward() -> object:
            return F.cross_entropy(model(images), labels).backward()
    else:
        taken = create_method(method, timesteps)

        def backward() -> object:
            return taken.step(model, images, labels)

    def step() -> object:
        model.zero_grad(set_to_none=True)
        return backward()

    return step


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--networks", default="vgg11,resnet18,spikformer_digits")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--timesteps", default="4,8")
    parser.add_argument("--kernels", default="eager,compiled")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    torch._inductor.config.cpp.enable_kernel_profile = True
    for network in chosen.networks.split(","):
        cases = [("ann", 1, "eager")]
        for timesteps in map(int, chosen.timesteps.split(",")):
            for kernel in chosen.kernels.split(","):
                cases += [(method, timesteps, kernel) for method in chosen.methods.split(",")]
        for method, timesteps, kernel in cases:
            torch._dynamo.reset()
            counted = Count(
                network, method, timesteps, kernel, *count(step_of(network, method, timesteps, kernel, chosen.batch))
            )
            if chosen.json:
                print(json.dumps(asdict(counted)), flush=True)
            else:
                print(
                    f"{network:17} {method:7} T={timesteps} {kernel:9} {counted.operations:6} operations "
                    f"{counted.allocated / 2**20:8.1f} MiB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
