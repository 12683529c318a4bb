"""Gateways that break a promise on purpose, one for each: the test of the test."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def canary(name: str) -> Iterator[None]:
    """Break this promise, in this process, meanwhile; empty: none."""
    assert not name
    yield
