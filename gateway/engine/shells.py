"""What the engine asks of the shells. They meet it in `daemon`."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from gateway.clock import Now
from gateway.payments.links import Link
from gateway.payments.steps import Kind
from gateway.payments.work import Ask, Install, MacJob
from gateway.wire.message import Message

ContextT = TypeVar("ContextT")


class HubLink(Link, Protocol):
    """What the engine asks of a link (hub/link.py)."""

    def send(self, body: bytes, context: object, *, until_s: float) -> bool:
        """Queue a whole message, of no use after `until_s`; False when the link is gone. Ends in `sent`, `unsent` or
        `expired` with the context.
        """

    def flush(self) -> None:
        """Write what is queued."""

    def manage(self, message: Message, now: Now) -> None:
        """Hand a verified management message to the session."""

    def proved(self, size: int) -> None:
        """Somebody who has the hub's key sent a frame of this size. Each frame gets one of these three verdicts."""

    def disproved(self, size: int, *, key_changes: bool) -> None:
        """A frame is no message, or its MAC is wrong. `key_changes`: it may be the hub's all the same."""

    def dropped(self, size: int) -> None:
        """A frame was not judged: no HSM said, or the disk does not keep up."""


def hub_link(link: Link) -> HubLink:
    """The link itself. The stories know it by its name, and got it from the engine."""
    return link  # type: ignore[return-value]  # `RECORDER` alone is no link of the hub's, and nothing leaves by it


class Links(Protocol):
    """What the engine asks of all links together (hub/pool.py)."""

    @property
    def links(self) -> Sequence[HubLink]:
        """Those that stand."""

    def submitters(self) -> Sequence[HubLink]:
        """Those that the hub has signed on to submit."""

    def recall(self, kind: type[ContextT]) -> list[ContextT]:
        """Take back what no link has begun to write and whose context is of this kind; returns the contexts."""


class Journal(Protocol):
    """What the engine asks of the journal."""

    durable: int

    def append(self, kind: Kind, body: bytes = b"", *, fpid: str = "", link: int = 0, wall_ns: int) -> int:
        """Append; returns the position. Raises JournalFault."""

    def commit(self) -> None:
        """Hand what was appended to the disk."""

    def has_room(self) -> bool:
        """Whether new payments may be taken in."""

    def has_room_for_act(self) -> bool:
        """Whether the record of an act may be taken in: room for some is kept in reserve."""


class Signer(Protocol):
    """What the engine asks of the HSMs. What is submitted comes back through `on_macs`, each with its result."""

    def submit(self, jobs: list[MacJob]) -> None:
        """Never waits."""

    def hold(self, keys: tuple[Install, ...]) -> None:
        """Let only tokens serve that have these keys, the seal key, and no others."""

    def install(self, key: Install) -> None:
        """Have every serving token take this key, too. The result comes through `on_installed`."""

    def check_of(self, label: str) -> str:
        """The check value of a key as the tokens compute it, upper-case hex; empty when none has said."""


class Processor(Protocol):
    """What the engine asks of the processor's client. Answers come back through `on_answers`, or never."""

    def ask(self, asks: list[Ask]) -> None:
        """Never waits."""

    def why_unasked(self, ask: Ask) -> str:
        """Why this question has not left, in words fit for a log; empty when no reason can be named."""
