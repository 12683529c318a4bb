"""Journal files made of anything, with checksums that are right: not damage but another writer's mistakes."""

from hashlib import blake2b

from gateway.journal.manifest import SLOT_BYTES
from gateway.journal.record import (
    HEAD,
    Header,
    chained,
    header_bytes,
    mark_bytes,
)
from gateway.journal.segment import name_of
from tests.fakes.journal import ID
from tests.fuzz.damage import accepted_twice, disk_of
from tests.fuzz.target import Dice, Target, short

SIZE = 16384


def summed(text: bytes) -> bytes:
    """With the checksum that manifest and cursors have."""
    return text + b" " + blake2b(text, digest_size=8).hexdigest().encode() + b"\n"


def segment(number: int, position: int, chain: bytes, dice: Dice) -> tuple[bytes, int, bytes]:
    """A segment with mostly right numbers; its content, the next position and chain value."""
    header = Header(
        number=number + dice.odds(30), size=dice.pick((SIZE, SIZE, SIZE, 4096, 0, 1 << 40)),
        first=position + dice.odds(30), created_ns=dice.upto(1 << 40), journal=ID,
        chain=bytes(16) if dice.odds(30) else chain, version=dice.pick((1, 1, 1, 1, 0, 2, 9)),
    )  # fmt: skip
    content = header_bytes(header)
    for _ in range(dice.upto(255) % 4):
        before, first, count, records = chain, position, 0, b""
        for _ in range(dice.upto(255) % 4):
            fpid, body = dice.short(), dice.short()
            length = HEAD.size + len(fpid) + len(body) + 16 + (dice.upto(255) if dice.odds(20) else 0)
            said = position + dice.odds(30)
            time_ns = dice.upto((1 << 64) - 1) - (1 << 63)
            head = HEAD.pack(length, said, time_ns, dice.upto(9), dice.upto(40), len(fpid), dice.odds(20))
            chain = chained(chain, head + fpid + body)
            records += head + fpid + body + chain
            position, count = position + 1, count + 1
        size = len(records) + (dice.upto(1 << 24) if dice.odds(20) else 0)
        content += mark_bytes(ID, size, first + dice.odds(30), count + dice.odds(30), before) + before + records
    tail = dice.short() if dice.odds(6) else b""
    return (content + tail).ljust(0 if dice.odds(20) else SIZE, b"\0"), position, chain


def run(data: bytes) -> None:
    """A start takes it or refuses it, and says the same the next time."""
    accepted_twice(disk_of(journal(Dice(data))))


def journal(dice: Dice) -> dict[str, bytes]:
    """The files of a journal of anything."""
    text = dice.short() if dice.odds(3) else _MANIFEST
    content = summed(text) if not dice.odds(8) else text
    files = {"manifest": content.ljust(SLOT_BYTES) + (b"" if dice.odds(4) else content.ljust(SLOT_BYTES))}
    if dice.odds(9):
        del files["manifest"]
    position, chain = 1, ID
    for number in range(1, 1 + dice.upto(255) % 4):
        files[name_of(number)], position, chain = segment(number, position, chain, dice)
    if dice.odds(2):
        files["f.cursor"] = summed(dice.short()).ljust(512) + summed(b"cursor %d 7" % dice.upto(9))
    if dice.odds(4):
        files[dice.short().decode("latin-1").replace("/", "") or "x"] = dice.short()
    return files


_MANIFEST = (
    b'{"format":1,"journal":"000102030405060708090a0b0c0d0e0f","oldest":1,"followers":["f"],"turn":1}'
)  # fmt: skip


def samples() -> list[bytes]:
    """A journal of two segments, and strange manifests and cursors."""
    record = b"\3abc" + b"\4body" + b"\0" + b"\0" + b"\0" * 8 + b"\1\1\0"
    batch = b"\2" + record * 2 + b"\0\0\0"
    one = b"\0\0\0" + b"\0" * 6 + b"\0\0" + b"\1" + batch + b"\0\0"
    manifests = [
        _MANIFEST.replace(b"1,", b"2,", 1), _MANIFEST.replace(b'["f"]', b'["a/b"]'), b"{}", b"[1]",
        _MANIFEST.replace(b"0f", b"zz"), _MANIFEST.replace(b"0f", b""), _MANIFEST.replace(b'":1,', b'":-1,'),
    ]  # fmt: skip
    return [
        b"\0\0\0\0\2" + one * 2 + b"\1" + short(b"cursor 3 9") + b"\2\0",
        *(b"\1" + short(manifest) + b"\0\0\0\1" + one + b"\0\0" for manifest in manifests),
        *(b"\0\0\0\0\1" + one + b"\1" + short(b"cursor " + text) for text in (b"x y", b"-1 -1", b"1 \xb2", b"9 99")),
        *(b"\0\0\0\0\1" + one + b"\0\1" + short(name) for name in (b"0000000009.segment", b"0000000001-0.torn")),
    ]


TARGET = Target(run, samples, words=[b".segment", b".torn", b".cursor", b'"format":2', b"000000000"])
