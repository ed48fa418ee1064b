"""Whether batch norms and sums are left to the next layer of neurons (`spiking/current.py`): fusion, on by default."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_FUSED = ContextVar("fused", default=True)


@contextmanager
def unfused() -> Iterator[None]:
    """Within it batch norms and sums are computed where they stand, for inspection; results agree up to rounding.

    A step of a method must begin and end within it.
    """
    before = _FUSED.set(False)
    try:
        yield
    finally:
        _FUSED.reset(before)


def is_fused() -> bool:
    """Whether batch norms and sums are left to the next neuron layer."""
    return _FUSED.get()
