"""Every act: what it takes, whether it only makes us do less, and what it will mean."""

from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from gateway.config import Role, StandInMode
from gateway.scheme.news import Lift
from gateway.scheme.ring import Allow
from gateway.strict_json import Reader

WHY_MAX = 500
"""Characters that a reason may have."""
PLAIN = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z"
"""Text of one line, without control characters: it stands in records and on terminals."""
Line = Annotated[str, Meta(min_length=1, max_length=200, pattern=PLAIN, description="one line of text")]
Why = Annotated[str, Meta(min_length=1, max_length=WHY_MAX, pattern=PLAIN, description="one line of text")]
Position = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """It takes nothing."""


class Mode(Struct, frozen=True, forbid_unknown_fields=True):
    """How stand-in works from here on."""

    mode: StandInMode


class Use(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose key: `own`, which we sign with, or `hub`, which the hub signs with."""

    use: Literal["own", "hub"]


class Notice(Struct, frozen=True, forbid_unknown_fields=True):
    """A parked notice."""

    position: Position
    """Of the record that it tells."""
    to: Line = "processor"
    """The receiver that refused it."""


class Reveal(Struct, frozen=True, forbid_unknown_fields=True):
    """What is shown with names, amounts and account numbers."""

    scope: Line


class Number(Struct, frozen=True, forbid_unknown_fields=True):
    """An act that waits for a second person."""

    number: Position


class Kind(NamedTuple):
    """A kind of act."""

    name: str
    takes: type[Struct]
    means: str
    """What it will mean, told before it is done."""
    less: bool = False
    """It only makes us do less: it waits for nobody."""
    role: Role = "operate"


KINDS = {
    kind.name: kind
    for kind in (
        Kind("drain", Nothing, "This process signs off, finishes its payments in flight and ends. The hub and the "
             "processor use the other site.", less=True),
        Kind("stop-submitting", Nothing, "No payment of ours leaves this site any more, also after a restart, until "
             "submitting is started again. Payments that arrive are taken as before.", less=True),
        Kind("start-submitting", Nothing, "Payments of ours leave this site again. Those whose fate is unknown are "
             "repeated."),
        Kind("stand-in", Mode, "Stand-in works in this mode from here on, also after a restart. always: payments are "
             "answered without a question to the processor. never: those that it does not answer are refused."),
        Kind("request-key", Use, "The hub is asked for a new key, and the old one is superseded when it is in use."),
        Kind("allow-key", Allow, "The hub may bring back this key, which was superseded. Only when the hub says it was "
             "restored: whoever holds a captured key change could use it, too."),
        Kind("lift", Lift, "What the scheme's news has set counts no more, until other news sets it again."),
        Kind("tell-again", Notice, "The parked notice is told once more under its id."),
        Kind("drop-notice", Notice, "The parked notice is never told again: its receiver will not hear of it by us."),
        Kind("reveal", Reveal, "Names, amounts and account numbers are shown in the clear."),
        Kind("approve", Number, "The act that waits is done.", role="approve"),
        Kind("reject", Number, "The act that waits is not done.", role="approve", less=True),
    )
}  # fmt: skip
"""By name. Those that a second person can be demanded for stand in `config.kinds.TwoPersonAct`, too."""


class Order(Struct, frozen=True, forbid_unknown_fields=True):
    """What a client sends: `POST /acts/NAME`."""

    why: Why
    """The reason, in the words of whoever acts. It is kept in the journal: no customer's data."""
    what: dict[str, Any] = {}
    """What the act takes."""


_read_order = Reader(Order)


def read(kind: Kind, body: bytes) -> tuple[str, Struct]:
    """The reason, and what the act takes. Raises `ValueError`, saying what is wrong, never quoting."""
    try:
        order = _read_order(body)
        return order.why, msgspec.convert(order.what, kind.takes)
    except msgspec.DecodeError as error:  # a validation error is one, too
        raise ValueError(str(error)) from error


def words_of(takes: Struct) -> dict[str, str]:
    """What an act takes, for its record."""
    return {name: str(value) for name, value in msgspec.structs.asdict(takes).items() if value != ""}
