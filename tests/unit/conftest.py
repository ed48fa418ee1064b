"""Tensors here are tiny, so a second thread only slows things down."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def a_compiler() -> None:
    """For tests of what torch.compile makes, which not every machine can."""
    from rbp_engine.spiking.layers import compiler

    if reason := compiler.problem("cpu"):
        pytest.skip(f"torch.compile does not work here: {reason}")


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    if (torch := sys.modules.get("torch")) is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
