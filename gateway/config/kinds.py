"""The kinds of value that settings have, with their limits, and what a type tells about itself.

A pattern carries a description: it is what a person reads instead of the pattern. This module knows no setting.
"""

import typing
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Seconds = Annotated[float, Meta(ge=0.001, le=86400 * 30)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
# \Z, not $: a $ lets a newline at the end pass
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,40}\Z", description="1 to 40 letters, digits, _ . -")]
Text = Annotated[str, Meta(min_length=1, max_length=1000)]
RefusalCode = Annotated[str, Meta(pattern=r"^1[0-9]{3}\Z", description="four digits, the first of them 1")]
Group = Literal["sip", "sop", "fdp", "other", "usm"]
StandInMode = Literal["timer", "always", "never"]
Role = Literal["look", "operate", "approve", "peer"]
TwoPersonAct = Literal[
    "stand-in", "request-key", "start-submitting", "lift", "allow-key", "tell-again", "drop-notice", "reveal"
]
"""Acts that a second person can be asked for: all that do not only make us do less."""
AnyCode = Annotated[str, Meta(pattern=r"^[0-9]{4}\Z", description="four digits")]
SomeHubCode = Annotated[str, Meta(pattern=r"^9[0-9]{3}\Z", description="four digits, the first of them 9")]
HubCode = Annotated[str, Meta(pattern=r"^(9[0-9]{3})?\Z", description="four digits, the first of them 9, or nothing")]
KeyPart = Literal["use", "wrapped", "check"]
KeyPlace = Annotated[
    str,
    Meta(
        pattern=r"^(use|wrapped|check):([1-9][0-9]?|\*)\Z",
        description="use, wrapped or check, a colon, and a width of 1 to 99 or *",
    ),
]
KeyUse = Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{1,8}\Z", description="1 to 8 letters and digits")]
InstitutionId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{1,11}\Z", description="1 to 11 letters and digits")]
PaymentTypeCode = Annotated[str, Meta(pattern=r"^[0-9]{2}\Z", description="two digits")]
DaysApart = Annotated[int, Meta(ge=0, le=366)]
PeerName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,32}\Z", description="1 to 32 letters, digits, _ . -")]
InClear = Literal["", "anyone on the path may read and change it"]
"""That plain HTTP leaves this machine is said in words, or is a mistake."""
Url = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^/@\s]+(/\S*)?\Z", max_length=1000,
        description="http:// or https://, a host, perhaps a port and a path, in 1000 characters; no user, no blanks",
    ),
]  # fmt: skip
PeerUrl = Annotated[
    str,
    Meta(
        pattern=r"^(https?://[^/@\s]+(/\S*)?|unix:/\S{1,106})\Z", max_length=1000,
        description="http:// or https://, a host, perhaps a port and a path; or unix: and the path of a socket",
    ),
]  # fmt: skip


def struct_in(kind: Any) -> type[Struct] | None:
    """The table that a field's type stands for: `Tls` in `Tls | None`; None for a plain value."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return kind
    return next((found for item in typing.get_args(kind) if (found := struct_in(item))), None)


def described(kind: Any) -> dict[str, str]:
    """Pattern → its description, for all patterns in a type and in the types that it is made of."""
    found: dict[str, str] = {}
    for item in typing.get_args(kind):
        if isinstance(item, Meta):
            if item.pattern is not None:
                found[item.pattern] = item.description or ""
        else:
            found |= described(item)
    return found


def choices_in(kind: Any) -> tuple[Any, ...]:
    """The values that a type allows, where it is a choice or is made of one; otherwise none."""
    if typing.get_origin(kind) is Literal:
        return typing.get_args(kind)
    return next((found for item in typing.get_args(kind) if (found := choices_in(item))), ())


def is_many(kind: Any) -> bool:
    """Whether a field is an array of tables."""
    if typing.get_origin(kind) is Annotated:
        return is_many(typing.get_args(kind)[0])
    return typing.get_origin(kind) is tuple
