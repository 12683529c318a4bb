"""A codec and good messages, as the wire's tests have them."""

from tests.wire.conftest import codec, good, wire

__all__ = ["codec", "good", "wire"]
