"""The story of a payment that leaves: playbooks for each branch, then any order of events. All through the engine."""

import pytest

from gateway.payments.outbound_law import State
from gateway.payments.work import Submission
from tests.conftest import Reached
from tests.fakes.engine import World, submission
from tests.fakes.outbound import LIMITS, Heard, answer, kinds, second, sent, unknown


def test_nothing_leaves_before_it_is_durable_and_authentic(world: World) -> None:
    world.submit(submission())
    world.macs()
    assert sent(world.link) == []
    world.sync()
    assert sent(world.link) == ["9200"]
    assert kinds(world) == ["SUBMITTED"]


def test_who_waits_hears_the_outcome_once_it_is_durable(world: World, heard: Heard) -> None:
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    answer(world)
    assert heard.states == [], "an outcome that is not durable is none"
    world.sync()
    assert heard.states == ["SETTLED"]
    standing = heard.all[0].standing
    assert standing is not None
    assert (standing.code, standing.by, standing.settlement) == ("0000", "receiver", "20261123002")
    assert kinds(world) == ["SUBMITTED", "SETTLED"]
    assert world.engine.in_flight == 0


def test_who_does_not_wait_hears_when_the_submission_is_durable(world: World, heard: Heard) -> None:
    world.submit(heard.of(submission()))
    assert heard.states == []
    world.sync()
    assert heard.states == ["WAITING"], "the HSM may take its time"


def test_who_waits_hears_that_it_is_durable_before_it_hears_the_outcome(world: World) -> None:
    said: list[str] = []
    one = submission(wait=True)
    one.done = lambda submitted: said.append(submitted.standing.state.name if submitted.standing else "")
    world.submit(one)
    assert said == []
    world.settle()
    answer(world)
    world.settle()
    assert said == ["WAITING", "SETTLED"]


def test_what_is_not_durable_is_not_shown(world: World) -> None:
    world.submit(submission())
    assert world.engine.look("key-1") is None
    world.sync()
    found = world.engine.look("key-1")
    assert found is not None
    assert found.state is State.WAITING


def test_who_went_away_is_told_nothing(world: World, heard: Heard) -> None:
    one = heard.of(submission(wait=True))
    world.submit(one)
    one.void = True
    world.settle()
    answer(world)
    world.settle()
    assert heard.all == []


def test_a_thousand_submissions_move_as_one_batch_at_every_stage(world: World) -> None:
    world.submit(*(submission(f"key-{n}", f"OUT{n}") for n in range(1000)))
    assert [len(batch) for batch in world.signer.batches] == [1000]
    world.macs()
    world.sync()
    assert world.journal.commits == 1
    assert len(world.link.sent) == 1000
    assert world.link.flushes == 1


@pytest.mark.parametrize(
    ("code", "by"), [("0000", "receiver"), ("0083", "receiver"), ("1114", "receiver"), ("9911", "hub")]
)
def test_the_first_digit_says_who_speaks(world: World, heard: Heard, code: str, by: str) -> None:
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    answer(world, code)
    world.sync()
    standing = heard.all[0].standing
    assert standing is not None
    assert (standing.code, standing.by) == (code, by)


def test_a_redirection_is_told(world: World, heard: Heard) -> None:
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    answer(world, redirected_agent="700003", redirected_account="00000007", asynchronous="1")
    world.sync()
    standing = heard.all[0].standing
    assert standing is not None
    assert (standing.redirected_agent, standing.redirected_account) == ("700003", "00000007")
    assert standing.asynchronous == "1"


def test_the_same_key_again_is_the_same_payment(world: World, heard: Heard) -> None:
    """While it is under way it waits too; afterwards it hears the outcome; it never leaves twice."""
    world.submit(heard.of(submission()), heard.of(submission(wait=True)))
    world.settle()
    world.submit(heard.of(submission(wait=True)))
    answer(world)
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    world.submit(heard.of(submission()))
    assert heard.states == ["WAITING", "SETTLED", "SETTLED", "SETTLED", "SETTLED"]
    assert sent(world.link) == ["9200"]


def test_other_content_under_the_key_or_its_fpid_is_a_conflict(world: World, heard: Heard) -> None:
    world.submit(submission())
    world.submit(heard.of(submission(amount="00000000009999")), heard.of(submission("key-2")))
    assert heard.states == ["conflict", "conflict"]
    assert [one.why.split()[0] for one in heard.all] == ["this", "another"]
    world.settle()
    answer(world)
    world.sync()
    world.submit(heard.of(submission(amount="00000000009999")), heard.of(submission("key-2")))
    assert heard.states == ["conflict"] * 4
    assert kinds(world) == ["SUBMITTED", "SETTLED"]


def test_without_a_link_nothing_is_recorded(world: World, heard: Heard) -> None:
    world.submitting = []
    world.submit(heard.of(submission()))
    assert heard.states == ["unavailable"]
    assert kinds(world) == []
    assert world.engine.in_flight == 0


@pytest.mark.parametrize("why", ["room", "closed", "full", "stale"])
def test_what_cannot_be_taken_is_unavailable(world: World, heard: Heard, why: str, reached: Reached) -> None:
    """A disk that does not keep up, a drain, too many under way, one that lay here while the machine slept: said at
    once, and nothing is recorded. The limit says that it was that.
    """
    if why == "room":
        world.journal.room = False
    elif why == "closed":
        world.closed = "draining"
    elif why == "full":
        world.submit(*(submission(f"key-{n}", f"OUT{n}") for n in range(1000)))
    before = len(kinds(world))
    last = submission("key-x", "OUTX")
    last.stale = "it lay here" if why == "stale" else ""
    world.submit(heard.of(last))
    assert heard.states == ["unavailable"]
    assert len(kinds(world)) == before
    assert reached("node.payments_max") == (([1000], 1) if why == "full" else ([], 0))


def test_what_is_known_keeps_its_standing_however_long_it_lay_here(world: World, heard: Heard) -> None:
    """Of one under way nobody says that nothing left; one that is UNKNOWN is not sent once more."""

    def again() -> Submission:
        one = submission()
        one.stale = "it lay here"
        return heard.of(one)

    unknown(world, heard)
    before = len(kinds(world))
    world.submit(again())
    assert heard.states == ["UNKNOWN"] * 2
    assert len(kinds(world)) == before
    world = World()
    world.submit(heard.of(submission()))
    world.settle()
    world.submit(again())
    assert heard.states == [*["UNKNOWN"] * 2, *["WAITING"] * 2]


def test_what_the_scheme_would_refuse_is_not_taken_and_not_settled(world: World, heard: Heard) -> None:
    """With the scheme's code. The other site may have sent it before it heard of that: we cannot say an outcome."""
    world.engine.outbound.taking._forbids = lambda _request: "9943"
    world.submit(heard.of(submission()))
    assert (heard.states, heard.all[0].code) == (["unavailable"], "9943")
    assert "9943" in heard.all[0].why
    assert (sent(world.link), kinds(world)) == ([], [])
    world.engine.outbound.taking._forbids = lambda _request: ""
    world.submit(heard.of(submission()))
    world.settle()
    assert sent(world.link) == ["9200"], "now it is"


def test_what_never_left_is_judged_again_when_it_is_submitted_again(world: World, heard: Heard) -> None:
    """The scheme may have suspended something meanwhile."""
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    world.down(world.link, surely=True)
    for _ in range(50):
        world.later(LIMITS.pause_max_s)
        world.settle()
    second(world)
    world.engine.outbound.taking._forbids = lambda _request: "9943"
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    assert (heard.states, heard.all[1].code) == (["UNSENT", "unavailable"], "9943")
    found = world.engine.look("key-1")
    assert found is not None
    assert found.state is State.UNSENT
