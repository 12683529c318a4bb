"""A payment that leaves, as its story (`outbound`) holds it; what the story commands; what it notes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from math import inf
from typing import Protocol

from gateway.payments.ejection import Change
from gateway.payments.links import Link
from gateway.payments.outbound_law import State
from gateway.payments.steps import Kind
from gateway.payments.work import Standing, Submission


class Note(Enum):
    """An event that people may want to hear of; `engine` logs and counts it."""

    SUBMITTED = auto()
    UNAVAILABLE = auto()
    FULL = auto()
    CLASH = auto()
    SUBMITTED_AGAIN = auto()
    DECLINED = auto()
    TRANSMITTED = auto()
    RETRIED = auto()
    PAUSED = auto()
    INCONCLUSIVE = auto()
    SETTLED = auto()
    CONTRADICTED = auto()
    ANSWERED_AGAIN = auto()
    UNKNOWN = auto()
    UNSENT = auto()
    RESUMED = auto()
    STOPPED = auto()
    STARTED = auto()


@dataclass(slots=True, eq=False)
class Departure:
    """An outbound payment under way, or UNKNOWN."""

    key: str
    fpid: str
    content: bytes
    covered: bytes
    """The request, up to and without DE128, as it was first to leave."""
    state: State
    submitted_s: float
    """When this round of attempts began, on the monotonic clock; before the start of this process after a restart."""
    repeats: int = 0
    """Requests made in this round. The first of all does not count."""
    attempt: int = 0
    """Numbers the requests."""
    under_way: int = 0
    """The attempt that is under way; 0: none. Events of another attempt are out of date."""
    left: bool = False
    """A request may have left."""
    left_before: bool = False
    """A request may have left before the present attempt."""
    pauses: int = 0
    """Pauses in a row: each is twice the one before."""
    due_s: float = inf
    """When DEADLINE comes, or, once UNKNOWN, when it leaves memory; inf: no timer runs."""
    recording: int = 0
    """The position of the record that says how it stands, while that is on its way to the disk."""
    link: Link | None = None
    """The link by which the present attempt left, once it did."""
    link_before_id: int = 0
    """The link by which the latest attempt left that did leave."""
    sent_s: float = 0.0
    """When the latest attempt left."""
    is_first_here: bool = False
    """The present attempt is the first one that its link was given."""
    links: set[int] = field(default_factory=set)
    """Connections that carried a request. An answer counts on these only."""
    reason: str = ""
    """Why the last attempt ended."""
    inconclusive: str = ""
    """The hub's last inconclusive code."""
    durable: bool = False
    """Its submission is on disk. Nobody hears of it before."""
    outcome: Standing | None = None
    """How it will stand, once the record of that is durable."""
    standing: Standing | None = None
    """How it stands, once the record of that is durable."""
    waiting: list[Submission] = field(default_factory=list)
    """Submissions that wait for the outcome or, before the payment is durable, for that."""

    @property
    def stands(self) -> Standing:
        """How it stands, as far as that is durable: it is under way, or it has its outcome."""
        return self.standing or Standing(self.fpid, State.WAITING)


class Commands(Protocol):
    """What the story has the shells do. Each call only notes it for the end of this wake-up."""

    def record(self, kind: Kind, body: bytes, fpid: str, link: Link) -> int:
        """Append a record; returns its position."""

    def when_settled(self, position: int, payment: Departure) -> None:
        """Call `on_recorded` with this position when everything up to it is durable."""

    def depart(self, payment: Departure, covered: bytes, position: int, until_s: float) -> None:
        """Make the MAC of a request; call `on_durable` when `position` is, and bring READY when both are done, else
        UNSENT.
        """

    def hand(self, payment: Departure, link: Link, body: bytes, until_s: float) -> bool:
        """Put a request into the link's buffer; False: the link is gone. Brings `on_unsent` when it goes before the
        request was written, `on_link_down` when it goes after.
        """

    def submitters(self) -> Sequence[Link]:
        """The links that are signed on to submit."""

    def set_alarm(self, payment: Departure, at_s: float) -> None:
        """Bring DEADLINE at that time, unless `payment.due_s` is another one by then."""

    def tell_outbound(self, note: Note, fpid: str, detail: str = "", since_s: float = 0.0) -> None:
        """Log or count an event."""

    def tell_share(self, change: Change) -> None:
        """A link gets no new payments any more, or gets them again."""
