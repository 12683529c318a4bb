"""Worlds of real processes, as the system tests have them."""

from tests.system.conftest import worlds

__all__ = ["worlds"]
