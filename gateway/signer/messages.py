"""The frames between the pool and a worker: a length (4 bytes, big-endian, counting what follows), a kind, a body.

    START  pool → worker   JSON `Start`: which token, which keys. The first frame.
    KEYS   pool → worker   JSON, an array of `Held`: these keys from now on, in place of those before.
    HELLO  worker → pool   JSON `Shown`: the keys that it has. Answers START, KEYS and PROBE.
    BATCH  pool → worker   number (4 bytes), then the operations: index of the key in the last START or KEYS (1),
                           verify or make (1), length of the data (4), the MAC to verify (8, zeros when making one), the
                           data.
    RESULT worker → pool   number (4), then nine bytes for each operation: a status and the MAC made (zeros if none).
    PROBE  pool → worker   no body: show the keys again, as they are in the token now.
    FAULT  worker → pool   JSON `Outage`: why there is no service. The last frame of a worker.

A worker answers in the order of its questions. Both ends are ours and of the same version; a frame that does not fit is
an assertion at the worker and a crashed worker for the pool.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from gateway.payments.work import Install

START, KEYS, HELLO, BATCH, RESULT, PROBE, FAULT = b"SKHBRPF"

FRAME_BYTES_MAX = 1 << 20
"""No frame is longer: a batch is closed at `queues.BATCH_BYTES_MAX` and one message has at most 64 KiB."""
MAC_BYTES = 8
"""DE128 is 64 bits."""
CHECK_TEXT = b"fps gateway check value"
"""The text whose MACs the pool compares: never that of a message."""
KEYS_MAX = 200
"""Keys that a token is asked to have at once: their index is one byte."""

OK, WRONG, FAILED = 0, 1, 2
"""Status of one operation: done (or the MAC is right), the MAC is wrong, the token could not say."""

HEAD = struct.Struct(">IB")
KIND_AT = 4
"""The offset of the kind in a frame."""
NUMBER = struct.Struct(">I")
OPERATION = struct.Struct(">BBI8s")
RESULT_ITEM = struct.Struct(">B8s")
NO_MAC = bytes(MAC_BYTES)


class Held(msgspec.Struct, frozen=True, array_like=True):
    """A key that a token shall have. Without a key that is not `needed`, the token serves all the same."""

    key: Install
    needed: bool = True


class Transport(msgspec.Struct, frozen=True):
    """How new keys come (`config.Keys`): the key that wraps them, the mechanism, and the proof."""

    label: str = ""
    mechanism: int = 0
    vector: bytes = b""
    check_value: str = "mac-zeros"


class Start(msgspec.Struct, frozen=True):
    """A worker's instructions. The PIN is not in it: the worker reads the file."""

    module: str
    label: str
    pin_file: str
    algorithm: str
    retail_mechanism: int
    keys: tuple[Held, ...]
    start_within_s: float
    batch_within_s: float
    install_within_s: float = 0.0
    transport: Transport = Transport()
    transport_shown: bool = False
    """Whether HELLO reports on the transport key, too. Tokens that have to serve are not asked."""


class Shown(msgspec.Struct, frozen=True):
    """The keys that a token has, by values in hex."""

    values: dict[str, str]
    """By label: the MAC of `CHECK_TEXT` under each key, for the pool to compare."""
    failures: dict[str, str]
    """By label, in words: why a key that is not needed is missing."""
    checks: dict[str, str] = {}
    """By label, in upper case: the check value, where and as long as the token gives one (`Transport.check_value`; for
    the transport key, a block of zeros enciphered). Not in the answer to a PROBE."""


def held(*labels: str) -> tuple[Held, ...]:
    """Keys that were put into the token in a ceremony."""
    return tuple(Held(Install(label)) for label in labels)


def frame(kind: int, body: bytes = b"") -> bytes:
    """One frame."""
    return HEAD.pack(len(body) + 1, kind) + body


def json_frame(kind: int, body: Any) -> bytes:
    """One frame with JSON in it."""
    return frame(kind, msgspec.json.encode(body))


def batch_frame(number: int, operations: Iterable[tuple[int, bytes, bytes]]) -> bytes:
    """A BATCH of (index of the key, MAC to verify or nothing, data)."""
    parts = [b"", NUMBER.pack(number)]
    add, head = parts.append, OPERATION.pack
    for key, mac, data in operations:
        add(head(key, 1, len(data), mac) if mac else head(key, 0, len(data), NO_MAC))
        add(data)
    parts[0] = HEAD.pack(sum(map(len, parts)) + 1, BATCH)
    return b"".join(parts)


def operations(body: bytes) -> tuple[int, list[tuple[int, bytes, bytes]]]:
    """Read what `batch_frame` made: the number, and the operations."""
    found = []
    at, end = NUMBER.size, len(body)
    while at < end:
        key, verify, length, mac = OPERATION.unpack_from(body, at)
        at += OPERATION.size
        found.append((key, mac if verify else b"", body[at : at + length]))
        at += length
    assert at == end, "a batch that does not end with its last operation"
    return NUMBER.unpack_from(body)[0], found


def result_frame(number: int, results: Sequence[tuple[int, bytes]]) -> bytes:
    """A RESULT of (status, MAC made or zeros)."""
    head = HEAD.pack(len(results) * RESULT_ITEM.size + NUMBER.size + 1, RESULT)
    return b"".join([head, NUMBER.pack(number), *[RESULT_ITEM.pack(*result) for result in results]])


def results(body: bytes) -> tuple[int, list[tuple[int, bytes]]]:
    """Read what `result_frame` made. Raises `ValueError` when the bytes do not come out even."""
    if len(body) < NUMBER.size or (len(body) - NUMBER.size) % RESULT_ITEM.size:
        raise ValueError("a result that does not end with its last operation")
    return NUMBER.unpack_from(body)[0], list(RESULT_ITEM.iter_unpack(memoryview(body)[NUMBER.size :]))


class Splitter:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, chunk: bytes) -> list[tuple[int, bytes]]:
        """The (kind, body) of every frame that is complete now. Raises `ValueError` for an impossible length."""
        held = self._kept + chunk if self._kept else chunk
        found, at = [], 0
        while len(held) - at >= HEAD.size:
            length, kind = HEAD.unpack_from(held, at)
            if not 1 <= length <= FRAME_BYTES_MAX:
                raise ValueError("a frame of impossible length")
            end = at + HEAD.size - 1 + length
            if end > len(held):
                break
            found.append((kind, held[at + HEAD.size : end]))
            at = end
        self._kept = held[at:]
        return found
