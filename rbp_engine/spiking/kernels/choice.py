"""Which kernel neurons run with, by what was asked for: one rule for runs and for scripts."""

from rbp_engine.spiking.kernels import compiler
from rbp_engine.spiking.kernels.lif import Kernel, KernelChoice


def wants_compiled(asked: KernelChoice, device: str, *, long: bool = True) -> bool:
    """Whether neurons should be compiled on that type of device.

    "auto" compiles on a GPU, and on a CPU if the work is `long` enough for compiling to save time. A run knows that; a
    script does not say, and is taken to train for long.
    """
    return asked == "compiled" or (asked == "auto" and (device != "cpu" or long))


def choose(asked: KernelChoice, device: str, *, long: bool = True) -> tuple[Kernel, str]:
    """The kernel, and why it is "eager" where it should be "compiled"; "" if it is as it should be."""
    if not wants_compiled(asked, device, long=long):
        return "eager", ""
    if problem := compiler.problem(device):
        return "eager", f"neurons run uncompiled, for torch.compile does not work here: {problem}"
    return "compiled", ""
