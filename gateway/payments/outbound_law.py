"""The law of a payment that leaves: its states, what can happen to it, and what `outbound` then does, as one table.

Nothing else decides where a payment goes. The story brings an event, and does the act that the table answers with.
`RESTS` says in which state each record leaves a payment. Tests run every pair, and the simulation drives this very
table.

A payment is one request, and as many repeats of it as it takes to learn what became of it. A payment that may have left
is never given up as failed: the hub's answer settles it, and it is UNKNOWN until that comes.

A timer asks, it does not decide: the law answers DEADLINE by JUDGE_WAIT or JUDGE_PAUSE, and the judgement is the next
event.
"""

from enum import IntEnum

from gateway.payments.law import Law, each
from gateway.payments.law import Row as _Row
from gateway.payments.steps import Kind


class State(IntEnum):
    """Where a payment is."""

    UNSUBMITTED = 0
    """Never submitted under this key."""
    SUBMITTING = 1
    """Its SUBMITTED record is on its way to the disk and its request to the HSM, at the same time."""
    WAITING = 2
    """The request was handed to a link. The answer must come by it."""
    PAUSING = 3
    """This attempt is over without a conclusive answer. The next one has its time."""
    REPEATING = 4
    """The next attempt's record is on its way to the disk and its request to the HSM."""
    SETTLING = 5
    """Its outcome is known, and the record of that is on its way to the disk."""
    SETTLED = 6
    """Accepted, accepted with a qualification, or refused: for good, by somebody who may say so."""
    UNKNOWN = 7
    """It may have left, and no attempt brought a conclusive answer. Any later one settles it."""
    UNSENT = 8
    """No request of it ever left, and none will unless it is submitted again."""
    GIVING_UP = 9
    """No attempt brought a conclusive answer, and the record of that is on its way to the disk."""
    WITHDRAWING = 10
    """No request left, none will, and the record of that is on its way to the disk."""


class Event(IntEnum):
    """What can happen to a payment."""

    SUBMIT = 0
    """The processor submits it: for the first time, or again with the same key and content."""
    CONFLICT = 1
    """The processor submits other content with the same key."""
    READY = 2
    """The attempt is durable and its request has its MAC."""
    SEND_FAILED = 3
    """The present attempt's request certainly did not leave: no MAC, no link, too old, stopped, or the link went."""
    LOST = 4
    """The connection of this attempt is gone, and the request may have left by it."""
    CONCLUSIVE = 5
    """The hub answered, on a connection that carried a request of this payment, and said what became of it."""
    INCONCLUSIVE = 6
    """The hub gave an answer that settles nothing, or advised that it could not read or trust this request."""
    DEADLINE = 7
    """The timer fired."""
    NO_ANSWER = 8
    """The answer did not come in time."""
    DUE = 9
    """The pause is over, and there is a link for the next attempt."""
    NO_LINK = 10
    """The pause is over, and there is no link for the next attempt."""
    EXHAUSTED = 11
    """No attempt is left, or an operator has stopped submitting; and one may have left."""
    NEVER_LEFT = 12
    """The same, and surely none of them left."""
    RECORDED = 13
    """The record of how it stands is durable: SETTLED, UNKNOWN or UNSENT."""
    STARTED = 14
    """Submitting is started again, and its attempts had been cut off by the operator's stop."""


class Act(IntEnum):
    """What `outbound` then does."""

    NOTHING = 0
    SUBMIT = 1
    """Record the submission, make the request's MAC."""
    AWAIT = 2
    """Let this submission wait for what the first one waits for."""
    REFUSE_CONFLICT = 3
    """Refuse this submission. The payment itself is not touched."""
    REPORT_AGAIN = 4
    """Say the outcome again."""
    TRANSMIT = 5
    """Hand the request to a link, start the timer for its answer."""
    PAUSE = 6
    """Give the next attempt its time."""
    JUDGE_WAIT = 7
    """See whether it has waited long enough for the answer. The judgement is the next event, or the timer runs on."""
    JUDGE_PAUSE = 8
    """See whether an attempt is left, and a link for it. The judgement is the next event."""
    SEND_AGAIN = 9
    """Record a 9201 (or, where certainly nothing left before, a 9200), make its MAC."""
    NOTE_CODE = 10
    """Remember the hub's inconclusive code: it is reported when nothing better comes."""
    SETTLE = 11
    """Record the outcome. Told."""
    COMPARE = 12
    """Another answer. The same is fine; a different one is recorded, told, and an alert. Nothing changes."""
    GIVE_UP = 13
    """Record that it is unknown. Told."""
    WITHDRAW = 14
    """Record that it never left. Told."""
    REPORT = 15
    """The outcome is durable: report it to the submissions that wait, and remember it."""
    REPORT_UNKNOWN = 16
    """That it is unknown is durable: say so, remember it, and hold it while a connection may bring an answer."""
    REPORT_UNSENT = 17
    """That it never left is durable: say so, remember it."""
    LET_GO = 18
    """No connection can bring an answer any more: hold it no longer. What is remembered of it stays."""


Row = _Row[State, Act]
_S, _E, _A = State, Event, Act

_ROWS: dict[State, dict[Event, Row]] = {
    _S.UNSUBMITTED: {
        _E.SUBMIT: Row(_S.SUBMITTING, _A.SUBMIT),
    },
    _S.SUBMITTING: {
        _E.SUBMIT: Row(_S.SUBMITTING, _A.AWAIT),
        _E.CONFLICT: Row(_S.SUBMITTING, _A.REFUSE_CONFLICT),
        _E.READY: Row(_S.WAITING, _A.TRANSMIT),
        _E.SEND_FAILED: Row(_S.PAUSING, _A.PAUSE),
    },
    _S.WAITING: {
        _E.SUBMIT: Row(_S.WAITING, _A.AWAIT),
        _E.CONFLICT: Row(_S.WAITING, _A.REFUSE_CONFLICT),
        _E.SEND_FAILED: Row(_S.PAUSING, _A.PAUSE),
        _E.LOST: Row(_S.PAUSING, _A.PAUSE),
        _E.CONCLUSIVE: Row(_S.SETTLING, _A.SETTLE),
        _E.INCONCLUSIVE: Row(_S.PAUSING, _A.PAUSE),
        _E.DEADLINE: Row(_S.WAITING, _A.JUDGE_WAIT),
        _E.NO_ANSWER: Row(_S.PAUSING, _A.PAUSE),
    },
    _S.PAUSING: {
        _E.SUBMIT: Row(_S.PAUSING, _A.AWAIT),
        _E.CONFLICT: Row(_S.PAUSING, _A.REFUSE_CONFLICT),
        _E.CONCLUSIVE: Row(_S.SETTLING, _A.SETTLE),  # to an earlier attempt, whose connection still stands
        _E.INCONCLUSIVE: Row(_S.PAUSING, _A.NOTE_CODE),
        _E.DEADLINE: Row(_S.PAUSING, _A.JUDGE_PAUSE),
        _E.DUE: Row(_S.REPEATING, _A.SEND_AGAIN),
        _E.NO_LINK: Row(_S.PAUSING, _A.PAUSE),
        _E.EXHAUSTED: Row(_S.GIVING_UP, _A.GIVE_UP),
        _E.NEVER_LEFT: Row(_S.WITHDRAWING, _A.WITHDRAW),
    },
    _S.REPEATING: {
        _E.SUBMIT: Row(_S.REPEATING, _A.AWAIT),
        _E.CONFLICT: Row(_S.REPEATING, _A.REFUSE_CONFLICT),
        _E.READY: Row(_S.WAITING, _A.TRANSMIT),
        _E.SEND_FAILED: Row(_S.PAUSING, _A.PAUSE),
        _E.CONCLUSIVE: Row(_S.SETTLING, _A.SETTLE),
        _E.INCONCLUSIVE: Row(_S.REPEATING, _A.NOTE_CODE),
    },
    _S.SETTLING: {
        _E.SUBMIT: Row(_S.SETTLING, _A.AWAIT),
        _E.CONFLICT: Row(_S.SETTLING, _A.REFUSE_CONFLICT),
        _E.CONCLUSIVE: Row(_S.SETTLING, _A.COMPARE),
        _E.INCONCLUSIVE: Row(_S.SETTLING, _A.COMPARE),
        _E.RECORDED: Row(_S.SETTLED, _A.REPORT),
    },
    _S.SETTLED: {
        _E.SUBMIT: Row(_S.SETTLED, _A.REPORT_AGAIN),
        _E.CONFLICT: Row(_S.SETTLED, _A.REFUSE_CONFLICT),
        _E.CONCLUSIVE: Row(_S.SETTLED, _A.COMPARE),
        _E.INCONCLUSIVE: Row(_S.SETTLED, _A.COMPARE),
    },
    _S.GIVING_UP: {
        _E.SUBMIT: Row(_S.GIVING_UP, _A.AWAIT),
        _E.CONFLICT: Row(_S.GIVING_UP, _A.REFUSE_CONFLICT),
        _E.CONCLUSIVE: Row(_S.SETTLING, _A.SETTLE),
        _E.INCONCLUSIVE: Row(_S.GIVING_UP, _A.NOTHING),
        _E.RECORDED: Row(_S.UNKNOWN, _A.REPORT_UNKNOWN),
    },
    _S.WITHDRAWING: {
        _E.SUBMIT: Row(_S.WITHDRAWING, _A.AWAIT),
        _E.CONFLICT: Row(_S.WITHDRAWING, _A.REFUSE_CONFLICT),
        _E.RECORDED: Row(_S.UNSENT, _A.REPORT_UNSENT),
    },
    _S.UNKNOWN: {
        _E.SUBMIT: Row(_S.REPEATING, _A.SEND_AGAIN),
        _E.CONFLICT: Row(_S.UNKNOWN, _A.REFUSE_CONFLICT),
        _E.CONCLUSIVE: Row(_S.SETTLING, _A.SETTLE),
        _E.INCONCLUSIVE: Row(_S.UNKNOWN, _A.NOTHING),
        _E.DEADLINE: Row(_S.UNKNOWN, _A.LET_GO),
        _E.STARTED: Row(_S.PAUSING, _A.PAUSE),
    },
    _S.UNSENT: {
        _E.SUBMIT: Row(_S.SUBMITTING, _A.SUBMIT),
        _E.CONFLICT: Row(_S.UNSENT, _A.REFUSE_CONFLICT),
    },
}

_UNTOLD = "a payment that was never submitted has no attempt, answer, record or timer"
_UNLEFT = "no request of it has left, so nothing can answer it or be lost"
_RESTS = "no attempt is under way and no timer runs"
_UNTIMED = "its timer does not run in this state"
_ATTEMPT_OVER = "no attempt is under way, and what an earlier one still brings is told apart by its number"
_NOT_JUDGED = "whether an attempt is left is judged when the pause is over"
_NO_RECORD = "no record of how it stands is on its way to the disk"
_PAUSE_OVER = (_E.DUE, _E.NO_LINK, _E.EXHAUSTED, _E.NEVER_LEFT)
_ATTEMPT = (_E.READY, _E.SEND_FAILED, _E.LOST)
_TIMER = (_E.DEADLINE, _E.NO_ANSWER)
_NOT_CUT_OFF = {_E.STARTED: "only what a stop has left UNKNOWN waits for the start"}

_IMPOSSIBLE: dict[State, dict[Event, str]] = {
    _S.UNSUBMITTED: each([event for event in Event if event is not _E.SUBMIT], _UNTOLD),
    _S.SUBMITTING: {
        **_NOT_CUT_OFF,
        _E.RECORDED: _NO_RECORD,
        **each(_TIMER, _UNTIMED),
        **each((_E.LOST, _E.CONCLUSIVE, _E.INCONCLUSIVE), _UNLEFT),
        **each(_PAUSE_OVER, _NOT_JUDGED),
    },
    _S.WAITING: {
        **_NOT_CUT_OFF,
        _E.RECORDED: _NO_RECORD,
        _E.READY: "this attempt's request became ready before it was handed to the link",
        **each(_PAUSE_OVER, _NOT_JUDGED),
    },
    _S.PAUSING: {
        **_NOT_CUT_OFF,
        _E.RECORDED: _NO_RECORD,
        _E.NO_ANSWER: "no answer is waited for in a pause",
        **each(_ATTEMPT, _ATTEMPT_OVER),
    },
    _S.REPEATING: {
        **_NOT_CUT_OFF,
        _E.RECORDED: _NO_RECORD,
        _E.LOST: "this attempt has not left yet",
        **each(_TIMER, _UNTIMED),
        **each(_PAUSE_OVER, _NOT_JUDGED),
    },
    _S.SETTLING: {**_NOT_CUT_OFF, **each(_ATTEMPT, _ATTEMPT_OVER), **each((*_TIMER, *_PAUSE_OVER), _RESTS)},
    _S.SETTLED: {
        **_NOT_CUT_OFF,
        _E.RECORDED: "its SETTLED record became durable before this state was reached",
        **each(_ATTEMPT, _ATTEMPT_OVER),
        **each((*_TIMER, *_PAUSE_OVER), _RESTS),
    },
    _S.GIVING_UP: {**_NOT_CUT_OFF, **each(_ATTEMPT, _ATTEMPT_OVER), **each((*_TIMER, *_PAUSE_OVER), _RESTS)},
    _S.WITHDRAWING: {
        **_NOT_CUT_OFF,
        **each(_ATTEMPT, _ATTEMPT_OVER),
        **each((_E.CONCLUSIVE, _E.INCONCLUSIVE), _UNLEFT),
        **each((*_TIMER, *_PAUSE_OVER), _RESTS),
    },
    _S.UNKNOWN: {
        _E.RECORDED: _NO_RECORD,
        _E.NO_ANSWER: "its timer only says how long memory holds it",
        **each(_ATTEMPT, _ATTEMPT_OVER),
        **each(_PAUSE_OVER, _RESTS),
    },
    _S.UNSENT: {
        **_NOT_CUT_OFF,
        _E.RECORDED: _NO_RECORD,
        **each(_ATTEMPT, _ATTEMPT_OVER),
        **each((_E.CONCLUSIVE, _E.INCONCLUSIVE), _UNLEFT),
        **each((*_TIMER, *_PAUSE_OVER), _RESTS),
    },
}

LAW = Law(State, Event, _ROWS, _IMPOSSIBLE)
step = LAW.step

RESTS: dict[Kind, State] = {
    Kind.SETTLED: _S.SETTLED,
    Kind.UNKNOWN: _S.UNKNOWN,
    Kind.UNSENT: _S.UNSENT,
}
"""The state in which a record of this kind leaves a payment."""
UNDER_WAY = (Kind.SUBMITTED, Kind.RETRIED)
"""Kinds of record after which an attempt is under way. A restart takes it up as PAUSING: it may have left."""
RESTING = frozenset(RESTS.values())
"""The states in which nothing of ours is under way: the payment is remembered by its standing alone."""
