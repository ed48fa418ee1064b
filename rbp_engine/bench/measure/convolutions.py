"""The fastest of a network's convolutions: `python -m rbp_engine.bench.measure.convolutions RUN`, JSON on stdout.

A training step consists mostly of convolutions, so their peak is what the device could do for it. Measured are forward
passes of all T·B images at once, as multi-step methods call them.
"""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rbp_engine.bench.baselines import ann_baseline
from rbp_engine.bench.measure import counts, stand_in
from rbp_engine.bench.measure.measurement import answer
from rbp_engine.bench.measure.trial import Trial, clock
from rbp_engine.child import Progress
from rbp_engine.data.known_shape import known_shape
from rbp_engine.preset import read_resolved
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.device import choose_device, describe_device

TURN_S = 0.1
#: The number formats; "tf32" is float32 as torch has it on a card by default, with a mantissa of 10 bits.
FORMATS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
ON_CPU = ("fp32", "bf16")


def measure(run: RunDirectory, say: Progress) -> dict[str, Any]:
    """Operations per second of the fastest convolution by number format, and the operations of one forward pass."""
    preset = read_resolved(run.preset_toml)
    device = choose_device(preset.run.device)
    trial = Trial(run, stand_in.with_stand_in(preset, known_shape(preset.data)), device)
    images, _ = next(iter(trial.feed.train.epoch(0)))
    images = images[0] if images.ndim == 5 else images
    found = shapes(trial.model, images, preset.method.timesteps)
    # The choice of an algorithm by trying all is part of what the device can do.
    torch.backends.cudnn.benchmark = True
    formats = ON_CPU if device.type == "cpu" else tuple(FORMATS)
    peaks = {}
    for number, name in enumerate(formats):
        say(f"convolutions in {name}", number / len(formats))
        torch.backends.cudnn.allow_tf32 = name == "tf32"
        rates = {described(layer, shape): rate(layer, shape, FORMATS[name], device) for layer, shape in found}
        fastest = max(rates, key=lambda place: rates[place])
        peaks[name] = {"operations_per_s": rates[fastest], "convolution": fastest}
    forward = counts.weighted_operations(lambda: trial.model(images))
    return {"device": describe_device(device), "peaks": peaks, "forward_operations": forward}


def shapes(model: nn.Module, images: Tensor, timesteps: int) -> list[tuple[nn.Conv2d, tuple[int, ...]]]:
    """Every different convolution, with the shape [T·B, C, H, W] of its input; the neurons become ReLU, in place."""
    ann_baseline(model, 1, images)
    found: dict[str, tuple[nn.Conv2d, tuple[int, ...]]] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, nn.Conv2d)
        batch, *rest = inputs[0].shape
        shape = (timesteps * batch, *rest)
        found[described(layer, shape)] = layer, shape

    hooks = [layer.register_forward_pre_hook(note) for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return list(found.values())


def described(layer: nn.Conv2d, shape: tuple[int, ...]) -> str:
    """Like `3×3, 64 → 64, 32×32, 512 images`."""
    kernel, size = ("×".join(map(str, sides)) for sides in (layer.kernel_size, shape[2:]))
    return f"{kernel}, {layer.in_channels} → {layer.out_channels}, {size}, {shape[0]} images"


@torch.no_grad()
def rate(layer: nn.Conv2d, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> float:
    """Operations per second of a convolution's forward pass."""
    images = torch.rand(shape, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight = layer.weight.to(dtype).contiguous(memory_format=torch.channels_last)

    def forward() -> Tensor:
        return F.conv2d(images, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)

    operations = counts.weighted_operations(forward)
    for _ in range(2):
        forward()
    started, times = clock(device), 0
    while (passed := clock(device) - started) < TURN_S:
        # As many as fill a quarter of the turn, because waiting for the device costs time.
        more = max(1, round(TURN_S / 4 * times / passed)) if times else 1
        for _ in range(more):
            forward()
        times += more
    return operations * times / passed


if __name__ == "__main__":
    sys.exit(answer(RunDirectory(Path(sys.argv[1])), measure))
