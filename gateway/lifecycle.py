"""The law: which step may follow which in the life of a payment, inbound and outbound, as one table.

Rows are (state, event) → (next state, act). A pair is either a row or an impossibility with its reason; meeting an
impossibility is a bug of ours and ends the process. Nobody else holds an opinion: `inbound` and `outbound` look their
acts up here and know how each is done, tests run every pair, and the simulation drives the very same table.

An inbound payment has one decision and one or more legs: the link that its request came by, and those of repeats that
came while it was being decided. Each leg ends in SENT or UNSENT.

An outbound payment is one request, and so many repeats of it as it takes to learn what became of it. What may have left
is never given up as failed: it is settled by the hub's answer, or UNKNOWN until that comes.
"""

from enum import IntEnum
from typing import NamedTuple


class State(IntEnum):
    """Where a payment is."""

    NEW = 0
    """Never seen."""
    RECEIVING = 1
    """Its RECEIVED record is on its way to the disk."""
    OVERDUE = 2
    """The same, and stand-in's time has come meanwhile: it is asked as soon as the record is durable, and the processor
    only where stand-in may not accept and there is time left."""
    ASKED = 3
    """Received for good; the processor is asked, the timer runs."""
    DECIDING = 4
    """Decided; the decision's record is on its way to the disk and its reply to the HSM, at the same time."""
    REPLYING = 5
    """Durable and authenticated; the reply waits in the link's buffer."""
    REPLIED = 6
    """The reply was written to the link of a request."""
    UNDELIVERED = 7
    """Decided, and no reply could be sent (or, after a restart, may have been)."""
    REVERSED = 8
    """The hub reversed it. It stays so."""
    ORPHANED = 9
    """Received, undecided, and nobody will decide it: the process that asked is gone, or the rules forbid an answer in
    the processor's stead. A repeat is decided like a new payment."""
    # outbound
    UNSUBMITTED = 10
    """Never submitted under this key."""
    SUBMITTING = 11
    """Its SUBMITTED record is on its way to the disk and its request to the HSM, at the same time."""
    WAITING = 12
    """The request was handed to a link; the answer must come by it."""
    PAUSING = 13
    """This attempt is over without a conclusive answer; the next one has its time."""
    REPEATING = 14
    """The next attempt's record is on its way to the disk and its request to the HSM."""
    SETTLING = 15
    """Its outcome is known, and on its way to the disk."""
    SETTLED = 16
    """Accepted, qualified or refused, by someone who may say so, for good."""
    UNKNOWN = 17
    """It may have left, and every attempt went without a conclusive answer. Whatever comes later settles it."""
    UNSENT = 18
    """No request of it ever left, and none will unless it is submitted again."""
    GIVING_UP = 19
    """Every attempt went without a conclusive answer, and that is on its way to the disk."""
    WITHDRAWING = 20
    """Nothing left, nothing will, and that is on its way to the disk."""


class Event(IntEnum):
    """What can happen to a payment. Where both directions have it, the outbound meaning follows the semicolon."""

    REQUEST = 0
    """A 9200 or 9201, authentic and well-formed, with the content known for this FPID, or the first with it."""
    CONFLICT = 1
    """The same FPID with other content; the same key, or the FPID of another key, with other content."""
    REVERSAL = 2
    """A 9420 or 9421."""
    RECORDED = 3
    """The RECEIVED record is durable (and, where stand-in's time has come, it may accept); the record of how it stands
    is: SETTLED, UNKNOWN or UNSENT."""
    ANSWER = 4
    """The processor answered; the hub did, conclusively, on a connection that carried a request of this payment."""
    DEADLINE = 5
    """Stand-in's time has come, and where the payment is durable stand-in may accept; the answer did not come in time,
    or the pause is over."""
    READY = 6
    """The decision is durable and its reply has its MAC; the attempt is durable and its request has its MAC."""
    SENT = 7
    """A leg's reply was written to its link."""
    UNSENT = 8
    """A leg's reply cannot be sent: link lost, too late, no HSM; this attempt's request surely did not leave."""
    FORBIDDEN = 9
    """Stand-in's time has come, and the rules do not let it accept this payment; there is time left for an answer."""
    TURNED_AWAY = 10
    """The last moment for an answer has come, stand-in may not accept, and the rules say: 1909."""
    SILENCED = 11
    """The same, and the rules say: no answer at all."""
    SUBMIT = 12
    """The processor submits it: for the first time, or again with the same key and content."""
    INCONCLUSIVE = 13
    """The hub answered with what settles nothing, or advised that it could not read or trust this request."""
    LOST = 14
    """The connection of this attempt is gone, and the request may have left by it."""
    EXHAUSTED = 15
    """No attempt is left, and one may have left."""
    NEVER_LEFT = 16
    """No attempt is left, and surely none of them left."""


class Act(IntEnum):
    """What `inbound` or `outbound` then does."""

    NOTHING = 0
    RECEIVE = 1
    """Record it, start its timer."""
    JOIN = 2
    """Let this repeat wait for the decision that is being made."""
    CONFLICT = 3
    """Refuse this message with 1181; the payment itself is not touched."""
    ASK = 4
    """Ask the processor."""
    ANSWER = 5
    """The processor's answer is the decision."""
    STAND_IN = 6
    """Stand-in is the decision."""
    LATE = 7
    """Record a late answer; a late refusal is told."""
    REPLY = 8
    """Send the reply on each waiting leg."""
    REPEAT = 9
    """Record the repeat, reply from the stored outcome."""
    REPLIED = 10
    """Record that a reply left."""
    UNDELIVERED = 11
    """Record that none did; told."""
    REVERSE = 12
    """Record the reversal, answer it positively; told."""
    REVERSE_AGAIN = 13
    """Answer a reversal's repeat positively."""
    REFUSE_REVERSED = 14
    """Refuse a payment that turns up after its reversal."""
    EXTEND = 15
    """Wait for the processor until the last moment."""
    TURN_AWAY = 16
    """Decide 1909 in the processor's stead; told."""
    ABANDON = 17
    """Answer nothing: record that; told."""
    SUBMIT = 18
    """Record the submission, make the request's MAC."""
    AWAIT = 19
    """Let this submission wait for what the first one waits for."""
    CLASH = 20
    """Refuse this submission; the payment itself is not touched."""
    TRANSMIT = 21
    """Hand the request to a link, start the timer for its answer."""
    PAUSE = 22
    """Give the next attempt its time."""
    SEND_AGAIN = 23
    """Record a 9201 (or, where surely nothing left before, a 9200), make its MAC."""
    SETTLE = 24
    """Record the outcome; told."""
    REPORT = 25
    """The outcome is durable: say it to those who wait, remember it."""
    GIVE_UP = 26
    """Record that it is unknown; told."""
    WITHDRAW = 27
    """Record that it never left; told."""
    REPORT_AGAIN = 28
    """Say the outcome again."""
    COMPARE = 29
    """Another answer: the same is fine, a different one is recorded, told, and an alert. Nothing changes."""


class Row(NamedTuple):
    """Where a payment goes and what is done on the way."""

    to: State
    act: Act


_S, _E, _A = State, Event, Act

LAW: dict[State, dict[Event, Row]] = {
    _S.NEW: {
        _E.REQUEST: Row(_S.RECEIVING, _A.RECEIVE),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
    },
    _S.RECEIVING: {
        _E.REQUEST: Row(_S.RECEIVING, _A.JOIN),
        _E.CONFLICT: Row(_S.RECEIVING, _A.CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
        _E.RECORDED: Row(_S.ASKED, _A.ASK),
        _E.DEADLINE: Row(_S.OVERDUE, _A.NOTHING),
    },
    _S.OVERDUE: {
        _E.REQUEST: Row(_S.OVERDUE, _A.JOIN),
        _E.CONFLICT: Row(_S.OVERDUE, _A.CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
        _E.RECORDED: Row(_S.DECIDING, _A.STAND_IN),
        _E.FORBIDDEN: Row(_S.ASKED, _A.ASK),
        _E.TURNED_AWAY: Row(_S.DECIDING, _A.TURN_AWAY),
        _E.SILENCED: Row(_S.ORPHANED, _A.ABANDON),
    },
    _S.ASKED: {
        _E.REQUEST: Row(_S.ASKED, _A.JOIN),
        _E.CONFLICT: Row(_S.ASKED, _A.CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
        _E.ANSWER: Row(_S.DECIDING, _A.ANSWER),
        _E.DEADLINE: Row(_S.DECIDING, _A.STAND_IN),
        _E.FORBIDDEN: Row(_S.ASKED, _A.EXTEND),
        _E.TURNED_AWAY: Row(_S.DECIDING, _A.TURN_AWAY),
        _E.SILENCED: Row(_S.ORPHANED, _A.ABANDON),
    },
    _S.DECIDING: {
        _E.REQUEST: Row(_S.DECIDING, _A.JOIN),
        _E.CONFLICT: Row(_S.DECIDING, _A.CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
        _E.ANSWER: Row(_S.DECIDING, _A.LATE),
        _E.DEADLINE: Row(_S.DECIDING, _A.NOTHING),
        _E.READY: Row(_S.REPLYING, _A.REPLY),
        _E.UNSENT: Row(_S.UNDELIVERED, _A.UNDELIVERED),
    },
    _S.REPLYING: {
        _E.REQUEST: Row(_S.REPLYING, _A.REPEAT),
        _E.CONFLICT: Row(_S.REPLYING, _A.CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
        _E.ANSWER: Row(_S.REPLYING, _A.LATE),
        _E.DEADLINE: Row(_S.REPLYING, _A.NOTHING),
        _E.SENT: Row(_S.REPLIED, _A.REPLIED),
        _E.UNSENT: Row(_S.UNDELIVERED, _A.UNDELIVERED),
    },
    _S.REPLIED: {
        _E.REQUEST: Row(_S.REPLIED, _A.REPEAT),
        _E.CONFLICT: Row(_S.REPLIED, _A.CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
        _E.ANSWER: Row(_S.REPLIED, _A.LATE),
        _E.SENT: Row(_S.REPLIED, _A.NOTHING),
        _E.UNSENT: Row(_S.REPLIED, _A.NOTHING),
    },
    _S.UNDELIVERED: {
        _E.REQUEST: Row(_S.UNDELIVERED, _A.REPEAT),
        _E.CONFLICT: Row(_S.UNDELIVERED, _A.CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
        _E.ANSWER: Row(_S.UNDELIVERED, _A.LATE),
        _E.SENT: Row(_S.REPLIED, _A.REPLIED),
        _E.UNSENT: Row(_S.UNDELIVERED, _A.NOTHING),
    },
    _S.REVERSED: {
        _E.REQUEST: Row(_S.REVERSED, _A.REFUSE_REVERSED),
        _E.CONFLICT: Row(_S.REVERSED, _A.CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE_AGAIN),
        _E.RECORDED: Row(_S.REVERSED, _A.NOTHING),
        _E.ANSWER: Row(_S.REVERSED, _A.LATE),
        _E.READY: Row(_S.REVERSED, _A.NOTHING),  # the reply is withheld: the hub has given the payment up
        _E.SENT: Row(_S.REVERSED, _A.REPLIED),
        _E.UNSENT: Row(_S.REVERSED, _A.NOTHING),
    },
    _S.ORPHANED: {
        _E.REQUEST: Row(_S.RECEIVING, _A.RECEIVE),
        _E.CONFLICT: Row(_S.ORPHANED, _A.CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
        _E.ANSWER: Row(_S.ORPHANED, _A.LATE),
    },
    # --- outbound
    _S.UNSUBMITTED: {
        _E.SUBMIT: Row(_S.SUBMITTING, _A.SUBMIT),
    },
    _S.SUBMITTING: {
        _E.SUBMIT: Row(_S.SUBMITTING, _A.AWAIT),
        _E.CONFLICT: Row(_S.SUBMITTING, _A.CLASH),
        _E.READY: Row(_S.WAITING, _A.TRANSMIT),
        _E.UNSENT: Row(_S.PAUSING, _A.PAUSE),
    },
    _S.WAITING: {
        _E.SUBMIT: Row(_S.WAITING, _A.AWAIT),
        _E.CONFLICT: Row(_S.WAITING, _A.CLASH),
        _E.ANSWER: Row(_S.SETTLING, _A.SETTLE),
        _E.INCONCLUSIVE: Row(_S.PAUSING, _A.PAUSE),
        _E.DEADLINE: Row(_S.PAUSING, _A.PAUSE),
        _E.UNSENT: Row(_S.PAUSING, _A.PAUSE),
        _E.LOST: Row(_S.PAUSING, _A.PAUSE),
    },
    _S.PAUSING: {
        _E.SUBMIT: Row(_S.PAUSING, _A.AWAIT),
        _E.CONFLICT: Row(_S.PAUSING, _A.CLASH),
        _E.ANSWER: Row(_S.SETTLING, _A.SETTLE),  # to an earlier attempt, whose connection still stands
        _E.INCONCLUSIVE: Row(_S.PAUSING, _A.NOTHING),
        _E.DEADLINE: Row(_S.REPEATING, _A.SEND_AGAIN),
        _E.UNSENT: Row(_S.PAUSING, _A.PAUSE),  # there is no link to repeat it on
        _E.EXHAUSTED: Row(_S.GIVING_UP, _A.GIVE_UP),
        _E.NEVER_LEFT: Row(_S.WITHDRAWING, _A.WITHDRAW),
    },
    _S.REPEATING: {
        _E.SUBMIT: Row(_S.REPEATING, _A.AWAIT),
        _E.CONFLICT: Row(_S.REPEATING, _A.CLASH),
        _E.ANSWER: Row(_S.SETTLING, _A.SETTLE),
        _E.INCONCLUSIVE: Row(_S.REPEATING, _A.NOTHING),
        _E.READY: Row(_S.WAITING, _A.TRANSMIT),
        _E.UNSENT: Row(_S.PAUSING, _A.PAUSE),
    },
    _S.SETTLING: {
        _E.SUBMIT: Row(_S.SETTLING, _A.AWAIT),
        _E.CONFLICT: Row(_S.SETTLING, _A.CLASH),
        _E.RECORDED: Row(_S.SETTLED, _A.REPORT),
        _E.ANSWER: Row(_S.SETTLING, _A.COMPARE),
        _E.INCONCLUSIVE: Row(_S.SETTLING, _A.NOTHING),
        _E.READY: Row(_S.SETTLING, _A.NOTHING),  # the repeat is not needed any more
        _E.UNSENT: Row(_S.SETTLING, _A.NOTHING),
    },
    _S.SETTLED: {
        _E.SUBMIT: Row(_S.SETTLED, _A.REPORT_AGAIN),
        _E.CONFLICT: Row(_S.SETTLED, _A.CLASH),
        _E.ANSWER: Row(_S.SETTLED, _A.COMPARE),
        _E.INCONCLUSIVE: Row(_S.SETTLED, _A.NOTHING),
        _E.READY: Row(_S.SETTLED, _A.NOTHING),
        _E.UNSENT: Row(_S.SETTLED, _A.NOTHING),
    },
    _S.GIVING_UP: {
        _E.SUBMIT: Row(_S.GIVING_UP, _A.AWAIT),
        _E.CONFLICT: Row(_S.GIVING_UP, _A.CLASH),
        _E.RECORDED: Row(_S.UNKNOWN, _A.REPORT),
        _E.ANSWER: Row(_S.SETTLING, _A.SETTLE),
        _E.INCONCLUSIVE: Row(_S.GIVING_UP, _A.NOTHING),
    },
    _S.WITHDRAWING: {
        _E.SUBMIT: Row(_S.WITHDRAWING, _A.AWAIT),
        _E.CONFLICT: Row(_S.WITHDRAWING, _A.CLASH),
        _E.RECORDED: Row(_S.UNSENT, _A.REPORT),
    },
    _S.UNKNOWN: {
        _E.SUBMIT: Row(_S.REPEATING, _A.SEND_AGAIN),
        _E.CONFLICT: Row(_S.UNKNOWN, _A.CLASH),
        _E.ANSWER: Row(_S.SETTLING, _A.SETTLE),
        _E.INCONCLUSIVE: Row(_S.UNKNOWN, _A.NOTHING),
    },
    _S.UNSENT: {
        _E.SUBMIT: Row(_S.SUBMITTING, _A.SUBMIT),
        _E.CONFLICT: Row(_S.UNSENT, _A.CLASH),
    },
}
"""Every pair that can happen."""

OUTBOUND = frozenset(state for state in State if state >= State.UNSUBMITTED)
"""The states of payments that leave; all others are of payments that arrive."""

_UNKNOWN = "nothing was ever recorded, asked or decided for it"
_UNASKED = "the processor is asked only once the RECEIVED record is durable"
_UNDECIDED = "a reply is made only once there is a decision"
_ONCE = "its RECEIVED record became durable before this state was reached, and does so once"
_GONE = "who recorded, asked and timed it is gone, or has given it up"
_OVER = "a timer is brought to what is in flight alone"
_READ = "the reply of a decision becomes ready once"
_CONSULTED = "stand-in judges only what is received and undecided"
_LEAVES = "only a payment that leaves has this event"
_ARRIVES = "only a payment that arrives has this event"
_UNTOLD = "a payment that was never submitted has no attempt, answer, record or timer"
_UNLEFT = "no request of it has left, so nothing can answer it or be lost"
_RESTS = "no attempt is under way and no timer runs"
_UNTIMED = "its timer does not run in this state, and what an earlier attempt left is told by its number"
_JUDGED = "whether an attempt is left is asked when the pause is over"
_NO_RECORD = "the only records that are waited for alone are those of how it stands"

_INBOUND_ONLY = (_E.REQUEST, _E.REVERSAL, _E.SENT, _E.FORBIDDEN, _E.TURNED_AWAY, _E.SILENCED)
_OUTBOUND_ONLY = (_E.SUBMIT, _E.INCONCLUSIVE, _E.LOST, _E.EXHAUSTED, _E.NEVER_LEFT)
_JUDGEMENTS = (_E.FORBIDDEN, _E.TURNED_AWAY, _E.SILENCED)


def _each(events: tuple[Event, ...], why: str) -> dict[Event, str]:
    return dict.fromkeys(events, why)


IMPOSSIBLE: dict[State, dict[Event, str]] = {
    _S.NEW: {
        _E.CONFLICT: "there is no content yet to differ from",
        **_each((_E.RECORDED, _E.ANSWER, _E.DEADLINE, _E.READY, _E.SENT, _E.UNSENT), _UNKNOWN),
        **_each(_JUDGEMENTS, _CONSULTED),
    },
    _S.RECEIVING: {
        _E.ANSWER: _UNASKED,
        **_each((_E.READY, _E.SENT, _E.UNSENT), _UNDECIDED),
        **_each(_JUDGEMENTS, "stand-in judges only what is durable: nothing may be said before"),
    },
    _S.OVERDUE: {
        _E.ANSWER: _UNASKED,
        _E.DEADLINE: "a payment has one timer, and it has fired",
        **_each((_E.READY, _E.SENT, _E.UNSENT), _UNDECIDED),
    },
    _S.ASKED: {_E.RECORDED: _ONCE, **_each((_E.READY, _E.SENT, _E.UNSENT), _UNDECIDED)},
    _S.DECIDING: {_E.RECORDED: _ONCE, _E.SENT: "nothing is sent before it is READY", **_each(_JUDGEMENTS, _CONSULTED)},
    _S.REPLYING: {_E.RECORDED: _ONCE, _E.READY: _READ, **_each(_JUDGEMENTS, _CONSULTED)},
    _S.REPLIED: {_E.RECORDED: _ONCE, _E.READY: _READ, _E.DEADLINE: _OVER, **_each(_JUDGEMENTS, _CONSULTED)},
    _S.UNDELIVERED: {_E.RECORDED: _ONCE, _E.READY: _READ, _E.DEADLINE: _OVER, **_each(_JUDGEMENTS, _CONSULTED)},
    _S.REVERSED: {_E.DEADLINE: _OVER, **_each(_JUDGEMENTS, _CONSULTED)},
    _S.ORPHANED: {
        **_each((_E.RECORDED, _E.DEADLINE, _E.READY, _E.SENT, _E.UNSENT), _GONE),
        **_each(_JUDGEMENTS, _CONSULTED),
    },
    # --- outbound
    _S.UNSUBMITTED: _each(
        (_E.CONFLICT, _E.RECORDED, _E.ANSWER, _E.DEADLINE, _E.READY, _E.UNSENT, _E.INCONCLUSIVE, _E.LOST, _E.EXHAUSTED,
         _E.NEVER_LEFT), _UNTOLD
    ),
    _S.SUBMITTING: {
        _E.RECORDED: _NO_RECORD,
        _E.DEADLINE: _UNTIMED,
        **_each((_E.ANSWER, _E.INCONCLUSIVE, _E.LOST), _UNLEFT),
        **_each((_E.EXHAUSTED, _E.NEVER_LEFT), _JUDGED),
    },
    _S.WAITING: {
        _E.RECORDED: _NO_RECORD,
        _E.READY: "this attempt's request became ready before it was handed to the link",
        **_each((_E.EXHAUSTED, _E.NEVER_LEFT), _JUDGED),
    },
    _S.PAUSING: {
        _E.RECORDED: _NO_RECORD,
        _E.READY: "no request is being made",
        _E.LOST: _UNTIMED,
    },
    _S.REPEATING: {
        _E.RECORDED: _NO_RECORD,
        **_each((_E.DEADLINE, _E.LOST), _UNTIMED),
        **_each((_E.EXHAUSTED, _E.NEVER_LEFT), _JUDGED),
    },
    _S.SETTLING: {
        **_each((_E.DEADLINE, _E.LOST, _E.EXHAUSTED, _E.NEVER_LEFT), _RESTS),
    },
    _S.SETTLED: {
        _E.RECORDED: "its SETTLED record became durable before this state was reached",
        **_each((_E.DEADLINE, _E.LOST, _E.EXHAUSTED, _E.NEVER_LEFT), _RESTS),
    },
    _S.GIVING_UP: {
        **_each((_E.DEADLINE, _E.READY, _E.UNSENT, _E.LOST, _E.EXHAUSTED, _E.NEVER_LEFT), _RESTS),
    },
    _S.WITHDRAWING: {
        **_each((_E.ANSWER, _E.INCONCLUSIVE, _E.LOST), _UNLEFT),
        **_each((_E.DEADLINE, _E.READY, _E.UNSENT, _E.EXHAUSTED, _E.NEVER_LEFT), _RESTS),
    },
    _S.UNKNOWN: {
        _E.RECORDED: _NO_RECORD,
        **_each((_E.DEADLINE, _E.READY, _E.UNSENT, _E.LOST, _E.EXHAUSTED, _E.NEVER_LEFT), _RESTS),
    },
    _S.UNSENT: {
        _E.RECORDED: _NO_RECORD,
        **_each((_E.ANSWER, _E.INCONCLUSIVE, _E.LOST), _UNLEFT),
        **_each((_E.DEADLINE, _E.READY, _E.UNSENT, _E.EXHAUSTED, _E.NEVER_LEFT), _RESTS),
    },
}  # fmt: skip
"""Every pair that cannot, and why."""

for _state in State:
    IMPOSSIBLE[_state] |= _each(_INBOUND_ONLY, _ARRIVES) if _state in OUTBOUND else _each(_OUTBOUND_ONLY, _LEAVES)

_ROWS = [[LAW[state].get(event) for event in Event] for state in State]


def step(state: State, event: Event) -> Row:
    """Look a pair up. Raises AssertionError (a bug of ours: the process ends) when it is an impossibility."""
    row = _ROWS[state][event]
    if row is None:
        raise AssertionError(f"{event.name} in state {state.name} cannot be: {IMPOSSIBLE[state][event]}")
    return row


FINAL = frozenset({State.REPLIED, State.UNDELIVERED, State.REVERSED, State.ORPHANED})
"""Inbound states in which nothing of ours is under way: the payment is remembered by its outcome alone."""
RESTING = frozenset({State.SETTLED, State.UNKNOWN, State.UNSENT})
"""The same for outbound ones."""
