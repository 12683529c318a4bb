"""The log line of each note of the stories. A payment that goes well gets one line, at its end."""

from collections.abc import Callable

from gateway import log
from gateway.payments import arrival, departure

_log = log.get("engine")

_IN = arrival.Note
_OUT = departure.Note

NOTES: dict[arrival.Note | departure.Note, tuple[str | None, str]] = {
    _IN.RECEIVED: (None, ""),
    _IN.ANSWERED: (None, ""),
    _IN.JOINED: ("info", "repeat waits for the decision"),
    _IN.STOOD_IN: ("info", "payment stood in"),
    _IN.REPLIED: ("info", "payment replied"),
    _IN.UNDELIVERED: ("warning", "reply undelivered"),
    _IN.LATE_ANSWER: ("info", "answer came late"),
    _IN.LATE_REFUSAL: ("error", "refusal came after stand-in had accepted"),
    _IN.REVERSED: ("warning", "payment reversed"),
    _IN.REVERSED_AGAIN: ("info", "reversal repeated"),
    _IN.REPEATED: ("info", "repeat replied from the stored outcome"),
    _IN.CONFLICT: ("warning", "payment refused: its FPID was used by other content"),
    _IN.BAD_FIELD: ("warning", "payment refused: a field is in error"),
    _IN.BAD_DATE: ("warning", "payment refused: its date is outside the window"),
    _IN.OWN_SENDER: ("warning", "payment refused: it says that we sent it"),
    _IN.UNUSUAL_DATE: ("warning", "payment has a date outside the window: asked about with a mark, never stood in for"),
    _IN.REFUSED_REVERSED: ("warning", "payment refused: it was reversed before"),
    _IN.OVERLOAD: ("debug", "payment not asked about: too many are being decided"),
    _IN.ORPHANED: ("warning", "payment orphaned by a restart"),
    _IN.FORBIDDEN: ("info", "stand-in may not accept the payment"),
    _IN.DECLINED: ("warning", "payment refused in the processor's stead"),
    _IN.UNANSWERED: ("warning", "payment left unanswered"),
    _IN.OVERRULED: ("error", "refusal overruled: the scheme says that this must be accepted"),
    _IN.LATE_ACCEPT: ("error", "processor accepts what was refused in its stead"),
    _IN.MUST_ACCEPT: ("warning", "payment stood in against the rules: the scheme says that it must be accepted"),
    _IN.UNKNOWN_TYPE: ("warning", "payment is of a type that the field table does not know"),
    _IN.OTHER_GROUP: ("warning", "payment is of a type that another group's connections are for"),
    _IN.STAND_IN_MODE: ("warning", "stand-in works in this mode from here on"),
    _OUT.SUBMITTED: (None, ""),
    _OUT.UNAVAILABLE: ("debug", "submission not taken"),
    _OUT.FULL: (None, ""),
    _OUT.CLASH: ("warning", "submission refused: its key or FPID is another payment's"),
    _OUT.SUBMITTED_AGAIN: ("info", "payment submitted again"),
    _OUT.DECLINED: ("warning", "payment declined: the scheme would refuse it"),
    _OUT.TRANSMITTED: (None, ""),
    _OUT.RETRIED: ("warning", "payment repeated"),
    _OUT.PAUSED: ("debug", "attempt is over without a conclusive answer"),
    _OUT.INCONCLUSIVE: ("warning", "answer of the hub settles nothing"),
    _OUT.SETTLED: ("info", "payment settled"),
    _OUT.CONTRADICTED: ("error", "hub answers otherwise than before"),
    _OUT.ANSWERED_AGAIN: ("info", "hub answers again"),
    _OUT.UNKNOWN: ("error", "payment may have left and nobody says what became of it"),
    _OUT.UNSENT: ("error", "payment never left"),
    _OUT.RESUMED: ("warning", "payment under way when the last process ended"),
    _OUT.STOPPED: ("warning", "an operator has stopped submitting: no payment leaves"),
    _OUT.STARTED: ("info", "an operator has started submitting again"),
}
"""Level and text of each note. Each warning and error is an alert, too, or has a reason not to be
(tests/compose/test_alerts.py)."""


def say(note: arrival.Note | departure.Note, fpid: str, detail: str, elapsed_ms: float) -> None:
    """Log a note."""
    level, text = NOTES[note]
    if level is None:
        return
    write: Callable[..., None] = getattr(_log, level)
    write(text, fpid=log.fpid_hash(fpid) if fpid else "", detail=detail, elapsed_ms=elapsed_ms)
