"""Move batches to the device; the next one is copied while the device works on the current one."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the host to the device, without waiting for the device's pending work."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def on_device(batches: Iterable[tuple[Tensor, ...]], device: torch.device) -> Iterator[tuple[Tensor, ...]]:
    """The batches, moved to `device`. For a CUDA device they should be in pinned memory; one is copied ahead."""
    if device.type != "cuda":
        for batch in batches:
            yield tuple(tensor.to(device) for tensor in batch)
        return
    copies = torch.cuda.Stream(device)
    ahead: tuple[tuple[Tensor, ...], torch.cuda.Event] | None = None
    for batch in batches:
        with torch.cuda.stream(copies):
            following = tuple(tensor.to(device, non_blocking=True) for tensor in batch), copies.record_event()
        if ahead is not None:
            yield _arrived(*ahead, device)
        ahead = following
    if ahead is not None:
        yield _arrived(*ahead, device)


def _arrived(batch: tuple[Tensor, ...], copied: torch.cuda.Event, device: torch.device) -> tuple[Tensor, ...]:
    stream = torch.cuda.current_stream(device)
    stream.wait_event(copied)
    for tensor in batch:
        # The memory belongs to the copying stream, which must not reuse it before this stream has finished with it.
        tensor.record_stream(stream)
    return batch
