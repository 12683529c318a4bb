"""A token as the pool sees it: its state, its worker, its questions. Data; `tokens` and `pool` act on it."""

from collections import deque
from math import inf
from typing import NamedTuple

import trio

from gateway import config, metrics
from gateway.payments.work import MacJob as Job
from gateway.signer.breaker import Breaker
from gateway.signer.choice import Pace
from gateway.signer.messages import Held, Shown
from gateway.signer.outage import Outage, TokenState
from gateway.signer.process import Worker


class TokenHealth(NamedTuple):
    """The state of a token, for `/ready` and `/statistics`."""

    state: TokenState
    why: str
    """In words; empty when it serves."""
    local: bool
    in_flight: int
    """Jobs under way in it."""
    used: bool
    """It gets work: it serves, and no other one is preferred."""
    answer_s: float
    """How long it takes to answer, as of now."""


class Batch:
    """A question to a token. `jobs` is empty when it shall show or take keys."""

    __slots__ = ("began_s", "doubled", "due_s", "jobs", "late_s", "number", "sent_s", "told", "within_s")

    def __init__(self, number: int, jobs: list[Job], sent_s: float, within_s: float, told: tuple[Held, ...]) -> None:
        self.number = number
        self.jobs = jobs
        self.sent_s = sent_s
        self.within_s = within_s
        """How long it may take once its turn has come."""
        self.told = told
        """The keys that the token had been told to have when it was asked."""
        self.began_s = inf
        """When its turn came."""
        self.late_s = inf
        """When another token gets the jobs as well; set when the batch's turn comes."""
        self.due_s = inf
        """When the token counts as hung; set when the batch's turn comes."""
        self.doubled: frozenset[Job] = frozenset()
        """Jobs that another token was given as well and owes now. An answer of this one still counts."""

    def owed(self) -> list[Job]:
        """The jobs that this token still owes."""
        return [job for job in self.jobs if job not in self.doubled] if self.doubled else self.jobs


class Member:
    """A token of the pool."""

    def __init__(self, token: config.Token) -> None:
        self.token = token
        self.state: TokenState = "starting"
        self.why = "starting"
        self.tried = False
        """Its first attempt has ended, or has shown its keys."""
        self.told: tuple[Held, ...] = ()
        """The keys that its worker was last told to have."""
        self.learning = False
        """It was told a key that it may have to unwrap, and gets no jobs until it has shown its keys."""
        self.has: Shown | None = None
        """The keys that it showed last; kept while it is away, because it still has a say in which keys are right."""
        self.worker: Worker | None = None
        self.shown = trio.Event()
        """Its present worker has shown its keys."""
        self.under_way: deque[Batch] = deque()
        self.jobs = 0
        self.breaker = Breaker()
        self.pace = Pace()
        """Kept while it is away: a token that hung has to show that it is well before it is preferred."""
        self.used = False
        self.scope = trio.CancelScope()
        self.outage: Outage | None = None
        """Why its present worker is given up."""
        self.last_logged: Outage | None = None
        """The trouble that the log named last."""
        self.serving_since_s = inf
        self.batch_s = metrics.SIGNER_BATCH_S.labels(token.name)
        self.up = metrics.SIGNER_TOKEN_UP.labels(token.name)
        self.up.set(0)
        self.keys_differ = metrics.SIGNER_KEYS_DIFFER.labels(token.name)
        self.keys_differ.set(0)

    def begin(self) -> None:
        """Get ready for another worker."""
        self.outage = None
        self.learning = False
        self.shown = trio.Event()

    def health(self) -> TokenHealth:
        """For people."""
        answer_s = round(self.pace.answer_s, 4)
        return TokenHealth(self.state, self.why, self.token.local, self.jobs, self.used, answer_s)

    def expected_s(self, now_s: float) -> float:
        """How long its next answer may take."""
        return self.pace.expected_s(now_s - self.under_way[0].began_s if self.under_way else 0.0)
