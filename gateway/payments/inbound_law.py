"""The law of a payment that arrives: its states, what can happen to it, and what `inbound` then does, as one table.

Nothing else decides where a payment goes. The story brings an event, and does the act that the table answers with.
`RESTS` says in which state each record leaves a payment. Tests run every pair, and the simulation drives this very
table.

A payment has one decision and one or more legs. A leg is the link that brought a request: the first, or a repeat that
came while the payment was being decided. Each leg ends in REPLY_SENT or REPLY_FAILED.

A timer asks, it does not decide: the law answers DEADLINE by JUDGE, and the judgement (ALLOWED, FORBIDDEN, TURNED_AWAY,
SILENCED) is the next event.
"""

from enum import IntEnum

from gateway.payments.law import Law, each
from gateway.payments.law import Row as _Row
from gateway.payments.steps import Kind


class State(IntEnum):
    """Where a payment is. The names are on disk, in the record of a reversal."""

    NEW = 0
    """Never seen."""
    RECEIVING = 1
    """Its RECEIVED record is on its way to the disk."""
    OVERDUE = 2
    """The same, and stand-in's time has come meanwhile. Stand-in is consulted as soon as the record is durable."""
    ASKED = 3
    """Durable, and not decided. The processor is asked, and the timer runs. No question is asked where the payment was
    OVERDUE, or where stand-in is ordered to answer, unless stand-in may not accept it."""
    DECIDING = 4
    """Decided. The decision's record is on its way to the disk and its reply to the HSM, at the same time."""
    REPLYING = 5
    """Durable and authenticated. The reply waits in the link's buffer."""
    REPLIED = 6
    """The reply was written to the link of a request."""
    UNDELIVERED = 7
    """Decided, and no reply left; or, after a restart, nobody knows whether one left."""
    REVERSED = 8
    """The hub reversed it. It stays so."""
    ORPHANED = 9
    """Received, undecided, and nobody will decide it: the process that asked is gone, or the rules forbid an answer in
    the processor's stead. A repeat is decided like a new payment."""


class Event(IntEnum):
    """What can happen to a payment."""

    REQUEST = 0
    """A 9200 or 9201, authentic and well-formed. Its content is that known for this FPID, or the first with it."""
    MISDATED = 1
    """The same, with a date for which an unknown payment is refused."""
    CONFLICT = 2
    """The same FPID with other content."""
    REVERSAL = 3
    """A 9420 or 9421."""
    RECORDED = 4
    """The RECEIVED record is durable."""
    ANSWER = 5
    """The processor answered."""
    DEADLINE = 6
    """The timer fired: stand-in's time has come, or the last moment for an answer."""
    ALLOWED = 7
    """Stand-in may accept it, and its time has come."""
    FORBIDDEN = 8
    """Stand-in's time has come, and the rules do not let it accept this payment. There is time left for an answer."""
    TURNED_AWAY = 9
    """The last moment for an answer has come, stand-in may not accept, and the rules say: 1909."""
    SILENCED = 10
    """The same, and the rules say: no answer at all."""
    READY = 11
    """The decision is durable and its reply has its MAC."""
    REPEAT_READY = 12
    """A repeat is recorded, and the reply to it has its MAC."""
    REPLY_SENT = 13
    """A reply was written to its link."""
    REPLY_FAILED = 14
    """No reply can be sent, on any leg: link lost, too late, no HSM."""


class Act(IntEnum):
    """What `inbound` then does."""

    NOTHING = 0
    RECEIVE = 1
    """Record it, start its timer."""
    REFUSE_DATE = 2
    """Refuse this message with 1930 and DE44 012. The payment stays unknown."""
    JOIN = 3
    """Let this repeat wait for the decision that is being made."""
    REFUSE_CONFLICT = 4
    """Refuse this message with 1181. The payment itself is not touched."""
    REFUSE_REVERSED = 5
    """Refuse a payment that turns up after its reversal."""
    REPLY_AGAIN = 6
    """Record the repeat, reply from the stored outcome."""
    REVERSE = 7
    """Record the reversal, answer it positively. Told."""
    REVERSE_AGAIN = 8
    """Answer a reversal's repeat positively."""
    ASK = 9
    """Ask the processor."""
    JUDGE = 10
    """See whether stand-in may accept it. The judgement is the next event."""
    TAKE_ANSWER = 11
    """The processor's answer is the decision."""
    STAND_IN = 12
    """Stand-in is the decision."""
    EXTEND = 13
    """Wait for the processor until the last moment. Ask it now where it was not asked."""
    TURN_AWAY = 14
    """Decide 1909 in the processor's stead. Told."""
    ABANDON = 15
    """Answer nothing: record that. Told."""
    RECORD_LATE = 16
    """Record an answer that came too late. A late refusal is told."""
    REPLY = 17
    """Send the reply on each waiting leg."""
    RELEASE = 18
    """The reply to a repeat leaves."""
    WITHHOLD = 19
    """The reply does not leave: the hub has given the payment up."""
    RECORD_REPLIED = 20
    """Record that a reply left."""
    RECORD_UNDELIVERED = 21
    """Record that none did. Told."""


Row = _Row[State, Act]
_S, _E, _A = State, Event, Act

_ROWS: dict[State, dict[Event, Row]] = {
    _S.NEW: {
        _E.REQUEST: Row(_S.RECEIVING, _A.RECEIVE),
        _E.MISDATED: Row(_S.NEW, _A.REFUSE_DATE),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
    },
    _S.RECEIVING: {
        _E.REQUEST: Row(_S.RECEIVING, _A.JOIN),
        _E.MISDATED: Row(_S.RECEIVING, _A.JOIN),
        _E.CONFLICT: Row(_S.RECEIVING, _A.REFUSE_CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
        _E.RECORDED: Row(_S.ASKED, _A.ASK),
        _E.ANSWER: Row(_S.RECEIVING, _A.RECORD_LATE),  # to a question of before it was given up
        _E.DEADLINE: Row(_S.OVERDUE, _A.NOTHING),
    },
    _S.OVERDUE: {
        _E.REQUEST: Row(_S.OVERDUE, _A.JOIN),
        _E.MISDATED: Row(_S.OVERDUE, _A.JOIN),
        _E.CONFLICT: Row(_S.OVERDUE, _A.REFUSE_CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
        _E.RECORDED: Row(_S.ASKED, _A.JUDGE),
        _E.ANSWER: Row(_S.OVERDUE, _A.RECORD_LATE),  # as above
    },
    _S.ASKED: {
        _E.REQUEST: Row(_S.ASKED, _A.JOIN),
        _E.MISDATED: Row(_S.ASKED, _A.JOIN),
        _E.CONFLICT: Row(_S.ASKED, _A.REFUSE_CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
        _E.ANSWER: Row(_S.DECIDING, _A.TAKE_ANSWER),
        _E.DEADLINE: Row(_S.ASKED, _A.JUDGE),
        _E.ALLOWED: Row(_S.DECIDING, _A.STAND_IN),
        _E.FORBIDDEN: Row(_S.ASKED, _A.EXTEND),
        _E.TURNED_AWAY: Row(_S.DECIDING, _A.TURN_AWAY),
        _E.SILENCED: Row(_S.ORPHANED, _A.ABANDON),
    },
    _S.DECIDING: {
        _E.REQUEST: Row(_S.DECIDING, _A.JOIN),
        _E.MISDATED: Row(_S.DECIDING, _A.JOIN),
        _E.CONFLICT: Row(_S.DECIDING, _A.REFUSE_CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
        _E.ANSWER: Row(_S.DECIDING, _A.RECORD_LATE),
        _E.DEADLINE: Row(_S.DECIDING, _A.NOTHING),
        _E.READY: Row(_S.REPLYING, _A.REPLY),
        _E.REPLY_FAILED: Row(_S.UNDELIVERED, _A.RECORD_UNDELIVERED),
    },
    _S.REPLYING: {
        _E.REQUEST: Row(_S.REPLYING, _A.REPLY_AGAIN),
        _E.MISDATED: Row(_S.REPLYING, _A.REPLY_AGAIN),
        _E.CONFLICT: Row(_S.REPLYING, _A.REFUSE_CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
        _E.ANSWER: Row(_S.REPLYING, _A.RECORD_LATE),
        _E.DEADLINE: Row(_S.REPLYING, _A.NOTHING),
        _E.REPEAT_READY: Row(_S.REPLYING, _A.RELEASE),
        _E.REPLY_SENT: Row(_S.REPLIED, _A.RECORD_REPLIED),
        _E.REPLY_FAILED: Row(_S.UNDELIVERED, _A.RECORD_UNDELIVERED),
    },
    _S.REPLIED: {
        _E.REQUEST: Row(_S.REPLIED, _A.REPLY_AGAIN),
        _E.MISDATED: Row(_S.REPLIED, _A.REPLY_AGAIN),
        _E.CONFLICT: Row(_S.REPLIED, _A.REFUSE_CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
        _E.ANSWER: Row(_S.REPLIED, _A.RECORD_LATE),
        _E.REPEAT_READY: Row(_S.REPLIED, _A.RELEASE),
        _E.REPLY_SENT: Row(_S.REPLIED, _A.NOTHING),
        _E.REPLY_FAILED: Row(_S.REPLIED, _A.NOTHING),
    },
    _S.UNDELIVERED: {
        _E.REQUEST: Row(_S.UNDELIVERED, _A.REPLY_AGAIN),
        _E.MISDATED: Row(_S.UNDELIVERED, _A.REPLY_AGAIN),
        _E.CONFLICT: Row(_S.UNDELIVERED, _A.REFUSE_CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
        _E.ANSWER: Row(_S.UNDELIVERED, _A.RECORD_LATE),
        _E.REPEAT_READY: Row(_S.UNDELIVERED, _A.RELEASE),
        _E.REPLY_SENT: Row(_S.REPLIED, _A.RECORD_REPLIED),
        _E.REPLY_FAILED: Row(_S.UNDELIVERED, _A.NOTHING),
    },
    _S.REVERSED: {
        _E.REQUEST: Row(_S.REVERSED, _A.REFUSE_REVERSED),
        _E.MISDATED: Row(_S.REVERSED, _A.REFUSE_REVERSED),
        _E.CONFLICT: Row(_S.REVERSED, _A.REFUSE_CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE_AGAIN),
        _E.RECORDED: Row(_S.REVERSED, _A.NOTHING),
        _E.ANSWER: Row(_S.REVERSED, _A.RECORD_LATE),
        _E.READY: Row(_S.REVERSED, _A.WITHHOLD),
        _E.REPEAT_READY: Row(_S.REVERSED, _A.WITHHOLD),
        _E.REPLY_SENT: Row(_S.REVERSED, _A.RECORD_REPLIED),
        _E.REPLY_FAILED: Row(_S.REVERSED, _A.NOTHING),
    },
    _S.ORPHANED: {
        _E.REQUEST: Row(_S.RECEIVING, _A.RECEIVE),
        _E.MISDATED: Row(_S.RECEIVING, _A.RECEIVE),  # its FPID is known: it is no copy of long ago that nobody knows
        _E.CONFLICT: Row(_S.ORPHANED, _A.REFUSE_CONFLICT),
        _E.REVERSAL: Row(_S.REVERSED, _A.REVERSE),
        _E.ANSWER: Row(_S.ORPHANED, _A.RECORD_LATE),
    },
}

_UNKNOWN = "nothing was ever recorded, asked or decided for it"
_UNDECIDED = "a reply is made only once there is a decision"
_ONCE = "its RECEIVED record became durable before this state was reached, and does so once"
_GONE = "the process that recorded, asked and timed it is gone, or has given it up"
_OVER = "only a payment in flight has a timer"
_READ = "the reply of a decision becomes ready once"
_JUDGED = "stand-in judges only a payment that is received and undecided"
_STORED = "a repeat is replied to from the stored outcome only once the decision's own reply is ready"
_JUDGEMENTS = (_E.ALLOWED, _E.FORBIDDEN, _E.TURNED_AWAY, _E.SILENCED)
_REPLIES = (_E.READY, _E.REPEAT_READY, _E.REPLY_SENT, _E.REPLY_FAILED)

_IMPOSSIBLE: dict[State, dict[Event, str]] = {
    _S.NEW: {
        _E.CONFLICT: "there is no content yet to differ from",
        **each((_E.RECORDED, _E.ANSWER, _E.DEADLINE, *_REPLIES), _UNKNOWN),
        **each(_JUDGEMENTS, _JUDGED),
    },
    _S.RECEIVING: {
        **each(_REPLIES, _UNDECIDED),
        **each(_JUDGEMENTS, "stand-in judges only what is durable: nothing may be said before"),
    },
    _S.OVERDUE: {
        _E.DEADLINE: "a payment has one timer, and it has fired",
        **each(_REPLIES, _UNDECIDED),
        **each(_JUDGEMENTS, "stand-in judges only what is durable: nothing may be said before"),
    },
    _S.ASKED: {_E.RECORDED: _ONCE, **each(_REPLIES, _UNDECIDED)},
    _S.DECIDING: {
        _E.RECORDED: _ONCE,
        _E.REPEAT_READY: _STORED,
        _E.REPLY_SENT: "nothing is sent before it is READY",
        **each(_JUDGEMENTS, _JUDGED),
    },
    _S.REPLYING: {_E.RECORDED: _ONCE, _E.READY: _READ, **each(_JUDGEMENTS, _JUDGED)},
    _S.REPLIED: {_E.RECORDED: _ONCE, _E.READY: _READ, _E.DEADLINE: _OVER, **each(_JUDGEMENTS, _JUDGED)},
    _S.UNDELIVERED: {_E.RECORDED: _ONCE, _E.READY: _READ, _E.DEADLINE: _OVER, **each(_JUDGEMENTS, _JUDGED)},
    _S.REVERSED: {_E.DEADLINE: _OVER, **each(_JUDGEMENTS, _JUDGED)},
    _S.ORPHANED: {**each((_E.RECORDED, _E.DEADLINE, *_REPLIES), _GONE), **each(_JUDGEMENTS, _JUDGED)},
}

LAW = Law(State, Event, _ROWS, _IMPOSSIBLE)
step = LAW.step

RESTS: dict[Kind, State] = {
    Kind.REPLIED: _S.REPLIED,
    Kind.UNDELIVERED: _S.UNDELIVERED,
    Kind.REVERSED: _S.REVERSED,
    Kind.ORPHANED: _S.ORPHANED,
    Kind.UNANSWERED: _S.ORPHANED,
}
"""The state in which a record of this kind leaves a payment. Nothing of ours is under way any more in these states: the
payment is remembered by its outcome alone. A REVERSED payment stays so, whichever record follows."""
DECIDES = (Kind.ANSWERED, Kind.STOOD_IN, Kind.DECLINED)
"""Kinds of record that hold the decision. A record of `RESTS` follows, or the process ended in between."""
FINAL = frozenset(RESTS.values())
"""The states in which a payment rests."""
