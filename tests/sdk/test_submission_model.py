"""A submission against two sites and a hub that do whatever they may: any order, anything lost, anything late.

What the other side does is drawn from a seed out of what the gateways' document and the scheme allow. A request whose
response is lost may be taken at once, or when the submission is long over: it waits in a socket of a site that stands
still. The hub sees one payment for one FPID, whichever site sends it, and makes it once; a refusal of the request alone
may come to any of its requests. Who does what has moods, which last for a whole example or are drawn anew each time:
without them nearly every payment is settled at once. At the end everything that may still happen happens, and then what
was said is compared with what was done.
"""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.processor.examples import PENDING, SETTLED, UNKNOWN, UNSENT
from gateway.processor.messages import Problem, Progress
from gateway.sdk import Limits, Rejected, Settled, Unsent
from gateway.sdk.answers import Met, Word
from gateway.sdk.submission import Act, Attempt, Submission
from tests.sdk.test_submission import PREPARED, refused

LIMITS = Limits(attempts_max=30)
OF_PAYMENT = ("0000", "1114", "9910")
"""What becomes of a payment; whoever asks again hears the same."""
OF_REQUEST = "9934"
NOTHING = Word(Met.DECLINED, None, Problem("Service Unavailable", 503))
CONFLICT = Word(Met.REJECTED, None, Problem("Conflict", 409))


class Mood:
    """What somebody does each time: always the same, or drawn anew."""

    def __init__(self, draw: Random, *choices: str) -> None:
        self._draw = draw
        self._choices = choices
        self._always = draw.choice((*choices, ""))

    def __call__(self) -> str:
        return self._always or self._draw.choice(self._choices)


class Hub:
    """Makes a payment once."""

    def __init__(self, draw: Random) -> None:
        self.outcome = draw.choice(OF_PAYMENT)
        self.made = ""
        """The code that the payment has; empty: the hub does not have it."""

    def ask(self, said: str, *, alone: bool) -> str:
        """A request of it comes; the code that its sender hears, empty: none of use. `alone`: the sender's first."""
        if said == "request":
            # settles nothing for a sender of whose requests another one may have come
            return OF_REQUEST if alone else ""
        self.made = self.outcome
        return self.made if said == "right" else ""


class Gateway:
    """A site: keeps what it took, sends it whenever it likes."""

    def __init__(self, draw: Random, hub: Hub, *, clashes: bool) -> None:
        self.fate = Mood(draw, "answered", "unreached", "lost", "stuck")
        self.loss = Mood(draw, "SILENT", "BROKEN", "UNCLEAR")
        self._takes = Mood(draw, "takes", "declines")
        self._works = Mood(draw, "sends", "waits", "gives up")
        self._hears = Mood(draw, "right", "request", "lost")
        self._hub = hub
        self._clashes = clashes
        """It has another payment under the key."""
        self.word: Word | None = None
        """How the payment stands there; None: not there."""
        self.sent = 0
        self.stale = 0
        """Requests of the submission that it has not read yet."""

    def work(self, what: str = "") -> None:
        """It sends what is under way, if it likes."""
        if self.word is None or self.word.met is not Met.PENDING:
            return
        what = what or self._works()
        if what == "sends":
            self.sent += 1
            code = self._hub.ask(self._hears(), alone=self.sent == 1)
            if code:
                self.word = Word(Met.SETTLED, SETTLED if code == "0000" else refused(code))
        elif what == "gives up":
            self.word = Word(Met.UNKNOWN, UNKNOWN) if self.sent else Word(Met.UNSENT, UNSENT)

    def submit(self) -> Word:
        """It reads a submission: its response."""
        if self._clashes:
            return CONFLICT
        met = self.word.met if self.word is not None else None
        if met in {Met.PENDING, Met.SETTLED}:
            self.work()
        elif met is Met.UNKNOWN or self._takes() == "takes":
            self.word = Word(Met.PENDING, PENDING)
            self.work()
        else:
            return NOTHING
        assert self.word is not None
        return self.word

    def look(self) -> Word:
        self.work()
        return self.word or Word(Met.ABSENT)


class World:
    """All of it."""

    def __init__(self, draw: Random) -> None:
        self._draw = draw
        self.hub = Hub(draw)
        clashes = draw.choice([(False, False)] * 4 + [(True, False), (False, True), (True, True)])
        self.sites = [Gateway(draw, self.hub, clashes=clash) for clash in clashes]

    def meet(self, attempt: Attempt) -> Word:
        """What comes of it, however it is lost."""
        site = self.sites[attempt.site]
        for other in self.sites:
            other.work()
            while other.stale and self._draw.random() < 0.5:
                other.stale -= 1
                other.submit()
        fate = site.fate()
        if fate == "unreached":
            return Word(Met.UNREACHED)
        if attempt.act is Act.LOOK:
            return site.look() if fate == "answered" else Word(Met.SILENT)
        if fate == "stuck":
            site.stale += 1
        else:
            word = site.submit()
            if fate == "answered":
                return word
        return Word(Met[site.loss()])

    def end(self) -> None:
        """Everything that may still happen."""
        for site in self.sites:
            while site.stale:
                site.stale -= 1
                site.submit()
            for what in ("sends", "gives up"):
                site.work(what)


@settings(max_examples=2000)
@given(st.integers(0, 2**32))
def test_what_is_said_of_a_payment_is_what_became_of_it(seed: int) -> None:
    """Unsent and rejected: the hub never has it. Settled: with the hub's code, also when all that is late has come."""
    draw = Random(seed)  # noqa: S311 - a model, not a secret
    world = World(draw)
    now_s, attempts = 0.0, 0
    submission = Submission(PREPARED, ["a", "b"], LIMITS, now_s, first=True)
    ready = draw.choice([(True, True), (False, True)])
    while (attempt := submission.attempt(now_s, ready)) is not None:
        assert attempt.began_s == now_s < attempt.until_s <= LIMITS.within_s
        attempts += 1
        word = world.meet(attempt)
        now_s = attempt.until_s if word.met is Met.SILENT else now_s + 0.01
        submission.heard(attempt, word, now_s, draw.random())
        now_s = max(now_s, submission.due_s)
    outcome = submission.outcome
    assert outcome is not None
    assert attempts <= LIMITS.attempts_max
    assert now_s <= LIMITS.within_s + LIMITS.pause_max_s
    assert submission.prepared is PREPARED
    if not isinstance(outcome, Settled):
        world.end()
        if isinstance(outcome, Unsent | Rejected):
            assert not any(site.sent for site in world.sites), "called unsent, and it was sent"
        return
    said = outcome.code
    world.end()
    if said == OF_REQUEST:
        assert not world.hub.made, "called refused, and the hub has it"
    else:
        assert world.hub.made == said


WORDS = st.builds(
    Word,
    st.sampled_from(sorted(set(Met) - {Met.SETTLED, Met.DECLINED, Met.REJECTED}, key=lambda met: met.value)),
) | st.sampled_from([Word(Met.SETTLED, progress) for progress in (SETTLED, refused("1114"), refused(OF_REQUEST))]
    + [NOTHING, replace(NOTHING, retry_after_s=5.0), CONFLICT])  # fmt: skip


@given(st.lists(st.tuples(WORDS, st.floats(0, 20)), max_size=80), st.booleans())
def test_any_words_in_any_order_end_within_the_limits(words: list[tuple[Word, float]], first: bool) -> None:  # noqa: FBT001 - drawn
    """Also such as no gateway would say in this order; and what was in doubt once is never called unsent."""
    now_s, doubt = 0.0, not first
    submission = Submission(PREPARED, ["a", "b"], LIMITS, now_s, first=first)
    attempts = 0
    while (attempt := submission.attempt(now_s, (True, True))) is not None:
        word, took_s = words[attempts] if attempts < len(words) else (Word(Met.UNREACHED), 0.0)
        attempts += 1
        now_s = min(now_s + took_s, attempt.until_s)
        submission.heard(attempt, word, now_s, 0.5)
        submitted = attempt.act is Act.SUBMIT
        doubt |= word.met is Met.UNKNOWN or (submitted and word.met in {Met.BROKEN, Met.SILENT, Met.UNCLEAR})
        assert submission.due_s <= max(now_s, LIMITS.within_s)
        now_s = max(now_s, submission.due_s)
    outcome = submission.outcome
    assert attempts <= LIMITS.attempts_max
    if isinstance(outcome, Unsent | Rejected):
        settled = any(isinstance(word.progress, Progress) and word.met is Met.SETTLED for word, _ in words[:attempts])
        assert not doubt or settled
