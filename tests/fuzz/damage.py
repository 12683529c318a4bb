"""A good journal, damaged: one change anywhere is found out, or costs only a tail that was never known to be durable.

But for a sector that reads as zeros: a lost write looks so, and where the next segment does not tell, nothing can.
"""

from functools import cache
from typing import NamedTuple

from gateway.disk import SECTOR_BYTES
from gateway.errors import JournalFault, Refusal
from gateway.journal.manifest import Manifest, create_manifest, cursor_name, cursor_slot
from gateway.journal.record import HEADER_BYTES, MARK_BYTES, Record, mark_at
from gateway.journal.segment import name_of
from tests.fakes.disk import Blob, FakeDisk
from tests.fakes.journal import DIR, ID, build, read
from tests.fuzz.target import Dice, Target

FOLLOWER = "processor"
_BIG = [bytes([65 + n]) * 3000 for n in range(19)]


class Whole(NamedTuple):
    """A journal before it is damaged."""

    files: dict[str, bytes]
    records: list[Record]
    places: list[int]
    """Where something begins or ends in its last segment."""
    unsynced: int
    """Records that nobody knows to be durable: those of the last batch of a process that was killed."""


@cache
def journals() -> list[Whole]:
    """Killed or closed; with a follower or without; one segment or three."""
    small = [[b"one", b"two"], [b"three"], [b"four", b"five", b"six" * 300]]
    several = [_BIG[:10], _BIG[:9], _BIG, [b"x" * 5000, b"", b"y" * 700], [b"last", b"z" * 1200]]
    return (
        [_whole(build(small, clean=clean), unsynced) for clean, unsynced in ((False, 3), (True, 0))]
        + [_whole(build(several, clean=clean), unsynced) for clean, unsynced in ((False, 2), (True, 0))]
        + [_whole(build([]), 0)]
    )


def _whole(disk: FakeDisk, unsynced: int) -> Whole:
    records = read(disk)
    directory = disk.directory(DIR)
    directory.remove("manifest")
    create_manifest(directory, Manifest(journal=ID, followers=(FOLLOWER,), turn=3))
    slots = bytearray(2 * SECTOR_BYTES)
    for turn in (4, 5):
        at, slot = cursor_slot(max(0, len(records) - unsynced - 8 + turn), turn)
        slots[at : at + SECTOR_BYTES] = slot
    directory.replace(cursor_name(FOLLOWER), bytes(slots))
    files = {name: bytes(blob.content) for name, blob in disk.directories[DIR].files.items()}
    used = max((name for name in files if name.endswith(".segment") and any(files[name])), default=name_of(1))
    places, at = [0, 64, HEADER_BYTES], HEADER_BYTES
    while (mark := mark_at(files[used], at, ID)) is not None:
        at += MARK_BYTES + mark.size
        places += [at, at - mark.size]
    return Whole(files, records, places, unsynced)


def disk_of(files: dict[str, bytes]) -> FakeDisk:
    """A disk with these files, all of them durable."""
    disk = FakeDisk()
    directory = disk.directories[DIR] = disk.directory(DIR, create=True)
    for name, content in files.items():
        blob = Blob()
        blob.content, blob.durable = bytearray(content), bytearray(content)
        directory.files[name] = directory.durable[name] = blob
    return disk


def files_of(disk: FakeDisk) -> dict[str, bytes]:
    """What is on it."""
    return {name: bytes(blob.content) for name, blob in disk.directories[DIR].files.items()}


def opened(disk: FakeDisk) -> list[Record] | str:
    """What a start hands over, or why it refuses. Other errors are findings."""
    try:
        return read(disk)
    except (JournalFault, Refusal) as fault:
        return str(fault)


def accepted_twice(disk: FakeDisk) -> list[Record] | str:
    """A start; the next one finds the same, and changes nothing more. A refusal changes nothing at all."""
    before = files_of(disk)
    found = opened(disk)
    after = files_of(disk)
    assert opened(disk) == found
    assert files_of(disk) == after
    if isinstance(found, str):
        assert DIR in found
        assert before == after
    return found


def changed(files: dict[str, bytes], places: list[int], dice: Dice) -> str:
    """Make one change; says of which kind it was."""
    names = sorted(files)
    segments = [name for name in names if name.endswith(".segment")]
    name = dice.pick([*names, *segments, *segments[:1] * 2])
    data = bytearray(files[name])
    kind = dice.pick(("flip", "cut", "copy", "swap", "zero", "write", "remove", "exchange"))
    at = _place(data, places, dice)
    if kind == "flip" and at < len(data):
        data[at] ^= 1 << dice.upto(7)
    elif kind == "cut":
        del data[at:]
    elif kind in {"copy", "swap"}:
        size, other = dice.pick((16, MARK_BYTES, SECTOR_BYTES, HEADER_BYTES, 100, 44)), _place(data, places, dice)
        one, two = bytes(data[at : at + size]), bytes(data[other : other + size])
        if len(one) == len(two) == size and (kind == "copy" or abs(at - other) >= size):
            data[other : other + size] = one
            if kind == "swap":
                data[at : at + size] = two
    elif kind == "zero":
        at -= at % SECTOR_BYTES
        data[at : at + SECTOR_BYTES] = bytes(len(data[at : at + SECTOR_BYTES]))
    elif kind == "write":
        new = dice.take(dice.pick((1, 2, 4, 8, 16)))
        new = new[: max(0, len(data) - at)]
        data[at : at + len(new)] = new
    if kind == "remove" and len(names) > 1:
        del files[name]
    elif kind == "exchange":
        other_name = dice.pick(names)
        files[name], files[other_name] = files[other_name], files[name]
    else:
        files[name] = bytes(data)
    return kind


def _place(data: bytearray, places: list[int], dice: Dice) -> int:
    if dice.odds(2):
        return min(max(0, dice.pick(places) + dice.upto(255) - 128), len(data))
    return dice.upto(max(0, len(data)))


def emptied(before: dict[str, bytes], after: dict[str, bytes]) -> bool:
    """Whether a sector reads as zeros that held something."""
    zeros = bytes(SECTOR_BYTES)
    for name, content in after.items():
        for at in range(0, len(content), SECTOR_BYTES):
            if content[at : at + SECTOR_BYTES] == zeros != before[name][at : at + SECTOR_BYTES]:
                return True
    return False


def run(data: bytes) -> None:
    """Damage says where, or costs a torn tail; what is accepted is what was written, as far as it goes."""
    dice = Dice(data)
    whole = dice.pick(journals())
    files = dict(whole.files)
    changes = 1 + (dice.upto(3) if dice.odds(4) else 0)
    kinds = [changed(files, whole.places, dice) for _ in range(changes)]
    disk = disk_of(files)
    found = accepted_twice(disk)
    if isinstance(found, str):
        return
    assert found == whole.records[: len(found)], "what was read is not what was written"
    lost = len(whole.records) - len(found)
    if changes == 1 and lost > whole.unsynced:
        assert emptied(whole.files, files), f"what was durable is left out ({kinds[0]})"


def samples() -> list[bytes]:
    """Each change, at the end of the journal's last batch and before it."""
    return [
        bytes([journal, 0, 4, kind, 1, place, 120, 1, 3, 100, 1, 5, 200])
        for journal in range(4)
        for kind in range(8)
        for place in (3, 5, 7)
    ]


TARGET = Target(run, samples)
