"""A payment that leaves, as its story (`outbound`) holds it, and what is said of it."""

from dataclasses import dataclass, field
from enum import Enum, auto
from math import inf

from gateway.payments.links import Link
from gateway.payments.outbound_law import State
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
    """Requests made in this round, but for the first of all."""
    attempt: int = 0
    """Numbers the requests."""
    under_way: int = 0
    """The attempt that is under way; 0: none. Events of another attempt are out of date."""
    left: bool = False
    """A request may have left."""
    left_before: bool = False
    """The same, before the present attempt."""
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
    """Connections that carried a request: an answer counts on these only."""
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
