"""The story of a submission, told as it goes: where it is submitted next, what it meets there, how it ends."""

import pytest
from msgspec.structs import replace

from gateway.processor.examples import FPID, PENDING, SETTLED, UNKNOWN, UNSENT
from gateway.processor.messages import Problem, Progress, Reason, ReasonInformation, Status
from gateway.sdk import Limits, Prepared, Rejected, Settled, Unknown, Unsent, prepare
from gateway.sdk.answers import Met, Word
from gateway.sdk.submission import PENDING_PAUSE_S, Act, Attempt, Submission
from tests.sdk.test_prepared import PAYMENT

PREPARED = prepare(PAYMENT, "key-1")
LIMITS = Limits()
BOTH = (True, True)


def refused(code: str) -> Progress:
    """Settled with this refusal."""
    by = "hub" if code[0] == "9" else "receiver"
    return replace(SETTLED, decided=Status("RJCT", ReasonInformation(Reason(code))), by=by)


def declined(code: str = "", retry_after_s: float = 0.0) -> Word:
    return Word(Met.DECLINED, None, Problem("x", 503, code=code), retry_after_s)


WORDS = {
    **{met.name: Word(met) for met in Met},
    "PENDING": Word(Met.PENDING, PENDING),
    "SETTLED": Word(Met.SETTLED, SETTLED),
    "UNKNOWN": Word(Met.UNKNOWN, UNKNOWN),
    "UNSENT": Word(Met.UNSENT, UNSENT),
    "DECLINED": declined(),
    "9945": declined("9945"),
    "409": Word(Met.REJECTED, None, Problem("Conflict", 409)),
    "422": Word(Met.REJECTED, None, Problem("Unprocessable Content", 422)),
    "1114": Word(Met.SETTLED, refused("1114")),
    "9910": Word(Met.SETTLED, refused("9910")),
    "9934": Word(Met.SETTLED, refused("9934")),
}


class Play:
    """A submission and its clock."""

    def __init__(self, *, first: bool = True, limits: Limits = LIMITS, prepared: Prepared = PREPARED) -> None:
        self.now_s = 1000.0
        self.submission = Submission(prepared, ["a", "b"], limits, self.now_s, first=first)

    def next(self, ready: tuple[bool, bool] = BOTH) -> Attempt | None:
        """The next attempt, when it is due."""
        self.now_s = max(self.now_s, self.submission.due_s)
        return self.submission.attempt(self.now_s, ready)

    def go(self, *steps: str, ready: tuple[bool, bool] = BOTH) -> object:
        """`a SILENT`: the next attempt goes to a, and this is met there; `a? ABSENT`: it is a look. The outcome."""
        for step in steps:
            place, what = step.split()
            attempt = self.next(ready)
            assert attempt is not None, f"over before {step}: {self.submission.outcome}"
            went = "ab"[attempt.site] + ("?" if attempt.act is Act.LOOK else "")
            assert went == place, f"went to {went} instead of {step}"
            if what == "SILENT":
                self.now_s = attempt.until_s
            self.submission.heard(attempt, WORDS[what], self.now_s, 1.0)
        return self.submission.outcome

    def late(self, word: str) -> object:
        """Whatever it tries meets this until it is over. The outcome."""
        while (attempt := self.next()) is not None:
            self.submission.heard(attempt, WORDS[word], self.now_s, 1.0)
        return self.submission.outcome


OUTCOMES = [
    # the usual
    (["a SETTLED"], "Settled a 0000"),
    (["a 1114"], "Settled a 1114"),
    (["a 9910"], "Settled a 9910"),
    (["a PENDING", "a SETTLED"], "Settled a 0000"),
    # one site is no use
    (["a UNREACHED", "b SETTLED"], "Settled b 0000"),
    (["a DECLINED", "b SETTLED"], "Settled b 0000"),
    (["a SILENT", "b SETTLED"], "Settled b 0000"),
    (["a UNCLEAR", "b SETTLED"], "Settled b 0000"),
    # a connection that broke is made anew, once
    (["a BROKEN", "a PENDING", "a SETTLED"], "Settled a 0000"),
    (["a BROKEN", "a UNREACHED", "b SETTLED"], "Settled b 0000"),
    (["a BROKEN", "a BROKEN", "b SETTLED"], "Settled b 0000"),
    # a timeout here, and a 503 there: back to where it may be, as often as it takes
    (["a UNCLEAR", "b DECLINED", "a UNCLEAR", "b DECLINED", "a SETTLED"], "Settled a 0000"),
    (["a PENDING", "a BROKEN", "a UNREACHED", "b DECLINED", "a UNREACHED", "b DECLINED", "a 1114"], "Settled a 1114"),
    # one site is settled, whatever the other says
    (["a UNKNOWN", "b SETTLED"], "Settled b 0000"),
    (["a UNSENT", "b SETTLED"], "Settled b 0000"),
    (["a UNKNOWN", "b 1114"], "Settled b 1114"),
    (["a UNKNOWN", "b PENDING", "b UNKNOWN", "a SETTLED"], "Settled a 0000"),
    # nobody takes it, and surely nobody has
    (["a 422"], "Rejected a 422"),
    (["a 409"], "Rejected a 409"),
    (["a DECLINED", "b 409"], "Rejected b 409"),
    (["a UNREACHED", "b 422"], "Rejected b 422"),
    (["a PENDING", "a UNSENT", "b 422"], "Rejected b 422"),
    (["a 9945", "b 9945"], "Unsent 9945"),
    # rejected there, and it may be here: looked for, and no other site is asked to take it
    (["a SILENT", "b 409", "a? ABSENT", "a? SETTLED"], "Settled a 0000"),
    (["a SILENT", "b 422", "a? UNREACHED", "a? PENDING", "a SETTLED"], "Settled a 0000"),
    (["a UNKNOWN", "b 409", "a PENDING", "a SETTLED"], "Settled a 0000"),
    (["a BROKEN", "a 409", "a? ABSENT", "a? SETTLED"], "Settled a 0000"),
    # a refusal of the request that b made says nothing of what a may have sent
    (["a 9934"], "Settled a 9934"),
    (["a DECLINED", "b 9934"], "Settled b 9934"),
    (["a SILENT", "b 9934", "a SETTLED"], "Settled a 0000"),
    (["a UNKNOWN", "b 9934", "a UNKNOWN", "a SETTLED"], "Settled a 0000"),
    (["a SILENT", "b 9934", "a DECLINED", "a 9934"], "Settled a 9934"),
    (["a PENDING", "a UNREACHED", "b 9934", "a UNSENT"], "Settled b 9934"),
    (["a SILENT", "b 9910"], "Settled b 9910"),
    # another payment under our key: at the other site it would be a payment more
    (["a MISTAKEN"], "Unknown"),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "expected"), OUTCOMES, ids=[", ".join(steps) for steps, _ in OUTCOMES])
def test_how_it_ends(steps: list[str], expected: str) -> None:
    play = Play()
    outcome = play.go(*steps)
    assert name_of(outcome) == expected
    assert play.next() is None
    assert play.submission.outcome is outcome


def name_of(outcome: object) -> str:
    """In words."""
    match outcome:
        case Settled(site=site, code=code):
            return f"Settled {site} {code}"
        case Rejected(site=site, problem=problem):
            return f"Rejected {site} {problem.status}"
        case Unsent(code=code):
            return f"Unsent {code}".strip()
    return type(outcome).__name__


@pytest.mark.parametrize(
    ("steps", "rest", "expected"),
    [
        ([], "UNREACHED", "Unsent"),
        ([], "DECLINED", "Unsent"),
        (["a 9945", "b DECLINED"], "DECLINED", "Unsent"),
        (["a UNSENT"], "DECLINED", "Unsent"),
        (["a PENDING", "a UNSENT"], "UNSENT", "Unsent"),
        (["a SILENT"], "DECLINED", "Unknown"),
        (["a SILENT"], "UNREACHED", "Unknown"),
        (["a UNCLEAR"], "UNSENT", "Unknown"),
        (["a BROKEN", "a DECLINED"], "DECLINED", "Unknown"),
        (["a UNKNOWN"], "UNSENT", "Unknown"),
        (["a UNREACHED", "b SILENT"], "UNREACHED", "Unknown"),
        (["a PENDING"], "UNREACHED", "Unknown"),
        (["a PENDING"], "PENDING", "Unknown"),
        (["a SILENT", "b 409"], "ABSENT", "Unknown"),
        (["a SILENT", "b 9934"], "DECLINED", "Unknown"),
    ],
)
def test_when_time_is_over(steps: list[str], rest: str, expected: str) -> None:
    """Unsent only when every attempt was answered by somebody who took nothing; and in time."""
    play = Play()
    play.go(*steps)
    assert name_of(play.late(rest)) == expected
    within_s = LIMITS.submit_within_s + LIMITS.pause_max_s if expected == "Unsent" else LIMITS.within_s
    assert play.now_s <= 1000.0 + within_s


def test_who_was_killed_may_have_sent_it() -> None:
    """Not the first time, nothing that this process meets makes it unsent or rejected."""
    for rest in ("UNREACHED", "DECLINED", "UNSENT", "422", "409"):
        outcome = Play(first=False).late(rest)
        assert isinstance(outcome, Unknown)
        assert all(seen.may_have_it for seen in outcome.seen)
    assert name_of(Play(first=False).go("a SETTLED")) == "Settled a 0000"
    assert name_of(Play(first=False).go("a 9934", "b SETTLED")) == "Settled b 0000"
    assert name_of(Play(first=False).go("a DECLINED", "b 9934", "a 9934")) == "Settled a 9934"


def test_what_an_unknown_says() -> None:
    """What each site had to do with it, and what to look at."""
    play = Play()
    play.go("a SILENT", "b 409")
    outcome = play.late("ABSENT")
    assert isinstance(outcome, Unknown)
    assert [(seen.site, seen.last, seen.may_have_it) for seen in outcome.seen] == [
        ("a", "ABSENT", True),
        ("b", "REJECTED", False),
    ]
    assert outcome.problem is not None
    assert (outcome.problem.status, outcome.refused) == (409, None)
    play = Play()
    play.go("a SILENT", "b 9934")
    outcome = play.late("DECLINED")
    assert isinstance(outcome, Unknown)
    assert outcome.refused is not None


# --- where to, and when


def test_a_ready_site_is_preferred() -> None:
    """The first of those that are ready; when none is, the first that may have it, else the first."""
    for ready, place in [((True, True), "a"), ((False, True), "b"), ((True, False), "a"), ((False, False), "a")]:
        assert Play().go(f"{place} SETTLED", ready=ready)
    play = Play()
    play.go("b SILENT", ready=(False, True))
    play.go("a DECLINED", "b SETTLED", ready=(False, False))


def test_it_pauses_when_all_were_asked_in_vain() -> None:
    """Between the sites there is none; after each round twice the pause of before."""
    play, times = Play(), []
    for step in ("a DECLINED", "b DECLINED") * 3:
        play.go(step)
        times.append(round(play.now_s - 1000.0, 3))
    assert times == [0.0, 0.0, 0.1, 0.1, 0.3, 0.3]


def test_luck_shortens_a_pause() -> None:
    """By half at the most: a crowd of submissions spreads."""
    play = Play()
    for _ in range(2):
        attempt = play.next()
        assert attempt is not None
        play.submission.heard(attempt, WORDS["DECLINED"], play.now_s, 0.0)
    assert play.submission.due_s - play.now_s == pytest.approx(LIMITS.pause_s / 2)


@pytest.mark.parametrize(
    ("words", "pause_s"), [((1.0, 1.5), 1.0), ((1.0, 0.0), 0.1), ((60.0, 60.0), LIMITS.pause_max_s)]
)
def test_the_sites_are_left_alone_for_as_long_as_they_ask(words: tuple[float, float], pause_s: float) -> None:
    """By the one that asks for less, within limits."""
    play = Play()
    for seconds in words:
        attempt = play.next()
        assert attempt is not None
        play.submission.heard(attempt, declined(retry_after_s=seconds), play.now_s, 1.0)
    assert play.submission.due_s - play.now_s == pytest.approx(pause_s)


def test_a_site_that_has_it_under_way_is_asked_to_wait() -> None:
    """Its outcome comes in the response; one that does not wait is not asked without a pause."""
    play = Play()
    attempt = play.next()
    assert attempt is not None
    assert (attempt.act, attempt.wait_s) == (Act.SUBMIT, LIMITS.wait_s)
    play.submission.heard(attempt, WORDS["PENDING"], play.now_s, 1.0)
    assert play.submission.due_s == play.now_s + PENDING_PAUSE_S
    attempt = play.next()
    assert attempt is not None
    play.now_s += LIMITS.wait_s
    play.submission.heard(attempt, WORDS["PENDING"], play.now_s, 1.0)
    assert play.submission.due_s == play.now_s


def test_an_attempt_has_its_time_as_long_as_nothing_is_known_to_be_taken() -> None:
    """The last one before the offer ends, too: being cut short is what would make it unknown."""
    limits = replace(LIMITS, pause_s=2.0)
    play = Play(limits=limits)
    last = None
    while (attempt := play.next()) is not None:
        last = attempt
        play.submission.heard(attempt, WORDS["DECLINED"], play.now_s, 0.5)
    assert last is not None
    assert last.until_s == last.began_s + limits.call_within_s


def test_attempts_are_counted() -> None:
    """A clock that stands still is no reason to go on for ever."""
    play = Play(limits=replace(LIMITS, attempts_max=7))
    for _ in range(7):
        attempt = play.submission.attempt(1000.0, BOTH)
        assert attempt is not None
        play.submission.heard(attempt, WORDS["BROKEN"], 1000.0, 0.0)
    assert play.submission.attempt(1000.0, BOTH) is None
    assert isinstance(play.submission.outcome, Unknown)


@pytest.mark.parametrize(
    "changes",
    [
        {"wait_s": 12},
        {"wait_s": -1},
        {"submit_within_s": 80.0},
        {"submit_within_s": 0.0},
        {"pause_s": 3.0},
        {"pause_s": 0.0},
        {"attempts_max": 0},
        {"submissions_max": 0},
    ],
)
def test_limits_that_do_not_fit(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        replace(LIMITS, **changes)


def test_an_outcome_shows_nothing_of_a_customer() -> None:
    """A redirected account is in the progress."""
    assert repr(Play().go("a SETTLED")) == "<Settled>"
    assert FPID not in repr(Play(first=False).late("409"))
