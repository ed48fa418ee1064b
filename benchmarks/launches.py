"""Kernels that a training step launches and bytes that it allocates, counted without noise, and what takes its time.

    python benchmarks/launches.py [--times] [--networks vgg11,resnet18] [--methods rate_m,bptt] [--timesteps 4,8]

Counts are for each network, method, T and kernel, on random images on the CPU, and for an ANN, one forward and backward
pass of the network with ReLU. A launch is an operation that torch dispatches and that computes, fills or copies, or a
fused loop of a compiled kernel, as inductor calls them; views and empty tensors launch nothing. The optimizer is left
out, because its operations depend on the weights alone. Bytes are everything allocated, including what is freed at
once. `--times` adds the share of each kind of operation in the time of a step, which other programs distort.
"""

import argparse
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
import torch._inductor.config
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from rbp_engine.bench.baselines import ann_baseline
from rbp_engine.methods import create_method
from rbp_engine.models import create_model
from rbp_engine.spiking.layers import compiler

METHODS = ("rate_m", "rate_s", "bptt", "bptt_s", "sltt", "ottt")
# Operations that launch nothing, besides views.
FREE = {
    "_reshape_alias", "_unsafe_view", "device", "empty", "empty_like", "empty_permuted", "empty_strided", "lift_fresh",
    "new_empty", "new_empty_strided", "promote_types", "result_type", "set_",
}  # fmt: skip
# Parts of an operation's name, and what such operations are.
KINDS = {
    "convolution": "convolutions and matrix products",
    "mm": "convolutions and matrix products",
    "_fused_": "neurons",
    "batch_norm": "statistics of batch norms",
    "copy_": "copies in other formats",
}


class Launches(TorchDispatchMode):
    """Counts the operations outside compiled kernels that launch something."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view and func.overloadpacket.__name__ not in FREE
        return func(*args, **(kwargs or {}))


def count(step: Callable[[], object]) -> tuple[int, int]:
    """Kernels launched and bytes allocated by the third step; the first ones compile and build tables."""
    for _ in range(2):
        step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    fused = sum("_fused_" in event.name and not event.cpu_children for event in seen.events())
    memory = (event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]")
    with Launches() as launches:
        step()
    return fused + launches.count, sum(max(0, event.nbytes()) for event in memory)


def times(step: Callable[[], object]) -> list[str]:
    """The time of a step by kind of operation: the mean of five steps, after those that were counted."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(5):
            step()
    taken: Counter[str] = Counter()
    for event in seen.events():
        kind = next((kind for part, kind in KINDS.items() if part in event.name), "all else")
        taken[kind] += event.self_cpu_time_total / 5000
    whole = sum(taken.values())
    return [f"    {ms:8.1f} ms {100 * ms / whole:5.1f} % {kind}" for kind, ms in taken.most_common()]


def leave_out_compiled_kernels() -> None:
    """Let compiled kernels run outside dispatch modes, where torch would run their functions uncompiled."""
    compile_function = compiler.jit

    def jit(function: Callable[..., Any]) -> Callable[..., Any]:
        kernel = compile_function(function)

        def run(*args: Any) -> Any:
            with _disable_current_modes():
                return kernel(*args)

        return run

    compiler.jit = jit  # type: ignore[assignment]


def step_of(network: str, method: str, timesteps: int, kernel: str, batch: int) -> Callable[[], object]:
    torch.manual_seed(0)
    model = create_model(network, num_classes=10, in_channels=3, kernel=kernel).to(memory_format=torch.channels_last)
    images = torch.rand(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 10
    if method == "ann":
        ann_baseline(model, 1, images)  # replaces the neurons by ReLU

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
    parser.add_argument("--times", action="store_true")
    chosen = parser.parse_args()
    torch._inductor.config.cpp.enable_kernel_profile = True
    leave_out_compiled_kernels()
    methods, kernels = chosen.methods.split(","), chosen.kernels.split(",")
    cases = [(1, "eager", "ann"), *itertools.product(map(int, chosen.timesteps.split(",")), kernels, methods)]
    for network, (timesteps, kernel, method) in itertools.product(chosen.networks.split(","), cases):
        torch._dynamo.reset()
        step = step_of(network, method, timesteps, kernel, chosen.batch)
        launches, allocated = count(step)
        found = f"{network:17} {method:7} T={timesteps} {kernel:9} {launches:6} launches {allocated / 2**20:8.1f} MiB"
        print(found, *(times(step) if chosen.times else []), sep="\n", flush=True)


if __name__ == "__main__":
    main()
