"""What one attempt met, a response or none, as a single word that the submission goes by. Pure.

An attempt is *answered* when the gateway itself says what it did with it. Only an answer can prove that nothing was
taken, and a gateway gives it as a problem (RFC 9457) that repeats the status. The same status without a problem comes
from a proxy on the way: it may have handed the request on before it gave up, so it proves nothing.
"""

from enum import Enum, auto
from typing import TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from gateway.processor.messages import Problem, Progress, Status
from gateway.strict_json import Reader

T = TypeVar("T")


class Met(Enum):
    """What an attempt met."""

    UNREACHED = auto()
    """No connection: nothing of it was sent."""
    DECLINED = auto()
    """The gateway takes no payment now, or not this one now: nothing was recorded, nothing leaves."""
    REJECTED = auto()
    """The gateway will not take this payment: nothing was recorded, and the same gets the same."""
    BROKEN = auto()
    """Sent, and the connection ended without a whole response."""
    SILENT = auto()
    """Sent, and no response came in time."""
    UNCLEAR = auto()
    """Sent, and the response proves nothing: a 504, or one of a proxy."""
    ABSENT = auto()
    """To a look: the site does not know it, or not yet."""
    PENDING = auto()
    """On the site's disk, and under way."""
    SETTLED = auto()
    """It has its outcome."""
    UNKNOWN = auto()
    """It may have left, and nobody has said what became of it."""
    UNSENT = auto()
    """The site has it, and surely nothing of it left there."""
    MISTAKEN = auto()
    """The site has another payment under our key: key and FPID do not belong together there."""


class Word(Struct, frozen=True):
    """What an attempt met, with what the gateway said."""

    met: Met
    progress: Progress | None = None
    """With PENDING, SETTLED, UNKNOWN, UNSENT."""
    problem: Problem | None = None
    """With DECLINED and REJECTED."""
    retry_after_s: float = 0.0
    """With DECLINED: the pause that the gateway asks for."""


STATES = {"PENDING": Met.PENDING, "SETTLED": Met.SETTLED, "UNKNOWN": Met.UNKNOWN, "UNSENT": Met.UNSENT}
PROBLEMS = {
    **dict.fromkeys((403, 408, 500, 503), Met.DECLINED),
    **dict.fromkeys((400, 405, 409, 413, 415, 417, 422, 431, 505), Met.REJECTED),
}
"""The meaning of these statuses of a submission, by the gateway's document (`gateway.processor.openapi`). 504 is not
here: the payment may have been recorded."""
RETRY_AFTER_MAX_S = 60.0

_progress = Reader(Progress)
_problem = Reader(Problem)


def submitted(fpid: str, status: int, body: bytes, retry_after: bytes = b"") -> Word:
    """Read the response to a submission of this payment."""
    if status in {200, 202}:
        return _stands(fpid, body)
    met = PROBLEMS.get(status)
    problem = _read(_problem, body) if met is not None else None
    if met is None or problem is None or problem.status != status:
        return Word(Met.UNCLEAR)
    seconds = float(retry_after) if retry_after.isdigit() and len(retry_after) < 6 else 0.0
    return Word(met, None, problem, min(seconds, RETRY_AFTER_MAX_S))


def looked(fpid: str, status: int, body: bytes) -> Word:
    """Read the response to a look at where this payment stands."""
    if status == 200:
        return _stands(fpid, body)
    problem = _read(_problem, body) if status == 404 else None
    return Word(Met.ABSENT if problem is not None and problem.status == 404 else Met.UNCLEAR)


def code_of(decided: Status) -> str:
    """The decision as the scheme's code (DE26)."""
    return decided.StsRsnInf.Rsn.Prtry if decided.StsRsnInf is not UNSET else "0000"


def says(decided: Status) -> str:
    """The decision in words, if the gateway gives any."""
    return decided.StsRsnInf.AddtlInf if decided.StsRsnInf is not UNSET else ""


def _stands(fpid: str, body: bytes) -> Word:
    progress = _read(_progress, body)
    if progress is None or (progress.state == "SETTLED" and not _decides(progress.decided)):
        return Word(Met.UNCLEAR)
    if fpid != progress.FPID:
        return Word(Met.MISTAKEN)
    return Word(STATES[progress.state], progress)


def _decides(decided: Status | UnsetType) -> bool:
    """Whether status and code agree. A refusal without a code must not be read as 0000, which means paid."""
    return isinstance(decided, Status) and (decided.TxSts == "RJCT") == (code_of(decided)[:1] != "0")


def _read(read: Reader[T], body: bytes) -> T | None:
    try:
        return read(body)
    except msgspec.DecodeError:
        return None
