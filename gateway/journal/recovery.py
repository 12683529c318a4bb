"""What damage means: the decision table of a start. Pure: facts in, a verdict out; `segment` finds the facts.

The argument. A batch is written only after the sync of the one before has returned, and nobody acts on a batch before
its own sync has. So of all batches only the last one written may be unsynced, and only an unsynced batch may be cut
off. A segment holds synced zeros before it is used, and a disk writes a sector (512 bytes) whole or not at all, in any
order. So an unsynced batch looks like itself with sectors of zeros in it (in its middle, too, with good records after
them), or like a beginning of itself with zeros behind (a write that was interrupted). Anything else is not the work of
a lost write: bytes changed after they were durable, and then we do not know what else did. Torn is not corrupt.

The facts about the first bytes that do not verify, in order of weight:

* `last`: they are in the last segment that was ever written to. Damage before that was synced long ago.
* `later`: a mark of this journal lies behind the batch. A mark is written after the sync of the batch before it.
* `beyond`: something lies behind all that one batch can have written, and is no mark.
* `shape`: what the bad record (or mark, or header) looks like.

What remains undecidable: whether the very last batch, when a sector of it reads as zeros, was torn or was durable and
lost by the disk later. A clean stop ends with an empty mark, so that after it nothing is undecidable at all.
"""

from enum import Enum

import gateway
from gateway.disk import SECTOR_BYTES
from gateway.errors import JournalFault, Refusal


class Shape(Enum):
    """The look of bad bytes."""

    LOST = "a sector of it was never written"
    CUT = "its end was never written"
    CHANGED = "no sector of it is missing, so it was changed after it was written"


class DamageVerdict(Enum):
    """What a start does about damage."""

    TORN = "torn"
    """The last batch, never known to be durable. It is cut off and kept beside as evidence."""
    CORRUPT = "corrupt"
    """The gateway refuses to start."""


_TORN, _CORRUPT = DamageVerdict.TORN, DamageVerdict.CORRUPT
_SEALED = "a later segment is in use, so this was durable"
_SYNCED = "a later batch follows, so this was durable"
_BEYOND = "more lies behind it than one batch can have written"
_EITHER = (False, True)
TABLE: dict[tuple[bool, bool, bool, Shape], tuple[DamageVerdict, str]] = {
    # last, later, beyond
    **{(False, later, more, shape): (_CORRUPT, _SEALED) for later in _EITHER for more in _EITHER for shape in Shape},
    **{(True, True, beyond, shape): (_CORRUPT, _SYNCED) for beyond in _EITHER for shape in Shape},
    **{(True, False, True, shape): (_CORRUPT, _BEYOND) for shape in Shape},
    (True, False, False, Shape.LOST): (_TORN, Shape.LOST.value),
    (True, False, False, Shape.CUT): (_TORN, Shape.CUT.value),
    (True, False, False, Shape.CHANGED): (_CORRUPT, Shape.CHANGED.value),
}  # fmt: skip
"""(last, later, beyond, shape) → verdict, and why."""


class Corrupt(JournalFault):
    """The journal does not add up. Says where: `segment` (file name), `offset` in it, `position`, and `what`."""

    def __init__(self, path: str, segment: str, offset: int, position: int, what: str) -> None:
        super().__init__(f"journal {path} is damaged: segment {segment}, offset {offset}, position {position}: {what}")
        self.segment = segment
        self.offset = offset
        self.position = position
        self.what = what


class Newer(Refusal):
    """A newer gateway wrote the journal. There is nothing wrong with it; it is left as it is."""

    def __init__(self, path: str, writer: str, what: str) -> None:
        by = f"a newer gateway ({writer})" if writer else "a newer gateway"
        super().__init__(f"journal {path} was written by {by} than this one ({gateway.__version__}): {what}")


def shape_of(data: bytes, batch: int, bad: int, bad_end: int, batch_end: int, begins: bytes = b"") -> Shape:
    """What the bad bytes at [bad, bad_end) of the batch at [batch, batch_end) look like; all are offsets in the file.

    `data` is the file from `batch` on, as far as it goes; what is not there counts as zeros. `begins` is what the bad
    bytes would begin with if they were whole, as far as that is known.
    """
    data = data[: batch_end - batch].ljust(batch_end - batch, b"\0")
    at = bad - bad % SECTOR_BYTES
    while at < bad_end:
        sector = data[max(at - batch, 0) : at + SECTOR_BYTES - batch]
        if not any(sector):
            return Shape.LOST
        at += SECTOR_BYTES
    written = data[bad - batch :].rstrip(b"\0")
    begun = written.startswith(begins) or begins.startswith(written)
    return Shape.CUT if begun and bad + len(written) < bad_end else Shape.CHANGED
