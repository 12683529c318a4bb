"""One submission: the next site and its time, when to stop, and the result. No I/O, no clock, no chance.

Another shell than `client` (asyncio, threads) goes around it like this, with a clock that never steps:

    submission = Submission(prepared, ["a", "b"], Limits(), now(), first=True)
    while (attempt := submission.attempt(now(), ready=[True, True])) is not None:
        …                                 # POST /payments or GET /payments/{key} at that site, over before `until_s`
        submission.heard(attempt, word, now(), luck=random())
        …                                 # sleep until `submission.due_s`
    submission.outcome

`answers` reads `word` in the response. Without a response it is UNREACHED when there was no connection (only when no
byte of the request can have left), SILENT when the time was over, BROKEN when the connection broke.

The rules:

* Both sites make the same FPID of the payment, so the hub sees one payment, whichever of them send it. Going to the
  other site is always safe; calling a payment unsent is not. It is unsent when every attempt was answered by a gateway
  that took nothing, and never when one attempt was not answered.
* The submission stays with a site that has it under way, and tries a site once more, at once, after a connection broke.
  Otherwise it goes to each site in turn, the ready ones first, then those that may have it; it pauses after each round.
* A payment that surely no site took within `submit_within_s` is unsent. One that a site may have taken goes on being
  submitted, at either site, until `within_s`: a look that finds nothing does not prove that nothing will come.
* The first outcome that a site has counts, with one exception. Some refusals of the hub are about the request that it
  got, not about the payment (`request_codes`). A site knows only the requests that it sent itself. While the other may
  have sent one, such a refusal is kept, and is no outcome yet.
* When one site rejects the payment (409: key or FPID are another payment's), no other site is asked to take it. Sites
  that may have it are looked at.
"""

from collections.abc import Sequence
from enum import Enum, auto
from math import inf
from typing import NamedTuple

from msgspec import Struct

from gateway import config
from gateway.backoff import backoff_s, jittered_s
from gateway.processor.messages import Problem, Progress, Sensitive
from gateway.sdk.answers import Met, Word, code_of, says
from gateway.sdk.prepared import Prepared

IN_DOUBT = frozenset({Met.BROKEN, Met.SILENT, Met.UNCLEAR, Met.MISTAKEN})
"""After these the payment may have been taken, now or later, and only an outcome ends the doubt."""
PENDING_PAUSE_S = 0.5
"""The least time between attempts at a site that has it under way; it answers `Prefer: wait` with the outcome."""
ENDS_BEFORE_S = 1.0
"""How much less than the attempt may take a site is asked to wait."""


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """How long and how often. Raises ValueError when the times do not fit into each other."""

    submit_within_s: float = 30.0
    """How long the payment is offered to both sites while surely none has it."""
    within_s: float = 90.0
    """By then there is an outcome, if only `Unknown`. At least `call_within_s` above `submit_within_s`."""
    call_within_s: float = 12.0
    """How long one attempt may take. Above the gateway's `submissions.answer_within_s` (10 s), so that a slow site is
    heard out."""
    wait_s: int = 8
    """How long a site is asked to wait for the outcome (`Prefer: wait`). Below `call_within_s` by a second or more."""
    pause_s: float = 0.1
    """The pause after all sites were asked in vain; it doubles, with jitter, up to:"""
    pause_max_s: float = 2.0
    attempts_max: int = 200
    """Attempts in all; reaching it is like reaching `within_s`."""
    submissions_max: int = 512
    """Payments under way at once, each with a connection; one more is refused."""
    request_codes: tuple[str, ...] = config.Submit().request_codes
    """As the gateways' `pair.submit.request_codes`."""

    def __post_init__(self) -> None:
        """Check that they fit."""
        if not 0 <= self.wait_s <= self.call_within_s - ENDS_BEFORE_S:
            raise ValueError(f"wait_s ({self.wait_s}) must be {ENDS_BEFORE_S:g} s below call_within_s")
        if not 0 < self.submit_within_s <= self.within_s - self.call_within_s:
            raise ValueError("within_s must be at least submit_within_s and call_within_s together")
        if not 0 < self.pause_s <= self.pause_max_s or self.attempts_max < 1 or self.submissions_max < 1:
            raise ValueError("pauses and counts must be above 0, and pause_s not above pause_max_s")


class Act(Enum):
    """The kind of attempt."""

    SUBMIT = auto()
    LOOK = auto()


class Attempt(NamedTuple):
    """One request to one site."""

    site: int
    """Its place among the sites."""
    act: Act
    wait_s: int
    """SUBMIT: of `Prefer: wait`; 0: no such header."""
    began_s: float
    until_s: float
    """Without a whole response by then it is SILENT."""


class Seen(NamedTuple):
    """One site's part in it. Fit for a log: it holds no customer data."""

    site: str
    attempts: int
    last: str
    """The name of the `Met` of the last attempt there; empty: there was none."""
    may_have_it: bool
    """The payment may have been taken there, and may have left."""


class Settled(Sensitive, frozen=True):
    """The payment has its outcome: final."""

    site: str
    """The site that said so."""
    progress: Progress

    @property
    def accepted(self) -> bool:
        """Paid, or taken by the receiver to be paid later (`says` when); else refused, and not paid."""
        return self.code[:1] == "0"

    @property
    def code(self) -> str:
        """DE26: 0xxx accepted, 1xxx refused by the receiver, 9xxx by the hub."""
        assert isinstance(self.progress.decided, Struct)
        return code_of(self.progress.decided)

    @property
    def says(self) -> str:
        """The code in the gateway's words: for a qualified accept, when it is credited. Empty for 0000."""
        assert isinstance(self.progress.decided, Struct)
        return says(self.progress.decided)


class Rejected(Struct, frozen=True):
    """No gateway takes this payment, and surely none has: final. `problem` says which rule it breaks.

    409 is another matter: the key, or the FPID, belongs to another payment, which may be this one under another key.
    People must look before the payment is made in another way.
    """

    site: str
    problem: Problem


class Unsent(Struct, frozen=True):
    """Surely nothing of the payment left, and nobody has it: every attempt was answered by a site that took nothing.

    It may be submitted again, or given up.
    """

    seen: tuple[Seen, ...]
    code: str = ""
    """Where the sites took nothing because of the scheme's news: the code (DE26) that the payment would get now."""


class Unknown(Sensitive, frozen=True):
    """The payment may have left, and nobody has said what became of it: neither paid nor failed.

    Submit the same `Prepared` again, now or after a while, until it is `Settled`; a notice may say so, too.
    """

    seen: tuple[Seen, ...]
    problem: Problem | None = None
    """A site that does not have it rejects it: without it people must look."""
    refused: Progress | None = None
    """A site has it as refused, and the other may have sent it."""


Outcome = Settled | Rejected | Unsent | Unknown


class _Site:
    """One site's part in it."""

    __slots__ = ("attempts", "code", "doubt", "has_it", "last", "name", "problem", "refused")

    def __init__(self, name: str, *, doubt: bool) -> None:
        self.name = name
        self.attempts = 0
        self.last: Met | None = None
        self.doubt = doubt
        """An attempt was not answered, or it may have left there."""
        self.has_it = False
        """It said PENDING or UNKNOWN, and nothing else since."""
        self.code = ""
        """The code with which the scheme would refuse it now, as the site says."""
        self.problem: Problem | None = None
        self.refused: Progress | None = None
        """The outcome here: a refusal that proves nothing about the other site."""

    @property
    def may_have_it(self) -> bool:
        return self.doubt or self.has_it


class Submission:
    """One payment on its way to an outcome. One attempt at a time: `attempt`, then `heard`, from `due_s` on again."""

    def __init__(
        self, prepared: Prepared, sites: Sequence[str], limits: Limits, now_s: float, *, first: bool = False
    ) -> None:
        """`first`: nobody has submitted it before, not even a process that was killed; else it is never `Unsent`."""
        self.prepared = prepared
        self.outcome: Outcome | None = None
        self.due_s = now_s
        """When the next attempt may be made."""
        self._limits = limits
        self._sites = [_Site(name, doubt=not first) for name in sites]
        self._submit_until_s = now_s + limits.submit_within_s
        self._end_s = now_s + limits.within_s
        self._stay: _Site | None = None
        self._asked: set[int] = set()
        """Sites that were asked in this round."""
        self._retry_after_s = inf
        """The shortest pause that any of them asks for."""
        self._rounds = 0
        """Rounds in vain, in a row."""

    def attempt(self, now_s: float, ready: Sequence[bool]) -> Attempt | None:
        """The next one; None: it is over, see `outcome`. `ready`: which sites would take a payment, as it seems."""
        acts = {} if self._is_over(now_s) else self._acts(now_s)
        if not acts:
            self.outcome = self.outcome or self._unsettled()
            return None
        stay = next((number for number in acts if self._sites[number] is self._stay), None)
        fresh = [number for number in acts if number not in self._asked] or list(acts)
        number = stay if stay is not None else min(fresh, key=lambda n: (not ready[n], not self._sites[n].may_have_it))
        self._sites[number].attempts += 1
        until_s = min(now_s + self._limits.call_within_s, self._end_s)
        wait_s = max(0, min(self._limits.wait_s, int(until_s - ENDS_BEFORE_S - now_s)))
        return Attempt(number, acts[number], wait_s if acts[number] is Act.SUBMIT else 0, now_s, until_s)

    def _is_over(self, now_s: float) -> bool:
        attempts = sum(site.attempts for site in self._sites)
        return self.outcome is not None or now_s >= self._end_s or attempts >= self._limits.attempts_max

    def _acts(self, now_s: float) -> dict[int, Act]:
        """The attempt that each site may get, by its number."""
        found = ((number, self._act(site, now_s)) for number, site in enumerate(self._sites))
        return {number: act for number, act in found if act is not None}

    def _act(self, site: _Site, now_s: float) -> Act | None:
        if site.refused is not None:
            return None
        if any(other.problem is not None for other in self._sites):
            if site.problem is None and site.has_it:
                return Act.SUBMIT
            return Act.LOOK if site.may_have_it else None
        return Act.SUBMIT if now_s < self._submit_until_s or self._may_have_left else None

    # --- what it meets

    def heard(self, attempt: Attempt, word: Word, now_s: float, luck: float) -> None:
        """An attempt is over. `luck` in 0..1 spreads the pauses."""
        site = self._sites[attempt.site]
        broke_before, site.last = site.last is Met.BROKEN, word.met
        self._learn(site, attempt.act, word)
        if self.outcome is None and word.met is Met.PENDING:
            self._stay, self._rounds = site, 0
            self._asked.clear()
            self.due_s = max(now_s, attempt.began_s + PENDING_PAUSE_S)
        elif self.outcome is None and word.met is Met.BROKEN and not broke_before:
            self._stay, self.due_s = site, now_s
        elif self.outcome is None:
            self._stay = None
            self._asked.add(attempt.site)
            self._retry_after_s = min(self._retry_after_s, word.retry_after_s)
            self._turn(now_s, luck)

    def _turn(self, now_s: float, luck: float) -> None:
        """Turn to the next site; after the last one, pause."""
        self.due_s = now_s
        if not self._asked.issuperset(self._acts(now_s)):
            return
        limits = self._limits
        pause_s = jittered_s(backoff_s(self._rounds, limits.pause_s, limits.pause_max_s), luck)
        self.due_s = min(now_s + max(pause_s, min(self._retry_after_s, limits.pause_max_s)), self._end_s)
        self._rounds += 1
        self._retry_after_s = inf
        self._asked.clear()

    def _learn(self, site: _Site, act: Act, word: Word) -> None:
        """Learn from a word where the payment is, and whether that is an outcome."""
        met = word.met
        site.code = word.problem.code if word.problem is not None and met is Met.DECLINED else ""
        if met in {Met.PENDING, Met.UNKNOWN}:
            site.has_it = True
            site.doubt |= met is Met.UNKNOWN
        elif met is Met.UNSENT:
            site.has_it = False
        elif met is Met.REJECTED:
            site.problem = word.problem
        elif met is Met.SETTLED:
            self._settle(site, word.progress)
        elif met in IN_DOUBT:
            site.doubt |= act is Act.SUBMIT
        if met is Met.MISTAKEN:
            self.outcome = self._unsettled()  # at another site our key and FPID would be one payment more
        elif self.outcome is None and not self._may_have_left:
            self._certain()

    def _settle(self, site: _Site, progress: Progress | None) -> None:
        assert progress is not None
        # whatever else was sent there gets this outcome as well
        site.has_it = site.doubt = False
        settled = Settled(site.name, progress)
        if settled.code in self._limits.request_codes and self._may_have_left:
            site.refused = progress
        else:
            self.outcome = settled

    def _certain(self) -> None:
        """See whether there is an outcome, now that no site may have it."""
        for site in self._sites:
            if site.refused is not None:
                self.outcome = Settled(site.name, site.refused)
                return
            if site.problem is not None:
                self.outcome = Rejected(site.name, site.problem)
                return
        if all(site.code for site in self._sites):
            self.outcome = self._unsettled()

    @property
    def _may_have_left(self) -> bool:
        return any(site.may_have_it for site in self._sites)

    def _unsettled(self) -> Unsent | Unknown:
        """The result when nothing more is done and there is no outcome."""
        sites = self._sites
        seen = tuple(Seen(s.name, s.attempts, s.last.name if s.last else "", s.may_have_it) for s in sites)
        if not self._may_have_left:
            return Unsent(seen, next((site.code for site in sites if site.code), ""))
        problem = next((site.problem for site in sites if site.problem is not None), None)
        refused = next((site.refused for site in sites if site.refused is not None), None)
        return Unknown(seen, problem, refused)
