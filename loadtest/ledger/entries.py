"""The lines of the books of the hub, the processors and the journals. Each writes its own; `ledger` judges all.

The hash of its FPID names a payment, as in the gateway's log (`gateway.log.fpid_hash`, restated here). New fields go to
the end and have a default, so that older books stay readable. Pure.
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
"""The events in the hub's book."""


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
    """The participant that has the link; empty where there is only one."""
    content: str = ""
    """Digest of the content that was sent or submitted (see `contents`). Empty: nobody computed it."""


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
    """The node that gave the notice, or that got the attempt to submit, where that is known."""
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
    """The party that decided: receiver, hub or gateway."""
    content: str = ""
    """Digest of the content that was asked about, told or submitted (see `contents`). Empty: nobody computed it."""
    port: int = 0
    """The port that got the attempt to submit."""


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
    """For TOLD and PARKED: the party that acknowledged it, unless that is the processor."""
    key: str = ""
    """Hash of the idempotency key of an outbound payment."""
    by: str = ""
    """For SETTLED and CONTRADICTED: the party that says so."""
    source: str = ""
    """For USM: the notice (node/position) by which another process handed it on. Such news is told to nobody here."""
    said: str = ""
    """For LATE_ANSWER, LATE_REFUSAL and OVERRULED: the code that the hub got instead."""
    content: str = ""
    """For RECEIVED, SUBMITTED and RETRIED: digest of the message's content. Empty: nobody computed it."""


TOLD_KINDS = frozenset(
    {
        "STOOD_IN", "UNDELIVERED", "LATE_REFUSAL", "REVERSED", "ORPHANED", "DECLINED", "UNANSWERED", "OVERRULED",
        "SETTLED", "UNKNOWN", "UNSENT", "CONTRADICTED", "USM",
    }
)  # fmt: skip
"""The journal's kinds that the processor must be told about (the gateway's `steps.TOLD_KINDS`, restated)."""
