"""A bank's own tables, of fields and of meanings: any TOML."""

import os
import tempfile
from importlib import resources
from pathlib import Path

from gateway.errors import ConfigurationError
from gateway.wire import fields, meanings
from gateway.wire.codec import Codec, Unparseable
from tests.fuzz import good, toml
from tests.fuzz.target import Target

FILE = Path(tempfile.gettempdir()) / f"fuzzed-{os.getpid()}.toml"


def run(data: bytes) -> None:
    """A table that decodes, or `ConfigurationError` with what is wrong; the first byte says which table it is."""
    FILE.write_bytes(data[1:])
    try:
        if data[:1] == b"u":
            meanings.load(FILE).group_of("10")
            return
        table = fields.load(FILE)
    except ConfigurationError as error:
        assert error.mistakes
        assert all(mistake.startswith(f"{FILE}: ") for mistake in error.mistakes)
        return
    finally:
        FILE.unlink()
    codec = Codec(table)
    for body in good.bodies():
        for _ in range(9):
            try:
                codec.decode(body)
            except Unparseable:
                break


def samples() -> list[bytes]:
    """The built-in tables, and small pieces of them."""
    here = resources.files("gateway.wire")
    texts = [(b"f", (here / "fps.toml").read_bytes()), (b"u", (here / "usm.toml").read_bytes())]
    return [kind + text for kind, text in texts] + [b"f" + texts[0][1][-3500:]]


TARGET = Target(run, samples, toml.spoil, toml.WORDS)
