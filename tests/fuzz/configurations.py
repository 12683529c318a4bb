"""Any TOML as a configuration."""

import math
import os
import re
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from gateway import config
from gateway.config import file as config_file
from gateway.errors import ConfigurationError
from tests.fuzz import toml
from tests.fuzz.target import Target

FILE = Path(tempfile.gettempdir()) / f"fuzzed-{os.getpid()}.toml"
CANARY = "CANARY"
"""Part of values that may never be quoted: whoever writes a secret under a wrong key must not find it in a log."""
GOOD = b"""\
[node]
name = "sip-a"
drain_s = 12.0
payments_max = 50000
peers = {"sip-b" = "https://10.0.0.2:9100"}
peer_tls = {ca_file = "ca.pem"}

[[node.hub]]
name = "hub-1"
host = "127.0.0.1"
port = 8301

[[node.hub]]
name = "hub-2"
host = "127.0.0.1"
port = 8302
[node.hub.tls]
ca_file = "ca.pem"
certificate_file = "c.pem"
key_file = "k.pem"

[[node.token]]
name = "hsm-1"
label = "fps"
module = "libsofthsm2.so"
pin_file = "pin"

[node.journal]
dir = "journal"
segment_bytes = 67108864
retention_days = 14

[node.processor]
url = "http://127.0.0.1:8080/CANARY"

[node.submissions]
host = "127.0.0.1"
port = 8400

[node.ops]
port = 9100

[node.log]
level = "info"

[pair]
group = "sip"
business_days = 7

[pair.wire]
header_bytes = 4
header_format = "binary"
frame_bytes_max = 8192

[pair.mac]
algorithm = "aes-cmac"

[pair.keys]
layout = ["use:2", "wrapped:*", "check:6"]
hub_use = "01"
own_use = "02"

[pair.deadlines]
stand_in_after_s = 5
reply_within_s = 9.0

[pair.stand_in]
mode = "timer"
amount_max = 100000
payment_types = ["10"]
sort_codes = ["20", "3000"]

[pair.submit]
answer_within_s = 16.0

[pair.news]
own_institutions = ["200000"]
members = {"200000" = ["20"]}

[pair.session]
retry_s = 1.0
"""
_SAID = re.compile(re.escape(str(FILE)) + r":([0-9]+): [^\n]*")


def numbers_in(value: Any) -> Iterator[float]:
    """Every number of a configuration."""
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from numbers_in(item)
    elif isinstance(value, int | float):
        yield value


def run(data: bytes) -> None:
    """A configuration, the same however often it is read; or mistakes, each with its line, and no value of a secret."""
    FILE.write_bytes(data)
    try:
        loaded = config_file.load(FILE)
    except ConfigurationError as error:
        assert error.mistakes
        for mistake in error.mistakes:
            said = _SAID.fullmatch(mistake)
            unread = mistake.startswith(f"{FILE}: cannot be read: ")
            assert unread or said, mistake
            # keys may be named, and where there are only a few words to choose from no secret is written
            what = mistake.rpartition(": ")[2]
            assert CANARY not in what or what.startswith(("Invalid enum value", "Duplicate inline table key")), mistake
            assert said is None or 1 <= int(said[1]) <= data.count(b"\n") + data.count(b"\r") + 1, mistake
        return
    else:
        assert config_file.load(FILE) == loaded
        text = FILE.read_text(encoding="utf-8")
    finally:
        FILE.unlink()
    assert all(math.isfinite(number) for number in numbers_in(msgspec.to_builtins(loaded)))
    assert loaded == msgspec.convert(tomllib.loads(text), config.Configuration)
    wire = loaded.pair.wire
    if not (wire.field_table or wire.usm_table or wire.code_table):
        assert len(loaded.fingerprint()) == 16


TARGET = Target(
    run,
    lambda: [GOOD, GOOD[: GOOD.index(b"[node.submissions]")]],
    toml.spoil,
    [*toml.WORDS, b'pin = "CANARY"', b'field_table = "x"', b'"CANARY"', b"node.hub", b"wrapped:", b"check:5"],
)
