"""The law: which step may follow which in the life of an inbound payment, as a table.

Rows are (state, event) → (next state, act). A pair is either a row or an impossibility with its reason; meeting an
impossibility is a bug of ours and ends the process. Nobody else holds an opinion: `inbound` looks its acts up here and
knows how each is done, tests run every pair, and the simulation drives the very same table.

A payment has one decision and one or more legs: the link that its request came by, and those of repeats that came while
it was being decided. Each leg ends in SENT or UNSENT.
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
    """The same, and its stand-in deadline has passed meanwhile: the processor will not be asked."""
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
    """Received, undecided, and the process that asked is gone. A repeat is decided like a new payment."""


class Event(IntEnum):
    """What can happen to a payment."""

    REQUEST = 0
    """A 9200 or 9201, authentic and well-formed, with the content known for this FPID, or the first with it."""
    CONFLICT = 1
    """The same FPID with other content."""
    REVERSAL = 2
    """A 9420 or 9421."""
    RECORDED = 3
    """The RECEIVED record is durable."""
    ANSWER = 4
    """The processor answered."""
    DEADLINE = 5
    """The stand-in timer fired."""
    READY = 6
    """The decision is durable and its reply has its MAC."""
    SENT = 7
    """A leg's reply was written to its link."""
    UNSENT = 8
    """A leg's reply cannot be sent: link lost, too late, no HSM."""


class Act(IntEnum):
    """What `inbound` then does."""

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
    },
    _S.ASKED: {
        _E.REQUEST: Row(_S.ASKED, _A.JOIN),
        _E.CONFLICT: Row(_S.ASKED, _A.CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
        _E.ANSWER: Row(_S.DECIDING, _A.ANSWER),
        _E.DEADLINE: Row(_S.DECIDING, _A.STAND_IN),
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
        _E.DEADLINE: Row(_S.REPLIED, _A.NOTHING),
        _E.SENT: Row(_S.REPLIED, _A.NOTHING),
        _E.UNSENT: Row(_S.REPLIED, _A.NOTHING),
    },
    _S.UNDELIVERED: {
        _E.REQUEST: Row(_S.UNDELIVERED, _A.REPEAT),
        _E.CONFLICT: Row(_S.UNDELIVERED, _A.CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
        _E.ANSWER: Row(_S.UNDELIVERED, _A.LATE),
        _E.DEADLINE: Row(_S.UNDELIVERED, _A.NOTHING),
        _E.SENT: Row(_S.REPLIED, _A.REPLIED),
        _E.UNSENT: Row(_S.UNDELIVERED, _A.NOTHING),
    },
    _S.REVERSED: {
        _E.REQUEST: Row(_S.REVERSED, _A.REFUSE_REVERSED),
        _E.CONFLICT: Row(_S.REVERSED, _A.CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE_AGAIN),
        _E.RECORDED: Row(_S.REVERSED, _A.NOTHING),
        _E.ANSWER: Row(_S.REVERSED, _A.LATE),
        _E.DEADLINE: Row(_S.REVERSED, _A.NOTHING),
        _E.READY: Row(_S.REVERSED, _A.NOTHING),  # the reply is withheld: the hub has given the payment up
        _E.SENT: Row(_S.REVERSED, _A.REPLIED),
        _E.UNSENT: Row(_S.REVERSED, _A.NOTHING),
    },
    _S.ORPHANED: {
        _E.REQUEST: Row(_S.RECEIVING, _A.RECEIVE),
        _E.CONFLICT: Row(_S.ORPHANED, _A.CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
    },
}
"""Every pair that can happen."""

_UNKNOWN = "nothing was ever recorded, asked or decided for it"
_UNASKED = "the processor is asked only once the RECEIVED record is durable"
_UNDECIDED = "a reply is made only once there is a decision"
_ONCE = "its RECEIVED record became durable before this state was reached, and does so once"
_GONE = "the process that recorded, asked and timed it is gone"
_READ = "the reply of a decision becomes ready once"

IMPOSSIBLE: dict[State, dict[Event, str]] = {
    _S.NEW: {
        _E.CONFLICT: "there is no content yet to differ from",
        _E.RECORDED: _UNKNOWN,
        _E.ANSWER: _UNKNOWN,
        _E.DEADLINE: _UNKNOWN,
        _E.READY: _UNKNOWN,
        _E.SENT: _UNKNOWN,
        _E.UNSENT: _UNKNOWN,
    },
    _S.RECEIVING: {_E.ANSWER: _UNASKED, _E.READY: _UNDECIDED, _E.SENT: _UNDECIDED, _E.UNSENT: _UNDECIDED},
    _S.OVERDUE: {
        _E.ANSWER: _UNASKED,
        _E.DEADLINE: "a payment has one timer, and it has fired",
        _E.READY: _UNDECIDED,
        _E.SENT: _UNDECIDED,
        _E.UNSENT: _UNDECIDED,
    },
    _S.ASKED: {_E.RECORDED: _ONCE, _E.READY: _UNDECIDED, _E.SENT: _UNDECIDED, _E.UNSENT: _UNDECIDED},
    _S.DECIDING: {_E.RECORDED: _ONCE, _E.SENT: "nothing is sent before it is READY"},
    _S.REPLYING: {_E.RECORDED: _ONCE, _E.READY: _READ},
    _S.REPLIED: {_E.RECORDED: _ONCE, _E.READY: _READ},
    _S.UNDELIVERED: {_E.RECORDED: _ONCE, _E.READY: _READ},
    _S.REVERSED: {},
    _S.ORPHANED: {
        _E.RECORDED: _GONE,
        _E.ANSWER: _GONE,
        _E.DEADLINE: _GONE,
        _E.READY: _GONE,
        _E.SENT: _GONE,
        _E.UNSENT: _GONE,
    },
}
"""Every pair that cannot, and why."""

_ROWS = [[LAW[state].get(event) for event in Event] for state in State]


def step(state: State, event: Event) -> Row:
    """Look a pair up. Raises AssertionError (a bug of ours: the process ends) when it is an impossibility."""
    row = _ROWS[state][event]
    if row is None:
        raise AssertionError(f"{event.name} in state {state.name} cannot be: {IMPOSSIBLE[state][event]}")
    return row


FINAL = frozenset({State.REPLIED, State.UNDELIVERED, State.REVERSED, State.ORPHANED})
"""States in which nothing of ours is under way: the payment is remembered by its outcome alone."""
