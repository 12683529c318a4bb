"""What the state of the volume means for this gateway. Pure; the policy is in the package's docstring."""

from typing import Literal, NamedTuple

from gateway.config import Volume
from gateway.volume.status import PRIMARY, STANDALONE, Status

VolumeState = Literal["ok", "degraded", "unready", "unknown"]
STATES: tuple[VolumeState, ...] = ("ok", "degraded", "unready", "unknown")


class Verdict(NamedTuple):
    """A state, and why."""

    state: VolumeState
    reason: str
    """In words, with the names of servers; empty when the state is ok."""


def judge(status: Status, settings: Volume) -> Verdict:
    """Judge a status: the worst finding counts, and the reason names every other one, too."""
    worst = _unready(status, settings)
    lesser = _degraded(status, settings)
    state: VolumeState = "unready" if worst else "degraded" if lesser else "ok"
    return Verdict(state, "; ".join([*worst, *lesser]))


def standalone(status: Status) -> list[str]:
    """Servers that DRBD no longer tries to reach."""
    return [peer.name for peer in status.peers if peer.connection == STANDALONE]


def _unready(status: Status, settings: Volume) -> list[str]:
    found = []
    if status.role != PRIMARY:
        found.append(f"the volume is {status.role} here, not {PRIMARY}")
    if status.quorum is False:
        found.append("the volume has lost quorum")
    if status.suspended:
        found.append("the volume's I/O is suspended")
    if status.failing:
        found.append("the volume fails all I/O")
    if status.copies < settings.copies_min:
        found.append(f"{_copies(status)} of the volume, and {settings.copies_min} is the least")
    return found


def _degraded(status: Status, settings: Volume) -> list[str]:
    found = []
    if settings.copies_min <= status.copies < settings.copies:
        found.append(f"{_copies(status)} of the volume of {settings.copies}")
    if alone := standalone(status):
        found.append(f"StandAlone towards {', '.join(alone)}")
    differing = [peer.name for peer in status.peers if peer.up_to_date and peer.out_of_sync_bytes]
    if differing:
        found.append(f"blocks differ from {', '.join(differing)}")
    return found


def _copies(status: Status) -> str:
    return "1 up-to-date copy" if status.copies == 1 else f"{status.copies} up-to-date copies"
