"""Two copies of a journal, damaged or made of anything: comparing them and looking at their seals ends in words.

What is called the same is the same, and no damage is taken for another history.
"""

from gateway.errors import Refusal
from gateway.journal.comparing import Outcome, Side, compare, lines
from gateway.journal.looking import Watch, look
from gateway.journal.recovery import Corrupt
from gateway.journal.seals import Seals
from gateway.journal.segment import Walk
from tests.fakes.disk import FakeDisk
from tests.fakes.journal import DIR
from tests.fuzz import damage, segments
from tests.fuzz.damage import Whole, changed, disk_of, journals
from tests.fuzz.target import Dice, Target


def run(data: bytes) -> None:
    """Of one journal, each with its own damage; or one of anything, with itself."""
    dice = Dice(data)
    if dice.odds(3):
        disk = disk_of(segments.journal(dice))
        compared(disk, disk, None)
        return
    whole = dice.pick(journals())
    disks = []
    for _ in range(2):
        files = dict(whole.files)
        if dice.odds(2):
            changed(files, whole.places, dice)
        disks.append(disk_of(files))
    compared(disks[0], disks[1], whole)


def compared(one: FakeDisk, other: FakeDisk, whole: Whole | None) -> None:
    """Compare them, and hold the result to what is known."""
    for disk in (one, other):
        seals_of(disk)
    try:
        found = compare(*(Side(disk.directory(DIR), Watch()) for disk in (one, other)))
    except (Corrupt, Refusal, ValueError) as error:
        assert DIR in str(error)
        return
    assert all(lines(found))
    outcome = Outcome[found.outcome]
    if whole is not None:
        assert outcome is not Outcome.DIFFERENT, "damage is no other history"
        assert all(copy.last_position <= len(whole.records) for copy in found.copies)
    damaged = any(copy.damage is not None for copy in found.copies)
    assert damaged == (outcome is Outcome.DAMAGED) or outcome is Outcome.DIFFERENT
    if found.common:
        first, last = found.common
        assert 1 <= first <= last <= min(copy.last_position for copy in found.copies)
        assert first == max(copy.first_position for copy in found.copies)
    if outcome is Outcome.SAME:
        assert found.copies[0].last_position == found.copies[1].last_position


def seals_of(disk: FakeDisk) -> None:
    """Every seal is found, or said to be none."""
    seals = Seals(Watch())
    try:
        walk: Walk = look(disk.directory(DIR), seals)
    except (Corrupt, Refusal, ValueError) as error:
        assert DIR in str(error)
        return
    seals.finish(disk.directory(DIR))
    assert seals.last == walk.position - 1 or not seals.last
    assert all(seal.position < seal.at for seal in (*seals.found, *seals.gone))


def samples() -> list[bytes]:
    """Those of damage and of anything, in both places."""
    return [
        *(b"\0" + sample[:1] + b"\1" + sample[2:] + b"\1" + sample[2:] for sample in damage.samples()),
        *(b"\1" + sample for sample in segments.samples()),
    ]


TARGET = Target(run, samples, words=segments.TARGET.words)
