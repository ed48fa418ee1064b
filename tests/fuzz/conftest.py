"""Tensors here are tiny, so a second thread only slows things down."""

from tests.unit.conftest import one_thread  # noqa: F401
