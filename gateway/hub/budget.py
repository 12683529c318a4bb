"""How much a link may bring that proves nothing: frames that are no message, or whose MAC is wrong. Pure.

Whoever can write on a line to the hub, and has no key, can make us write to the disk and reply. All that is read is
written down; so what is limited is reading. Two things limit it:

* The `Budget` of a hub site is a token bucket of frames and bytes (`config.Unproved`). Every frame that proves nothing
  takes from it, and it may be in debt. It outlives the connections: a new connection is no new budget. A site is
  *strained* from when it is in debt until its budget is full again.
* What a link has read and nobody has judged yet is *unjudged*: a frame counts only after its MAC was verified. So
  the `Unjudged` frames of a link are limited, too: by no more than these can a budget be exceeded. A link may have as
  much unjudged as it has proved since the last frame that proved nothing, within limits, as TCP's slow start has it.
  One that proves things is never held up. While its site is strained, a link may have no more unjudged than the budget
  has left, or one frame.

What happens to a frame, and what it costs:

    its MAC is right                             nothing
    it is no message, or its MAC is wrong        its bytes and one frame; while the hub's key changes, a fraction
    no HSM said, or the disk does not keep up    nothing: it says nothing about who sent it
    the next bytes are no frame                  one frame; the link ends anyhow

And what happens to a link whose site is in debt:

    another link does well                       it understands nothing more, writes what it owes, and is closed;
                                                 dialled again after a pause that grows with each time
    none does                                    it stays, and is not read until the debt is paid, which takes
                                                 `DEBT_MAX_S` at most; from then on at the budget's pace. Whoever is
                                                 in such a pause is dialled at once

A link *does well* when the hub has proved itself on it, it is signed on as we want it, and its site is not strained.
"""

from math import inf

from gateway import config
from gateway.backoff import backoff_s, jittered_s
from gateway.wire.frame import Frame

DEBT_MAX_S = 5.0
"""No debt takes longer to be paid: a link that must stay is read again after this time, whatever it has brought."""
UNJUDGED_FRAMES_MIN, UNJUDGED_FRAMES_MAX = 64, 4096
"""Frames of a link that may be unjudged at once: a link that has proved nothing, and any link. Those of two links fit
into the signer's queue (`signer.queues.VERIFICATIONS_MAX`)."""
UNJUDGED_BYTES_MIN, UNJUDGED_BYTES_MAX = 64 * 1024, 4 * 1024 * 1024
"""And their bytes. A single frame may always be."""


class Budget:
    """What one hub site may still bring that proves nothing."""

    def __init__(self, settings: config.Unproved) -> None:
        self._settings = settings
        self._frames = float(settings.frames_max)
        self._bytes = float(settings.bytes_max)
        self._at_s = -inf
        self.strains = 0
        """How often it became strained."""
        self._strained = False
        self._closings = 0
        """Closings in a row."""
        self._forgiven_s = -inf
        """When the next closing is a first one again."""

    def charge(self, size: int, now_s: float, *, key_changes: bool = False) -> None:
        """Take a frame of this size out."""
        self._earn(now_s)
        price = 1 / self._settings.key_change_factor if key_changes else 1.0
        settings = self._settings
        self._frames = max(self._frames - price, -DEBT_MAX_S * settings.frames_per_s)
        self._bytes = max(self._bytes - price * size, -DEBT_MAX_S * settings.bytes_per_s)
        if not self._strained and (self._frames < 0 or self._bytes < 0):
            self._strained = True
            self.strains += 1

    def strained(self, now_s: float) -> bool:
        """Whether it was in debt, and is not full again."""
        self._earn(now_s)
        return self._strained

    def paid_s(self, now_s: float) -> float:
        """When it is in debt no more: not later than now, when it is not in debt."""
        self._earn(now_s)
        settings = self._settings
        return now_s + max(-self._frames / settings.frames_per_s, -self._bytes / settings.bytes_per_s, 0.0)

    def left(self, now_s: float) -> tuple[float, float]:
        """Frames and bytes that may be unjudged for its sake."""
        return (max(self._frames, 1.0), max(self._bytes, 0.0)) if self.strained(now_s) else (inf, inf)

    def pause_s(self, now_s: float, luck: float) -> float:
        """A link of this site is closed now for its debt: how long it is not dialled. `luck`: 0..1. Not before the debt
        is paid: until then it would not be read.
        """
        settings = self._settings
        if now_s >= self._forgiven_s:
            self._closings = 0
        pause_s = jittered_s(backoff_s(self._closings, settings.pause_s, settings.pause_max_s), luck)
        pause_s = max(pause_s, self.paid_s(now_s) - now_s)
        self._closings += 1
        self._forgiven_s = now_s + pause_s + settings.pause_max_s
        return pause_s

    def _earn(self, now_s: float) -> None:
        """Add what was earned since the last look."""
        settings, passed_s = self._settings, now_s - self._at_s
        self._at_s = now_s
        self._frames = min(self._frames + passed_s * settings.frames_per_s, settings.frames_max)
        self._bytes = min(self._bytes + passed_s * settings.bytes_per_s, settings.bytes_max)
        if self._frames == settings.frames_max and self._bytes == settings.bytes_max:
            self._strained = False


class Unjudged:
    """What one link has handed on, and nobody has judged yet."""

    def __init__(self) -> None:
        self.frames = 0
        self.bytes = 0
        self.ever_proved = False
        """A frame's MAC was right."""
        self._proved_frames = 0
        """Since the last frame that proved nothing."""
        self._proved_bytes = 0

    @property
    def frames_max(self) -> int:
        """Frames that may be unjudged now."""
        return min(max(self._proved_frames, UNJUDGED_FRAMES_MIN), UNJUDGED_FRAMES_MAX)

    @property
    def bytes_max(self) -> int:
        """Bytes that may be."""
        return min(max(self._proved_bytes, UNJUDGED_BYTES_MIN), UNJUDGED_BYTES_MAX)

    @property
    def at_most(self) -> bool:
        """Whether no link may have more unjudged than this one may."""
        return self.frames_max == UNJUDGED_FRAMES_MAX or self.bytes_max == UNJUDGED_BYTES_MAX

    def take(self, frames: list[Frame], left: tuple[float, float] = (inf, inf)) -> int:
        """Take as many of these frames, from the first on, as there is room for. Returns how many. `left`: by the
        budget.
        """
        frames_max, bytes_max = min(self.frames_max, left[0]), min(self.bytes_max, left[1])
        size, count = sum([len(body) for _, body in frames]), len(frames)
        if self.frames + count > frames_max or self.bytes + size > bytes_max:
            size = count = 0
            for _, body in frames:
                if self.frames + count + 1 > frames_max or self.bytes + size + len(body) > bytes_max:
                    break
                size += len(body)
                count += 1
            if not count and not self.frames:
                size, count = len(frames[0][1]), 1
        self.frames += count
        self.bytes += size
        return count

    def proved(self, size: int) -> None:
        """A frame's MAC is right."""
        self.frames -= 1
        self.bytes -= size
        self.ever_proved = True
        self._proved_frames += 1
        self._proved_bytes += size

    def disproved(self, size: int) -> None:
        """A frame proves nothing."""
        self.frames -= 1
        self.bytes -= size
        self._proved_frames = self._proved_bytes = 0

    def dropped(self, size: int) -> None:
        """A frame will not be judged."""
        self.frames -= 1
        self.bytes -= size
