"""The oracle sees what a disk holds for good, what shows in the log, and who should have answered."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import trio

from gateway import config, log
from gateway.exitcodes import ExitCode
from gateway.journal.writer import Journal, open_journal
from gateway.payments import steps
from gateway.payments.steps import Kind
from loadtest.ledger.entries import HubEvent, ProcessorEvent
from loadtest.ledger.oracle import Verdict
from tests.fakes.disk import FakeDisk, SimulatedThread
from tests.simulation.oracle import NEWS_WITHIN_S, Oracle, _Disk

SEGMENT_BYTES = 65536


class Scene:
    """One node's disk, its journal, and an oracle that looks on."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.disk = FakeDisk(seed=3)
        self.oracle = Oracle(("a",), {"a": 9300})
        self.oracle.disk("a", self.disk)

    @property
    def watched(self) -> _Disk:
        return self.oracle._disks["a"]

    def open(self) -> Journal:
        settings = config.JournalSettings(dir="journal", segment_bytes=SEGMENT_BYTES)
        driver = SimulatedThread(self.nursery, self.disk)
        journal = open_journal(settings, self.disk, wall_ns=lambda: 1, driver=driver, journal_id=bytes(16))
        self.nursery.start_soon(journal.run, lambda _: None)
        return journal

    async def write(self, journal: Journal, *kinds: Kind, body: bytes = b"") -> None:
        """Append, commit, wait for the disk."""
        for kind in kinds:
            journal.append(kind, body, wall_ns=1)
        journal.commit()
        while journal.durable < journal.position - 1:  # noqa: ASYNC110 - its one callback is the engine's
            await trio.sleep(0.01)

    def finish(self) -> Verdict:
        self.oracle.happened(HubEvent("end"))
        return self.oracle.finish({"a": self.disk})


def broken(verdict: Verdict) -> set[str]:
    return {invariant.name for invariant in verdict.invariants if invariant.violations}


STARTED = steps.pack(steps.Started("dc-a", "1", "f"))


@pytest.fixture
async def scene() -> Any:
    async with trio.open_nursery() as nursery:
        yield Scene(nursery)
        nursery.cancel_scope.cancel()


async def test_a_record_is_durable_from_the_sync_on_that_wrote_it(scene: Scene, autojump_clock: object) -> None:
    """Those of one batch at once, later ones later, across segments."""
    journal = scene.open()
    await scene.write(journal, Kind.STARTED, body=STARTED)
    for _ in range(5):
        before = scene.oracle.next_number()
        await scene.write(journal, Kind.MANAGEMENT_IN, Kind.MANAGEMENT_OUT, body=bytes(9000))
        after, last = scene.oracle.next_number(), journal.durable
        assert before < scene.watched.at[last - 1] == scene.watched.at[last] < after
    assert sorted(scene.watched.records) == list(range(1, 12))
    assert len([name for name in scene.disk.directories["journal"].names() if name.endswith(".segment")]) > 2
    assert broken(scene.finish()) == set()


async def test_what_was_not_synced_is_not_durable_and_a_power_cut_may_make_it_so(
    scene: Scene, autojump_clock: object
) -> None:
    """A kill leaves it in the page cache: it is durable when the next start has synced it."""
    journal = scene.open()
    await scene.write(journal, Kind.STARTED, body=STARTED)
    real = scene.disk.synced
    scene.disk.latency_s = lambda: 1e9
    journal.append(Kind.MANAGEMENT_IN, b"x", wall_ns=1)
    journal.commit()
    await trio.sleep(1)
    assert scene.watched.records.keys() == {1}
    scene.disk.crash()
    scene.disk.latency_s = lambda: 0.0
    assert scene.watched.records.keys() == {1}
    again = scene.open()
    await scene.write(again, Kind.MANAGEMENT_OUT)
    assert scene.watched.records[2].kind is Kind.MANAGEMENT_OUT
    assert scene.disk.synced == real
    assert broken(scene.finish()) == set()


async def test_a_durable_record_that_is_gone_or_another_in_the_end_is_seen(
    scene: Scene, autojump_clock: object
) -> None:
    journal = scene.open()
    await scene.write(journal, Kind.STARTED, body=STARTED)
    await scene.write(journal, Kind.MANAGEMENT_IN)
    blob = scene.disk.directories["journal"].files["0000000001.segment"]
    end = len(bytes(blob.content).rstrip(b"\0"))
    blob.write(end - 60, bytes(60))
    assert broken(scene.finish()) == {"journal-whole"}


@pytest.mark.parametrize(
    ("line", "leaks"),
    [
        ({"event": "payment replied", "fpid": "0123456789abcdef", "elapsed_ms": 12.34}, False),
        ({"event": "payment came", "detail": "for 12345678"}, True),
        ({"event": "payment came", "detail": "of 12.34 pounds"}, True),
        ({"event": "payment came", "count": 12345678}, True),
        ({"event": "payment came", "reason": "J Ng-Smith pays"}, True),
        ({"event": "at 12.345 s", "time": "2026-03-01T10:00:12.34Z"}, False),
    ],
)
async def test_what_is_a_customers_is_seen_in_a_line(
    scene: Scene, line: dict[str, Any], *, leaks: bool, autojump_clock: object
) -> None:
    """As it stands, in words; milliseconds and times are no amounts."""
    scene.oracle.contents.words.update({"12345678", "12.34", "J Ng-Smith"})
    scene.oracle.log_line("a", msgspec.json.encode(line))
    await scene.write(scene.open(), Kind.STARTED, body=STARTED)
    assert broken(scene.finish()) == ({"nothing-leaks"} if leaks else set())


def unanswered(oracle: Oracle) -> None:
    oracle.happened(HubEvent("sent", "f", t=20.0, link=1, mti="9200"))
    oracle.happened(HubEvent("replied", "f", t=35.0, link=1, code="0000", late=True))


def unavailable(oracle: Oracle) -> None:
    oracle.happened(ProcessorEvent("submitted", "g", status=503, port=9300))


@pytest.mark.parametrize(("what", "name"), [(unanswered, "always-answered"), (unavailable, "always-taken")])
@pytest.mark.parametrize(
    ("trouble", "excuses"),
    [
        (None, False),
        (("processor", "a", 0.0, 100.0), False),
        (("token", "all but a-1", 0.0, 100.0), False),
        (("clock", "a", 0.0, 100.0), False),
        (("tokens", "a", 0.0, 100.0), True),
        (("disk", "a", 19.0, 100.0), True),
        (("disk", "a", 0.0, 5.0), False),
        (("disk", "b", 0.0, 100.0), False),
        (("link", "a/x", 0.0, 100.0), True),
        (("link", "a/y", 0.0, 100.0), False),
    ],
)
async def test_who_must_answer_and_what_is_an_excuse(
    scene: Scene, what: Callable[[Oracle], None], name: str, trouble: Any, *, excuses: bool, autojump_clock: object
) -> None:
    """Whatever the processor, three tokens or a wall clock do; the disk, all tokens or this line are another matter."""
    await scene.write(scene.open(), Kind.STARTED, body=STARTED)
    scene.oracle.happened(HubEvent("connected", t=1.0, link=1, site="x", why="a"))
    await trio.sleep(20)
    what(scene.oracle)
    if trouble is not None:
        scene.oracle.trouble(*trouble)
    assert (name in broken(scene.finish())) is not excuses


@pytest.mark.parametrize(
    ("mischief", "link", "before_s", "excuses"),
    [
        ("over-limit", 1, 1.0, True),
        ("over-limit", 2, 1.0, False),
        ("half-frame", 1, 11.0, True),
        ("half-frame", 1, 9.0, False),
        ("garbage", 1, 1.0, False),
        ("wrong-mac", 1, 1.0, False),
    ],
)
async def test_a_link_on_which_nothing_more_is_understood_takes_no_submission(
    scene: Scene, mischief: str, link: int, before_s: float, *, excuses: bool, autojump_clock: object
) -> None:
    """The hub has spoilt it, so nobody would hear the answer. What is only wrong spoils no link, nor does another's."""
    await scene.write(scene.open(), Kind.STARTED, body=STARTED)
    for number, site in ((1, "x"), (2, "y")):
        scene.oracle.happened(HubEvent("connected", t=1.0, link=number, site=site, why="a"))
    scene.oracle.happened(HubEvent("disconnected", t=1.0, link=2, site="y"))
    await trio.sleep_until(20.0 - before_s)
    scene.oracle.happened(HubEvent("mischief", t=trio.current_time(), link=link, why=mischief))
    await trio.sleep_until(20.0)
    unavailable(scene.oracle)
    assert ("always-taken" in broken(scene.finish())) is not excuses


@pytest.mark.parametrize(("copy_left", "seen"), [("before", False), ("behind", True), ("never", True)])
async def test_a_message_that_came_before_any_copy_of_it_had_left_is_the_gateways(
    scene: Scene, copy_left: str, autojump_clock: object, *, seen: bool
) -> None:
    """Whoever is on the path may send one later: that is no excuse for what came by then."""
    await scene.write(scene.open(), Kind.STARTED, body=STARTED)
    scene.oracle.happened(HubEvent("connected", t=1.0, link=1, site="x", why="a"))
    scene.oracle.tampered("a/x")
    submitted = HubEvent("submitted", "0123456789abcdef", t=2.0, link=1, site="x", mti="9200")
    scene.oracle.happened(submitted)
    if copy_left == "before":
        scene.oracle.sent_again("a/x", submitted.mti, submitted.fpid)
    scene.oracle.happened(msgspec.structs.replace(submitted, t=3.0))
    if copy_left == "behind":
        scene.oracle.sent_again("a/x", submitted.mti, submitted.fpid)
    assert ("sent-once" in broken(scene.finish())) is seen


async def stopped_for_ten_seconds(oracle: Oracle, at_s: float, what: Callable[[Oracle], None]) -> None:
    """Submitting is stopped at 10 s, ordered to start at 20 s, and does so at 21 s; and this happens."""
    moments: list[tuple[float, Callable[[], None]]] = [
        (10.0, lambda: oracle.stopped("a")),
        (20.0, lambda: oracle.may_submit("a")),
        (21.0, lambda: oracle.submits("a")),
        (at_s, lambda: what(oracle)),
    ]
    for moment_s, happens in sorted(moments, key=lambda one: one[0]):
        await trio.sleep_until(moment_s)
        happens()


@pytest.mark.parametrize(
    ("left_s", "trouble", "right"),
    [
        (9.0, None, True),
        (10.3, None, True),
        (15.0, None, False),
        (15.0, ("disk", "a", 5.0, 20.0), False),
        (15.0, ("down", "a", 11.0, 12.0), False),
        (15.0, ("link", "a/y", 5.0, 20.0), False),
        (15.0, ("link", "a/x", 5.0, 20.0), True),
        (15.0, ("link", "a/x", 0.0, 0.5), False),
        (25.0, None, True),
    ],
)
async def test_what_leaves_where_submitting_is_stopped_is_seen(
    scene: Scene, left_s: float, trouble: Any, *, right: bool, autojump_clock: object
) -> None:
    """From ten seconds on until it is ordered to start at twenty. What the line held up may have left before."""
    await scene.write(scene.open(), Kind.STARTED, body=STARTED)
    scene.oracle.happened(HubEvent("connected", t=1.0, link=1, site="x", why="a"))
    moments = [(10.0, scene.oracle.stopped), (20.0, scene.oracle.may_submit), (21.0, scene.oracle.submits)]
    event = HubEvent("submitted", "f", t=left_s, link=1, mti="9200")
    for at_s, happens in sorted(
        [*moments, (left_s, lambda _node: scene.oracle.happened(event))], key=lambda one: one[0]
    ):
        await trio.sleep_until(at_s)
        happens("a")
    if trouble is not None:
        scene.oracle.trouble(*trouble)
    assert ("stopped" in broken(scene.finish())) is not right


@pytest.mark.parametrize(("at_s", "excuses"), [(9.0, False), (15.0, True), (22.0, True), (30.0, False)])
async def test_where_submitting_is_stopped_nothing_must_be_taken(
    scene: Scene, at_s: float, *, excuses: bool, autojump_clock: object
) -> None:
    """Until the start is in effect."""
    await scene.write(scene.open(), Kind.STARTED, body=STARTED)
    scene.oracle.happened(HubEvent("connected", t=1.0, link=1, site="x", why="a"))
    moments = [(10.0, scene.oracle.stopped), (20.0, scene.oracle.may_submit), (21.0, scene.oracle.submits)]
    for moment_s, happens in sorted(
        [*moments, (at_s, lambda _node: unavailable(scene.oracle))], key=lambda one: one[0]
    ):
        await trio.sleep_until(moment_s)
        happens("a")
    assert ("always-taken" in broken(scene.finish())) is not excuses


async def test_a_stop_that_nobody_ends_is_seen(scene: Scene, autojump_clock: object) -> None:
    await scene.write(scene.open(), Kind.STARTED, body=STARTED)
    scene.oracle.stopped("a")
    assert broken(scene.finish()) == {"stopped"}


async def test_a_link_that_was_made_anew_is_the_only_one_of_its_place(scene: Scene, autojump_clock: object) -> None:
    """The hub saw the first one connect when the machine had lost its power already: nobody tells it of its end."""
    await scene.write(scene.open(), Kind.STARTED, body=STARTED)
    for number in (1, 2):
        scene.oracle.happened(HubEvent("connected", t=number, link=number, site="x", why="a"))
    scene.oracle.happened(HubEvent("disconnected", t=3.0, link=2, site="x"))
    await trio.sleep(20)
    unavailable(scene.oracle)
    assert broken(scene.finish()) == set()


@pytest.mark.parametrize(
    ("code", "hands", "right"),
    [
        (ExitCode.ENDED, "drain", True),
        (ExitCode.INTERRUPTED, "at-once", True),
        (None, "killed", True),
        (None, "power", True),
        (ExitCode.JOURNAL, "", False),
        (ExitCode.BUG, "", False),
        (ExitCode.BUG, "drain", False),
        (ExitCode.ENDED, "", False),
        (None, "", False),
    ],
)
async def test_a_process_ends_at_somebodys_hands(
    scene: Scene, code: ExitCode | None, hands: str, *, right: bool, autojump_clock: object
) -> None:
    await scene.write(scene.open(), Kind.STARTED, body=STARTED)
    scene.oracle.ended("a", code, hands, "")
    assert broken(scene.finish()) == (set() if right else {"stops-rather-than-lies"})


@pytest.mark.parametrize(
    ("sick", "waited_s", "excused"),
    [(True, 25.0, True), (True, NEWS_WITHIN_S, True), (True, NEWS_WITHIN_S + 10, False), (False, 25.0, False)],
)
async def test_news_may_wait_for_a_sick_disk_and_for_nothing_else(
    scene: Scene, autojump_clock: object, *, sick: bool, waited_s: float, excused: bool
) -> None:
    """The hub finds out when it has waited, when the disk may be well again for long."""
    sent_s = 25.0
    scene.oracle.happened(HubEvent("connected", t=1.0, link=1, site="x", why="a"))
    if sick:
        scene.oracle.trouble("disk", "a", sent_s - 1, sent_s + 1)
    scene.oracle.happened(HubEvent("fault", t=sent_s + waited_s, link=1, site="x", why="9824/972 without a 9834"))
    await scene.write(scene.open(), Kind.STARTED, body=STARTED)
    assert broken(scene.finish()) == (set() if excused else {"hub-satisfied"})


async def test_a_sick_disk_ends_a_process_and_one_that_goes_on_lies(scene: Scene, autojump_clock: object) -> None:
    await scene.write(scene.open(), Kind.STARTED, body=STARTED)
    scene.oracle.trouble("disk", "a", 0.0, 1.0)
    await trio.sleep(2)
    scene.oracle.ended("a", ExitCode.JOURNAL, "", "")
    scene.oracle.lied("a", "goes on")
    verdict = scene.finish()
    assert [one.first for one in verdict.invariants if one.violations] == [["a: goes on"]]


async def test_the_story_of_a_payment_is_told_in_order(scene: Scene, autojump_clock: object) -> None:
    """From all books, by its hash."""
    name = log.fpid_hash("x")
    scene.oracle.happened(HubEvent("sent", name, link=1))
    scene.oracle.said("something")
    scene.oracle.log_line("a", b'{"event":"payment replied","fpid":"%b"}' % name.encode())
    scene.oracle.happened(ProcessorEvent("asked", "another"))
    told = scene.oracle.story(name)
    assert [part in line for part, line in zip(("sent", "something", "replied"), told, strict=True)] == [True] * 3
