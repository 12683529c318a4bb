"""The library before the real doors of two sites, over memory streams: what it sends, and what it says in the end."""

import textwrap
from typing import Any

import msgspec
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from gateway import sdk
from gateway.errors import ConfigurationError, Unavailable
from gateway.payments.outbound_law import State
from gateway.payments.work import Submission
from gateway.processor.messages import Account
from gateway.sdk import Gateways, Limits, Prepared, Rejected, Settled, Site, Submitted, Unknown, Unsent, prepare
from gateway.sdk import client as shell
from tests.fakes.door import FPID, durable, ignore, refuse, settle, standing
from tests.fakes.network import nameless
from tests.fakes.pair import pair
from tests.fakes.processor import Peer
from tests.sdk.test_prepared import PAYMENT

PREPARED = prepare(PAYMENT, "key/1")
LIMITS = Limits()


def accept(submission: Submission) -> None:
    settle(submission, code="0000", by="receiver")


def decline(submission: Submission) -> None:
    refuse(submission)


async def test_a_payment_is_settled(autojump_clock: MockClock) -> None:
    """By the first site, on one connection for one payment after the other; the other site hears of none."""
    async with pair(accept, accept) as it:
        for number in range(3):
            outcome = await it.gateways.submit(prepare(PAYMENT, f"key-{number}"), first=True)
            assert isinstance(outcome, Settled)
            assert (outcome.site, outcome.accepted, outcome.code, outcome.progress.FPID) == ("a", True, "0000", FPID)
        assert it.dials == ["a"]
        assert it.tries("a") == ["key-0", "key-1", "key-2"]


async def test_a_refusal_is_an_outcome(autojump_clock: MockClock) -> None:
    async with pair(lambda submission: settle(submission, code="1114", by="receiver")) as it:
        outcome = await it.gateways.submit(PREPARED, first=True)
        assert isinstance(outcome, Settled)
        assert (outcome.accepted, outcome.code) == (False, "1114")


async def test_it_waits_for_the_outcome_in_the_response(autojump_clock: MockClock) -> None:
    """One request, however long the hub takes within the wait; beyond it one more."""
    for after_s, requests in ((LIMITS.wait_s - 1, 1), (LIMITS.wait_s + 1, 2)):
        async with pair() as it, trio.open_nursery() as nursery:

            async def hub(it: Any = it, after_s: float = after_s) -> None:
                await it.doors["a"].engine.submitted()
                await trio.sleep(after_s)
                for submission in it.doors["a"].engine.submissions:
                    accept(submission)

            nursery.start_soon(hub)
            assert isinstance(await it.gateways.submit(PREPARED, first=True), Settled)
            assert len(it.tries("a")) == requests
            assert it.tries("b") == []


async def test_the_same_payment_goes_to_the_other_site(autojump_clock: MockClock) -> None:
    """The same key, and the very bytes that make its FPID."""
    async with pair(decline, accept) as it:
        outcome = await it.gateways.submit(PREPARED, first=True)
        assert isinstance(outcome, Settled)
        assert outcome.site == "b"
        (here,), (there,) = (it.doors[name].engine.submissions for name in "ab")
        assert (here.key, here.covered) == (there.key, there.covered)
        assert here.key == PREPARED.key
        await it.gateways.submit(prepare(PAYMENT, "key-2"), first=True)
        assert it.tries("a") == [PREPARED.key], "a site that has just taken nothing is not the first to be asked"


async def test_nobody_is_there(autojump_clock: MockClock) -> None:
    """Surely never sent; in time, and not before."""
    async with pair() as it:
        it.away = {"a", "b"}
        outcome = await it.gateways.submit(PREPARED, first=True)
        assert isinstance(outcome, Unsent)
        assert {seen.last for seen in outcome.seen} == {"UNREACHED"}
        assert LIMITS.submit_within_s <= trio.current_time() <= LIMITS.submit_within_s + LIMITS.pause_max_s
        resumed = await it.gateways.submit(PREPARED)
        assert isinstance(resumed, Unknown)


async def test_a_host_that_does_not_answer_the_phone(autojump_clock: MockClock) -> None:
    """Dialling has its limit, and nothing was sent by it."""

    async def nobody(_host: str, _port: int) -> trio.abc.Stream:
        return await trio.sleep_forever()

    gateways = Gateways([Site("a", "http://a"), Site("b", "http://b")], network=nameless(nobody))
    async with trio.open_nursery() as nursery:
        await nursery.start(gateways.run)
        assert isinstance(await gateways.submit(PREPARED, first=True), Unsent)
        nursery.cancel_scope.cancel()


async def test_what_the_scheme_would_refuse(autojump_clock: MockClock) -> None:
    """When both sites say so there is nothing to wait for."""
    async with pair(*[lambda submission: refuse(submission, code="9945")] * 2) as it:
        outcome = await it.gateways.submit(PREPARED, first=True)
        assert isinstance(outcome, Unsent)
        assert outcome.code == "9945"
        assert trio.current_time() < 1


@pytest.mark.parametrize("back", [True, False])
async def test_a_timeout_here_and_a_503_there(autojump_clock: MockClock, *, back: bool) -> None:
    """Not failed: unknown; and when the site where it may be is back, its outcome."""

    def silent(submission: Submission) -> None:
        if back and len(it.tries("a")) > 2:
            accept(submission)

    async with pair(silent, decline) as it:
        outcome = await it.gateways.submit(PREPARED, first=True)
        if back:
            assert isinstance(outcome, Settled)
            return
        assert isinstance(outcome, Unknown)
        assert [(seen.site, seen.may_have_it) for seen in outcome.seen] == [("a", True), ("b", False)]
        assert trio.current_time() <= LIMITS.within_s


async def test_a_connection_that_breaks(autojump_clock: MockClock) -> None:
    """It may have been taken: asked once more there, on a new connection."""

    def broken(submission: Submission) -> None:
        if len(it.tries("a")) == 1:
            it.cut("a")
        else:
            accept(submission)

    async with pair(broken, accept) as it:
        outcome = await it.gateways.submit(PREPARED, first=True)
        assert isinstance(outcome, Settled)
        assert (outcome.site, it.dials) == ("a", ["a", "a"])


async def test_a_site_that_dies_with_the_payment(autojump_clock: MockClock) -> None:
    """The other one makes it, or says what became of it: by the FPID the hub knows it."""

    def dies(submission: Submission) -> None:
        durable(submission)
        it.away.add("a")
        it.cut("a")

    async with pair(dies, accept) as it:
        outcome = await it.gateways.submit(PREPARED, first=True)
        assert isinstance(outcome, Settled)
        assert outcome.site == "b"
        assert it.tries("b") == it.tries("a")


async def test_rejected_at_once(autojump_clock: MockClock) -> None:
    """What breaks a rule of the scheme, with the rule; what has another one's key. No other site is asked."""
    async with pair(lambda submission: refuse(submission, "conflict", "used")) as it:
        wrong = prepare(replace(PAYMENT, CdtrAcct=Account("1" * 35)), "key-1")
        outcome = await it.gateways.submit(wrong, first=True)
        assert isinstance(outcome, Rejected)
        assert [fault.pointer for fault in outcome.problem.errors] == ["#/CdtrAcct/Id"]
        outcome = await it.gateways.submit(PREPARED, first=True)
        assert isinstance(outcome, Rejected)
        assert (outcome.problem.status, it.dials) == (409, ["a"])


async def test_rejected_there_and_perhaps_taken_here(autojump_clock: MockClock) -> None:
    """It is looked for where it may be, by its key in the path, and not submitted anywhere any more."""

    def taken(_: Submission) -> None:
        known = it.doors["a"].engine.known
        known[PREPARED.key] = standing(_, State.SETTLED, code="0000", by="receiver")

    async with pair(taken, lambda submission: refuse(submission, "conflict")) as it:
        outcome = await it.gateways.submit(PREPARED, first=True)
        assert isinstance(outcome, Settled)
        assert (outcome.site, len(it.tries("a")), len(it.tries("b"))) == ("a", 1, 1)


async def test_a_site_that_is_not_ready_is_not_the_first(autojump_clock: MockClock) -> None:
    """By its `/ready`, looked at again and again; a site whose ops port says nothing is not ready either."""
    says = 200

    async def ops(peer: Peer) -> None:
        while True:
            assert (await peer.request()).path == "/ready"
            if not says:
                await trio.sleep_forever()
            await peer.respond(says)

    async with pair(accept, accept, ready={"a": ops}) as it:
        for says, site in ((200, "a"), (503, "b"), (200, "a"), (0, "b")):
            await trio.sleep(shell.READY_EVERY_S * 3)
            assert it.gateways.ready() == {"a": site == "a", "b": True}
            outcome = await it.gateways.submit(prepare(PAYMENT, f"key-{says}-{site}"), first=True)
            assert isinstance(outcome, Settled)
            assert outcome.site == site


async def test_a_connection_that_was_idle_for_long_is_not_used(autojump_clock: MockClock) -> None:
    """It may be closing already, and then it would not be known what became of a request."""
    async with pair(accept) as it:
        for idle_s, dials in ((0.0, 1), (shell.IDLE_S - 1, 1), (shell.IDLE_S + 1, 2)):
            await trio.sleep(idle_s)
            await it.gateways.submit(prepare(PAYMENT, f"key-{idle_s}"), first=True)
            assert len(it.dials) == dials
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(it.gateways.submit, prepare(PAYMENT, f"more-{number}"))
        await trio.sleep(shell.IDLE_S + 1)
        await it.gateways.submit(prepare(PAYMENT, "last"), first=True)
        await trio.testing.wait_all_tasks_blocked()
        assert it.doors["a"].door.statistics()["connections"] == 1


async def test_cancelled_it_leaves_no_connection_that_owes_a_response(autojump_clock: MockClock) -> None:
    """Nobody else gets what comes too late."""
    async with pair(ignore) as it:
        with trio.move_on_after(1):
            await it.gateways.submit(PREPARED, first=True)
        engine = it.doors["a"].engine
        settle(engine.submissions[0], code="1114", by="receiver")
        engine.play = accept
        outcome = await it.gateways.submit(prepare(PAYMENT, "key-2"), first=True)
        assert isinstance(outcome, Settled)
        assert (outcome.code, it.dials) == ("0000", ["a", "a"])


async def test_too_many_at_once_are_refused(autojump_clock: MockClock) -> None:
    """Before anything was done."""
    async with pair(ignore, limits=replace(LIMITS, submissions_max=1)) as it, trio.open_nursery() as nursery:
        nursery.start_soon(it.gateways.submit, PREPARED)
        await it.doors["a"].engine.submitted()
        with pytest.raises(Unavailable, match="1 payments are under way"):
            await it.gateways.submit(prepare(PAYMENT, "key-2"), first=True)
        nursery.cancel_scope.cancel()


async def test_without_its_tasks_it_reaches_nobody(autojump_clock: MockClock) -> None:
    """Neither before `run` nor after; what is dialled then is closed again."""
    async with pair(accept) as it:
        gateways = Gateways([Site("a", "http://a")], network=nameless(it.connect))
        assert isinstance(await gateways.submit(PREPARED, first=True), Unsent)
        await trio.testing.wait_all_tasks_blocked()
        assert it.doors["a"].door.statistics()["connections"] == 0


@pytest.mark.parametrize(
    ("sites", "mistake"),
    [
        ([], "at least one"),
        ([Site("a", "http://a"), Site("a", "http://b")], "a name of its own"),
        ([Site("a", "ftp://a")], "site a: must be http"),
        ([Site("a", "http://a", "http://a/ready?x")], "site a: must be http"),
        ([Site("a", "https://a", tls=sdk.Tls("nowhere.pem"))], "site a: tls.ca_file: FileNotFoundError"),
    ],
)
def test_sites_of_no_use(sites: list[Site], mistake: str) -> None:
    with pytest.raises(ConfigurationError, match=mistake):
        Gateways(sites)


class Store:
    """The example's database; all of it is on disk at once."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []
        self.kept: list[bytes] = []

    async def keep(self, prepared: Prepared) -> None:
        self.kept.append(msgspec.json.encode(prepared))

    async def without_an_outcome(self) -> list[Prepared]:
        return [msgspec.json.decode(kept, type=Prepared) for kept in self.kept]

    def __getattr__(self, name: str) -> Any:
        async def note(*about: Any) -> None:
            self.said.append((name, *about))

        return note


async def test_the_example_of_the_package_does_what_it_says(autojump_clock: MockClock) -> None:
    """Each outcome; and a payment of a process that was killed is settled by the next one."""
    text = (sdk.__doc__ or "").partition("\n\n")[2].partition("Store the whole")[0]
    example: dict[str, Any] = {}
    exec(textwrap.dedent(text), example)  # noqa: S102 - our own docstring
    plays = [accept, lambda one: settle(one, code="1114", by="receiver"), lambda one: refuse(one, "conflict")]
    said = ["paid", "refused", "mistaken", "not_made", "unresolved"]
    for play, expected in zip([*plays, decline, ignore], said, strict=True):
        async with pair(play, decline) as it:
            store = Store()
            await example["pay"](it.gateways, PAYMENT, "key-1", store)
            assert [note[:2] for note in store.said] == [(expected, "key-1")]
            assert isinstance(PAYMENT, Submitted)
    async with pair(accept) as it, trio.open_nursery() as nursery:
        example["Gateways"] = lambda _sites: Gateways([Site("a", "http://a")], network=nameless(it.connect))
        nursery.start_soon(example["main"], store)
        await it.doors["a"].engine.submitted()
        await trio.testing.wait_all_tasks_blocked()
        assert store.said[-1] == ("paid", "key-1")
        nursery.cancel_scope.cancel()
