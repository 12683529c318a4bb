"""The records of a payment: their kinds, and the layout of each body.

A kind is a step in a payment's life on disk. Its number never changes: a journal written today is read in ten years.
Bodies are MessagePack arrays (fields in the order below, new ones only at the end), or, where noted, the raw message.
`inbound_law` and `outbound_law` say which step may follow which; `journal` says how a record lies on disk.
"""

from enum import IntEnum

import msgspec
from msgspec import Struct


class Kind(IntEnum):
    """The kinds of record."""

    RECEIVED = 1
    """A payment request came, and its MAC is right. Body: the raw message."""
    ANSWERED = 2
    """The processor decided. Body: `Decision`."""
    STOOD_IN = 3
    """Stand-in decided. Body: `Decision`, with the request. Told."""
    REPLIED = 4
    """The reply was written to the link. No body."""
    UNDELIVERED = 5
    """The reply could not be sent on the link of its request. Body: `Undelivered`. Told."""
    LATE_ANSWER = 6
    """The processor answered after the payment was decided or given up. It need not be told, because the processor
    accepted, or stand-in had not accepted in its stead. Body: `Late`."""
    LATE_REFUSAL = 7
    """The processor refused after stand-in had accepted. Body: `Late`. Told."""
    REVERSED = 8
    """The hub reversed it. Body: `Reversal`. Told."""
    REPEATED = 9
    """A known payment or reversal came again and is replied to again. Body: the raw message."""
    ORPHANED = 10
    """Received, not decided, and the process ended. Body: `Orphan`. Told."""
    TOLD = 11
    """The processor acknowledged a notice. Body: `Told`."""
    PARKED = 12
    """The processor refuses a notice for good, and people must look. Body: `Parked`."""
    REFUSED = 13
    """A payment that we refuse without asking anyone: a bad field, a used FPID. Body: `Refused`."""
    REJECTED = 14
    """Bytes that are no message of the hub's: unreadable, or the MAC is wrong. Body: `Rejected`."""
    UNPLACED = 15
    """A 9624 or a response that belongs to nothing we know. Body: the raw message."""
    MANAGEMENT_IN = 16
    """A management message came. Body: the raw message."""
    MANAGEMENT_OUT = 17
    """A management message leaves. Body: the message without its MAC."""
    STARTED = 18
    """A gateway opened the journal. Body: `Started`."""
    STOPPED = 19
    """It closed it, having finished what was in flight. No body."""
    SEALED = 20
    """The HSM signed the chain up to here. Body: `Seal`."""
    DECLINED = 21
    """Stand-in was not allowed to accept, and refused with 1909. Body: `Decision`, with the request. Told."""
    UNANSWERED = 22
    """Stand-in was not allowed to accept, and nothing was answered. Body: `Orphan`. Told."""
    OVERRULED = 23
    """The processor refused a payment that must be accepted, and the gateway accepted it. Body: `Late`. Told."""
    SUBMITTED = 24
    """The processor submitted a payment; its request leaves. Body: `Submitted`."""
    RETRIED = 25
    """No conclusive answer came, and its request leaves once more. Body: `Retry`."""
    SETTLED = 26
    """An outbound payment has its outcome. Body: `Settlement`. Told."""
    UNKNOWN = 27
    """An outbound payment may have left, and nobody said what became of it. Body: `Unsettled`. Told."""
    UNSENT = 28
    """An outbound payment was recorded and certainly never left. Body: `Unsettled`. Told."""
    INCONCLUSIVE = 29
    """The hub's answer to an outbound payment settles nothing. Body: the raw message."""
    CONTRADICTED = 30
    """The hub answered an outbound payment a second time, and differently. Body: `Settlement`. Told."""
    USM = 31
    """The hub's news (9824), from a link of ours or handed on by a process of ours. Body: `News`. Told."""
    PERMITS = 32
    """All that the scheme lets us do. Body: `permits.Permits`. The latest record counts."""
    KEYS = 33
    """The keys in use, on trial and superseded. Body: `ring.Ring`. The latest record counts."""
    STAND_IN_MODE = 34
    """Stand-in's mode was set. Body: `StandInMode`. The latest record counts."""
    LIFTED = 35
    """An operator lifted what the scheme's news had set. Body: `Lifted`."""
    MESSAGE_IDS = 36
    """How many ids of our own management messages (DE11) are spoken for. Body: `MessageIds`. The highest counts."""
    KEY_ALLOWED = 37
    """An operator allowed a superseded key to come back. Body: `KeyAllowed`."""
    SUBMIT_MODE = 38
    """An operator stopped submitting, or started it again. Body: `SubmitMode`. The latest counts."""
    DROPPED = 39
    """An operator dropped a parked notice: nobody is told it any more. Body: `Dropped`."""
    ACT = 40
    """Somebody has this process do something, or what came of it. Body: `Act`."""
    CONFIGURED = 41
    """The settings of this process at its start. Body: `Configured`. The latest counts."""


TOLD_KINDS = frozenset(
    {
        Kind.STOOD_IN, Kind.UNDELIVERED, Kind.LATE_REFUSAL, Kind.REVERSED, Kind.ORPHANED,
        Kind.DECLINED, Kind.UNANSWERED, Kind.OVERRULED,
        Kind.SETTLED, Kind.UNKNOWN, Kind.UNSENT, Kind.CONTRADICTED, Kind.USM,
    }
)  # fmt: skip
"""The steps that the processor is told about until it acknowledges."""
LASTING_KINDS = frozenset(
    {Kind.PERMITS, Kind.KEYS, Kind.STAND_IN_MODE, Kind.MESSAGE_IDS, Kind.SUBMIT_MODE, Kind.CONFIGURED}
)
"""Kinds of which the latest record counts, however old it is. `lasting` says when each is written anew."""


class Decision(Struct, frozen=True, array_like=True, gc=False):
    """The one outcome of a payment, and the reply as it will be sent but for its MAC."""

    code: str
    """DE26, four digits."""
    field: str
    """DE44, three digits, or empty."""
    content: bytes
    """Digest of the request's content (eight bytes): tells a repeat from another payment with the same FPID."""
    reply: bytes
    """The 9210 up to and without DE128."""
    request: bytes = b""
    """The raw request, where the step is told."""
    pence: int = 0
    """STOOD_IN: the amount (DE6), which counts towards the day's total."""


class Undelivered(Struct, frozen=True, array_like=True, gc=False):
    """Why a reply did not leave, or may not have."""

    reason: str
    """`link-lost`, `too-late`, `no-mac`; or, when it may have left all the same, `link-lost-writing` or `restart`."""
    code: str
    request: bytes


class Late(Struct, frozen=True, array_like=True, gc=False):
    """The processor's answer that came too late, and the code that had been decided in its stead."""

    code: str
    stood_in: str
    request: bytes


class Reversal(Struct, frozen=True, array_like=True, gc=False):
    """A reversal, and what it found."""

    message: bytes
    """The raw 9420 or 9421."""
    found: str
    """The payment's state (`inbound_law.State`) when the reversal came; `NEW` when it was never seen."""
    code: str
    """What had been decided, or empty."""
    content: bytes
    """Digest of the request's content; eight zero bytes when the request was never seen."""


class Orphan(Struct, frozen=True, array_like=True, gc=False):
    """A payment that a restart found undecided."""

    request: bytes
    content: bytes
    """Digest of the request's content, eight bytes."""


class Submitted(Struct, frozen=True, array_like=True, gc=False):
    """What the processor submitted, as it leaves."""

    key: str
    """The processor's idempotency key."""
    content: bytes
    """Digest of what was submitted (eight bytes): tells the same payment from another one under the same key."""
    covered: bytes
    """The 9200 up to and without DE128."""


class Retry(Struct, frozen=True, array_like=True, gc=False):
    """Another attempt."""

    attempt: int
    """2 for the first repeat."""
    covered: bytes
    """The 9201 (or 9200, when nothing left before) up to and without DE128."""
    key: str = ""
    content: bytes = b""
    """As in `Submitted`: when an UNKNOWN payment is submitted again, its other records may be deleted already."""


class Settlement(Struct, frozen=True, array_like=True, gc=False):
    """The outcome of an outbound payment."""

    key: str
    content: bytes
    code: str
    """DE26."""
    field: str
    """DE44, or empty."""
    by: str
    """Who says so: `receiver` or `hub`."""
    response: bytes
    """The raw 9210."""
    covered: bytes
    """The request, up to and without DE128."""


class Unsettled(Struct, frozen=True, array_like=True, gc=False):
    """An outbound payment that is UNKNOWN or UNSENT."""

    key: str
    content: bytes
    reason: str
    """How the last attempt ended: `no-answer`, `link-lost`, `no-link`, `no-mac`, `too-old`, `restart`, or
    `inconclusive`; `stopped`: the next one would have met an operator's stop. What is UNKNOWN by that is repeated when
    submitting is started again."""
    code: str
    """The hub's last inconclusive code, or empty."""
    attempts: int
    covered: bytes


class News(Struct, frozen=True, array_like=True, gc=False):
    """A 9824, and by which way it came."""

    message: bytes
    """Raw."""
    source: str = ""
    """The notice's id when another process of ours handed it on; empty when a link of ours brought it."""
    stamp: str = ""
    """Its place in the order of all news, where the message's own time is none: the hub's clock had stepped back."""


class Lifted(Struct, frozen=True, array_like=True, gc=False):
    """What an operator lifted."""

    what: str
    """One of `permits.THINGS`."""
    institution: str
    """As in the news; empty: us, or everyone."""
    stamp: str
    """The stamp of the news that had set it. That news does not set it again; later news does."""
    reason: str
    """In the operator's words."""


class MessageIds(Struct, frozen=True, array_like=True, gc=False):
    """A mark ahead of the ids in use: a process that reads it begins behind it."""

    spoken_for: int
    """Ids since the journal began, all rounds of 999,999 counted."""


class KeyAllowed(Struct, frozen=True, array_like=True, gc=False):
    """Which superseded key may come back, once."""

    use: str
    """`hub` or `own`: who signs with it."""
    check: str
    """Its check value, upper-case hex."""
    reason: str
    """In the operator's words."""


class StandInMode(Struct, frozen=True, array_like=True, gc=False):
    """How stand-in works from here on."""

    mode: str
    """`timer`, `always` or `never`."""
    configured: str = ""
    """The configured mode at that time. A start that finds another one knows that it was changed since."""


class SubmitMode(Struct, frozen=True, array_like=True, gc=False):
    """Whether payments leave from here on."""

    stopped: bool
    since_ns: int
    """When that was ordered, by the wall clock; what is recorded anew keeps it."""


class Act(Struct, frozen=True, array_like=True, gc=False):
    """What somebody has this process do. The first record of an act says all; those that follow have its number."""

    act: str
    """One of `acts.table.KINDS`, or `reload`, or `configuration`: its settings are not those of the start before."""
    phase: str
    """`asked`: it waits for a second person. `begun`. `done`, `failed`, `lapsed`: it is over."""
    who: str
    """Name of the actor; empty: not known by name."""
    origin: str
    """By which way, and what that proved."""
    why: str
    what: dict[str, str]
    """What the act takes; in a record that follows, what came of it. No payment's data."""
    number: int = 0
    """The position of the act's first record; 0: this is it."""
    time_ns: int = 0
    """When it was done, where that is not when it was recorded: a gateway that was stopped."""


class Configured(Struct, frozen=True, array_like=True, gc=False):
    """The settings of this process."""

    settings: dict[str, str]
    """By name, each as JSON. A secret by a digest alone."""


class Told(Struct, frozen=True, array_like=True, gc=False):
    """Which notice was acknowledged."""

    position: int
    to: str = "processor"
    """By whom: the name of the follower that tells."""


class Parked(Struct, frozen=True, array_like=True, gc=False):
    """Which notice was refused for good, and with which HTTP status."""

    position: int
    status: int
    to: str = "processor"


class Dropped(Struct, frozen=True, array_like=True, gc=False):
    """Which parked notice was dropped, and why."""

    position: int
    reason: str
    """In the operator's words."""
    to: str = "processor"


class Refused(Struct, frozen=True, array_like=True, gc=False):
    """The message that came, and the reply without its MAC."""

    code: str
    field: str
    message: bytes
    reply: bytes


class Rejected(Struct, frozen=True, array_like=True, gc=False):
    """The bytes that came, our reason (DE24 of the 9624), where they are bad, and the 9624 without its MAC."""

    function_code: str
    where: str
    message: bytes
    reply: bytes


class Started(Struct, frozen=True, array_like=True, gc=False):
    """Who opened the journal."""

    node: str
    version: str
    fingerprint: str


class Seal(Struct, frozen=True, array_like=True, gc=False):
    """A MAC by the HSM's key `key` over the chain value `chain` of record `position`."""

    position: int
    chain: bytes
    key: str
    mac: bytes


BODIES: dict[Kind, type[Struct]] = {
    Kind.ANSWERED: Decision,
    Kind.STOOD_IN: Decision,
    Kind.UNDELIVERED: Undelivered,
    Kind.LATE_ANSWER: Late,
    Kind.LATE_REFUSAL: Late,
    Kind.REVERSED: Reversal,
    Kind.ORPHANED: Orphan,
    Kind.TOLD: Told,
    Kind.PARKED: Parked,
    Kind.REFUSED: Refused,
    Kind.REJECTED: Rejected,
    Kind.STARTED: Started,
    Kind.SEALED: Seal,
    Kind.DECLINED: Decision,
    Kind.UNANSWERED: Orphan,
    Kind.OVERRULED: Late,
    Kind.SUBMITTED: Submitted,
    Kind.RETRIED: Retry,
    Kind.SETTLED: Settlement,
    Kind.UNKNOWN: Unsettled,
    Kind.UNSENT: Unsettled,
    Kind.CONTRADICTED: Settlement,
    Kind.USM: News,
    Kind.STAND_IN_MODE: StandInMode,
    Kind.LIFTED: Lifted,
    Kind.MESSAGE_IDS: MessageIds,
    Kind.KEY_ALLOWED: KeyAllowed,
    Kind.SUBMIT_MODE: SubmitMode,
    Kind.DROPPED: Dropped,
    Kind.ACT: Act,
    Kind.CONFIGURED: Configured,
}
"""The body of each kind. Kinds that are not here hold a raw message or nothing."""

_encoder = msgspec.msgpack.Encoder()
pack = _encoder.encode
"""Encode a body."""
_decoders = {kind: msgspec.msgpack.Decoder(body) for kind, body in BODIES.items()}


def unpack(kind: Kind, body: bytes) -> Struct:
    """Decode the body of a kind in `BODIES`. Raises `msgspec.DecodeError` when the bytes are no such body."""
    try:
        unpacked: Struct = _decoders[kind].decode(body)
    except (UnicodeDecodeError, RecursionError):
        raise msgspec.DecodeError("the body is no MessagePack of this kind") from None
    return unpacked
