"""The types of numbers that are added up over time."""

import torch
from torch import Tensor


def membrane_dtype(current: torch.dtype) -> torch.dtype:
    """The type of membranes and of sums over time: float32 at least, whatever the type of the currents."""
    return torch.promote_types(current, torch.float32)


def full(values: Tensor) -> Tensor:
    """The values in float32 at least."""
    return values.to(membrane_dtype(values.dtype))


def count_dtype(timesteps: int) -> torch.dtype:
    """The smallest type that can hold the number of spikes in T steps."""
    return torch.uint8 if timesteps < 256 else torch.int32
