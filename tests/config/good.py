"""A configuration that is right, for tests that change one thing in it."""

from collections.abc import Callable

import pytest

from gateway import config
from gateway.errors import ConfigurationError

GOOD = """\
[node]
name = "sip-a"
drain_s = 12.0

[[node.hub]]
name = "hub-1"
host = "127.0.0.1"
port = 8301

[[node.hub]]
name = "hub-2"
host = "127.0.0.1"
port = 8302

[[node.token]]
name = "hsm-1"
label = "fps"
module = "libsofthsm2.so"
pin_file = "pin"

[node.journal]
dir = "journal"

[node.processor]
url = "http://127.0.0.1:8080"

[pair]
group = "sip"

[pair.deadlines]
stand_in_after_s = 5
"""

Load = Callable[[str], config.Configuration]


def mistakes_of(load: Load, text: str) -> list[str]:
    """The mistakes in a text, without the file's name."""
    with pytest.raises(ConfigurationError) as raised:
        load(text)
    assert all(mistake.startswith("fps.toml:") for mistake in raised.value.mistakes)
    return [mistake.removeprefix("fps.toml:") for mistake in raised.value.mistakes]


def in_two(text: str) -> tuple[str, str]:
    """A text as two: the node's own, which comes first in it, and the rest."""
    node, pair, rest = text.partition("[pair")
    return node, pair + rest
