"""What a line of each book can say: the hub's, the processors', the journals'. Written by each, judged by `ledger`.

A payment is named by its FPID's hash, as in the gateway's log (`gateway.log.fpid_hash`, restated here). Fields are
added at the end, with a default: books that were kept before stay readable. Pure.
"""

import hashlib
from typing import Literal

from msgspec import Struct


def fpid_hash(fpid: str) -> str:
    """Sixteen hex digits that name a payment and say nothing about it."""
    return hashlib.blake2b(fpid.encode(), digest_size=8, person=b"fps-fpid").hexdigest()


def key_hash(key: str) -> str:
    """Sixteen hex digits that name the processor's idempotency key."""
    return hashlib.blake2b(key.encode(), digest_size=8, person=b"fps-key").hexdigest()


HubWhat = Literal[
    "start",  # the book begins
    "connected",  # the node `why` of a participant connected, on `link`: only where the hub can know that
    "disconnected",  # that connection ended; `why`: the hub ended it
    # what the hub sends to a receiver
    "sent",  # a 9200, or a repeat (`mti` 9201), was written to `link`
    "replied",  # a 9210 for it came; `late`: after the hub had taken it for timed out
    "timed-out",  # the hub's patience ended (`why` "patience") or the connection was lost ("link-lost")
    "reversal-sent",  # a 9420 or 9421
    "reversed",  # its 9430, with `code`
    "given-up",  # no more repeats, or a reversal that nobody answers
    # what a sender submits to the hub
    "submitted",  # a 9200 or 9201 (`mti`) of a participant came on `link`; its MAC is right, its FPID readable
    "relayed",  # the hub passed it on to its receiver, which may be a simulated bank of the hub's own
    "outcome",  # what became of it, with `code`: once for each FPID, and never the code of an injected fault
    "answered",  # a 9210 with `code` left for its sender on `link`; `why` names the fault when it is an injected one
    "returned",  # refused with `code` after its sender was told 0000: it comes back, by the return whose hash is `why`
    # keys and news, on demand
    "key",  # a key's change comes to a step: `why`; `code` is the key's check value where it is announced or taken
    "usm",  # a 9824 with function `code` was written to `link`; `why` names its content
    "usm-acknowledged",  # its 9834 came
    # either
    "fault",  # something the scheme forbids: `why`
    "mischief",  # the hub misbehaves on purpose: `why`; `fpid` only when it is a payment of its own
    "mischief-answered",  # with what, and whether that is right (`why` empty)
    "mischief-missed",  # the answer did not come in time, or was another: `why`
    "end",  # the hub finished and everything it sent is settled
]
"""What a line of the hub's book can say."""


class HubEvent(Struct, omit_defaults=True, gc=False):
    """A line of the hub's book. `t` and `intended` are seconds of the hub's clock."""

    event: HubWhat
    fpid: str = ""
    """Hash of the FPID; empty when the event is about no payment."""
    t: float = 0.0
    intended: float = 0.0
    link: int = 0
    site: str = ""
    mti: str = ""
    code: str = ""
    late: bool = False
    why: str = ""
    member: str = ""
    """The participant whose link it is; empty where there is but one."""
    content: str = ""
    """Of what was sent or submitted: `contents` says what that is. Empty: nobody looked."""


class ProcessorEvent(Struct, omit_defaults=True, gc=False):
    """A line of a processor's book."""

    event: Literal[
        "asked",  # the gateway asked about a payment that came
        "answered",  # it got `code`
        "noticed",  # the gateway told a step (`kind`, and `code` where something was decided)
        "submitting",  # this processor is about to submit a payment for the first time, under `key`
        "submitted",  # how an attempt went: HTTP `status` (0: no response), and the `state` and `code` in it
    ]
    fpid: str = ""
    code: str = ""
    node: str = ""
    """Whose notice it is, or, only where that is known, whom an attempt to submit went to."""
    position: int = 0
    """Journal position of the step that a notice is about."""
    acknowledged: bool = True
    kind: str = ""
    key: str = ""
    """Hash of the idempotency key."""
    status: int = 0
    state: str = ""
    """PENDING, SETTLED, UNKNOWN or UNSENT."""
    by: str = ""
    """Who decided: receiver, hub or gateway."""
    content: str = ""
    """Of what was asked about, told or submitted: `contents` says what that is. Empty: nobody looked."""
    port: int = 0
    """Where an attempt to submit went."""


class JournalEvent(Struct, omit_defaults=True, gc=False):
    """A record of a node's journal."""

    position: int
    kind: str
    """Its name in `gateway.payments.steps.Kind`."""
    fpid: str = ""
    code: str = ""
    told: int = 0
    """For TOLD, PARKED and DROPPED: the position of the step told."""
    to: str = ""
    """The same: by whom it was acknowledged, when that is not the processor."""
    key: str = ""
    """Hash of the idempotency key of an outbound payment."""
    by: str = ""
    """For SETTLED and CONTRADICTED: who says so."""
    source: str = ""
    """For USM: the notice (node/position) by which another process handed it on; such news is told to nobody here."""
    said: str = ""
    """For LATE_ANSWER, LATE_REFUSAL and OVERRULED: what the hub was told instead."""
    content: str = ""
    """For RECEIVED, SUBMITTED and RETRIED: of the message in it. Empty: nobody looked."""


TOLD_KINDS = frozenset(
    {
        "STOOD_IN", "UNDELIVERED", "LATE_REFUSAL", "REVERSED", "ORPHANED", "DECLINED", "UNANSWERED", "OVERRULED",
        "SETTLED", "UNKNOWN", "UNSENT", "CONTRADICTED", "USM",
    }
)  # fmt: skip
"""The journal's kinds that the processor must be told about (the gateway's `steps.TOLD_KINDS`, restated)."""
