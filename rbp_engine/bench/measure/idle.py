"""How much of a step a card does nothing: `python -m rbp_engine.bench.measure.idle RUN SIDE`, JSON on stdout.

SIDE is as of `rbp_engine.bench.measure.step`. Between the first and the last kernel of some steps, the profiler says
when the card was busy; the rest of the time it waited for Python to launch the next kernel. On a CPU there are no
launches: there it is the time outside of torch's operations, which only tries this module.
"""

import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile

from rbp_engine.bench.measure.measurement import answer
from rbp_engine.bench.measure.step import Side
from rbp_engine.child import Progress
from rbp_engine.preset import read_resolved
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.device import choose_device, describe_device

WARM_UP, STEPS = 3, 5

#: From when to when, in microseconds.
Span = tuple[float, float]


def measure(side_name: str, run: RunDirectory, say: Progress) -> dict[str, Any]:
    """The share of the time in which the device is idle, and the kernels that a step launches."""
    say("profiling steps", 0.5)
    preset = read_resolved(run.preset_toml)
    device = choose_device(preset.run.device)
    side = Side(run, preset, side_name, device)
    side.take(WARM_UP)
    kind = ProfilerActivity.CPU if device.type == "cpu" else ProfilerActivity.CUDA
    with profile(activities=[kind], acc_events=True) as seen:
        taken = side.take(STEPS)
    kernels = [
        (event.time_range.start, event.time_range.end)
        for event in seen.events()
        if event.cpu_parent is None
        and not event.is_user_annotation
        and (event.device_type.name == "CPU") == (device.type == "cpu")
    ]
    return {
        "device": describe_device(device),
        "idle": idle_share(kernels),
        "kernels": len(kernels) / STEPS,
        "seconds": taken["seconds"],
    }


def idle_share(spans: Iterable[Span]) -> float:
    """The share of the time from the first start to the last end that no span covers. Raises ValueError for none."""
    ordered = sorted(spans)
    if not ordered:
        raise ValueError("the profiler has seen no kernel: is CUPTI installed, and may this user profile?")
    begun = reached = ordered[0][0]
    busy = 0.0
    for start, end in ordered:
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return 1.0 - busy / (reached - begun) if reached > begun else 0.0


if __name__ == "__main__":
    sys.exit(answer(RunDirectory(Path(sys.argv[1])), partial(measure, sys.argv[2])))
