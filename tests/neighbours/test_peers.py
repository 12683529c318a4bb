"""Handing the scheme's news on to our other processes, beside telling the processor: over the real journal on a disk in
memory that is killed and loses power, and over real sockets to a real ops server.
"""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from zlib import crc32

import msgspec
import pytest
import trio
import trio.testing

from gateway import config, metrics
from gateway.acts.actors import Actors
from gateway.clock import Now
from gateway.http.statuses import Told
from gateway.journal.record import Record
from gateway.journal.writer import Journal, open_journal
from gateway.neighbours.peers import Peers
from gateway.ops import server
from gateway.ops.news import NewsControl
from gateway.payments import steps
from gateway.payments.steps import TOLD_KINDS, Kind
from gateway.processor.addressees import Addressee, peer, the_processor
from gateway.processor.forwarder import Forwarder
from gateway.processor.messages import Notice
from gateway.processor.notices import notice_id
from gateway.scheme.news import HandedOn, Taken
from tests.conftest import Logged
from tests.fakes.disk import FakeDisk, SimulatedThread
from tests.fakes.journal import ID, SETTINGS, durable, read
from tests.fakes.news import CODEC, usm
from tests.fakes.ops import Papers, actors
from tests.fakes.processor import WALL_NS, payment, settings
from tests.fakes.processor import Journal as JournalInMemory

Clock = trio.testing.MockClock


def clock() -> Now:
    return Now(trio.current_time(), WALL_NS)


class Teller:
    """Takes or refuses by chance; remembers what it took, and in which order."""

    def __init__(self, luck: Random, *, away: bool = False) -> None:
        self._luck = luck
        self.away = away
        self.taken: list[str] = []
        self.bodies: list[bytes] = []
        self.tries = 0

    async def tell(self, key: str, body: bytes) -> Told:
        """One notice, or one piece of news."""
        self.tries += 1
        await trio.sleep(self._luck.random() * 0.01)
        refused = crc32(key.encode()) % 11 == 0
        status = 0 if self.away else 422 if refused else self._luck.choice([200, 200, 200, 503, 0])
        if status == 200:
            self.taken.append(key)
            self.bodies.append(body)
        return Told(status, 0.0, "")


ADDRESSEES: dict[str, Addressee] = {
    "processor": the_processor("node", CODEC),
    "peer-sip": peer("node", "sip"),
    "peer-sop": peer("node", "sop"),
}


@asynccontextmanager
async def gateway(disk: FakeDisk, tellers: dict[str, Teller]) -> AsyncIterator[Journal]:
    """A journal and a forwarder for each addressee, which run until killed."""
    luck = Random(1)  # noqa: S311 - a test
    found = [
        Forwarder(
            settings(tell_pause_s=0.01, tell_pause_max_s=0.1), "node", teller, ADDRESSEES[name],
            clock=clock, luck=luck.random,
        )
        for name, teller in tellers.items()
    ]  # fmt: skip

    def remember(record: Record) -> None:
        for forwarder in found:
            forwarder.remember(record)

    async with trio.open_nursery() as nursery:
        driver = SimulatedThread(nursery, disk)
        journal = open_journal(
            SETTINGS, disk, on_record=remember, driver=driver, journal_id=ID, wall_ns=lambda: WALL_NS
        )
        await nursery.start(journal.run, lambda _: None)
        for forwarder in found:
            await nursery.start(forwarder.run, journal)
        yield journal
        nursery.cancel_scope.cancel()


def write(journal: Journal, number: int) -> None:
    """A stand-in, news by a link of ours, news that another process handed on: by turns."""
    if number % 3 == 0:
        fpid, request = payment(number % 7)
        body = steps.Decision("0083", "", bytes(8), b"", CODEC.encode(request) + b"0" * 16)
        journal.append(Kind.STOOD_IN, steps.pack(body), fpid=fpid, wall_ns=WALL_NS)
    else:
        source = "usm-b/7" if number % 3 == 1 else ""
        news = steps.News(usm("971", number=number, service_status="01").body, source)
        journal.append(Kind.USM, steps.pack(news), wall_ns=WALL_NS)


def acknowledged(records: list[Record], to: str) -> tuple[set[int], set[int]]:
    """What was told to whom, and what was parked."""
    told, parked = set[int](), set[int]()
    for record in records:
        body = steps.unpack(record.kind, record.body) if record.kind in (Kind.TOLD, Kind.PARKED) else None
        if isinstance(body, steps.Told) and body.to == to:
            assert body.position not in told, "told twice"
            told.add(body.position)
        elif isinstance(body, steps.Parked) and body.to == to:
            parked.add(body.position)
    return told, parked


def own(record: Record) -> bool:
    """News by a link of ours."""
    if record.kind is not Kind.USM:
        return False
    body = steps.unpack(record.kind, record.body)
    assert isinstance(body, steps.News)
    return not body.source


@pytest.mark.parametrize("seed", range(4))
async def test_killed_again_and_again(seed: int, autojump_clock: Clock) -> None:
    """Killed at random, each addressee gets in the end what it must hear, in order, by acknowledgements of its own."""
    luck = Random(seed)  # noqa: S311 - a test
    disk = FakeDisk()
    tellers = {name: Teller(luck) for name in ADDRESSEES}
    number = 0
    for life in range(5):
        tellers["peer-sop"].away = life < 3
        async with gateway(disk, tellers) as journal:
            for _ in range(30):
                number += 1
                write(journal, number)
            await durable(journal)
            await trio.sleep(luck.random() * 0.4 if life < 4 else 60)
        if luck.random() < 0.5:
            disk.kill()
        else:
            disk.crash()
    records = read(disk)
    news = [record.position for record in records if own(record)]
    others = [record.position for record in records if record.kind in TOLD_KINDS - {Kind.USM}]
    handed_on = [record.position for record in records if record.kind is Kind.USM and not own(record)]
    assert (len(news), len(others), len(handed_on)) == (50, 50, 50)
    for name, wanted in (("processor", news + others), ("peer-sip", news), ("peer-sop", news)):
        told, parked = acknowledged(records, name)
        assert told | parked == set(wanted), name
        assert {notice_id("node", position) for position in told} <= set(tellers[name].taken)
        assert {int(key.removeprefix("node/")) for key in tellers[name].taken} <= set(wanted)
        firsts = [int(key.removeprefix("node/")) for key in dict.fromkeys(tellers[name].taken)]
        ordered = [position for position in firsts if position in news]
        assert ordered == sorted(ordered), name


async def test_an_acknowledgement_is_one_addressees_own(autojump_clock: Clock) -> None:
    """What the processor took is told to a process that was away, after a restart too; and only to that one."""
    disk = FakeDisk()
    first = {name: Teller(Random(2)) for name in ADDRESSEES}  # noqa: S311 - a test
    first["peer-sip"].away = True
    async with gateway(disk, first) as journal:
        for number in range(1, 31):
            write(journal, number)
        await durable(journal)
        await trio.sleep(5)
        lag = {name: follower.cursor for name, follower in journal._followers.items()}
        await journal.aclose()
    disk.kill()
    assert first["peer-sip"].tries < 100
    assert first["peer-sip"].taken == []
    assert lag["peer-sip"] == min(record.position for record in read(disk) if own(record))
    again = {name: Teller(Random(2)) for name in ADDRESSEES}  # noqa: S311 - a test
    async with gateway(disk, again) as journal:
        await trio.sleep(5)
        await journal.aclose()
    assert again["processor"].tries == again["peer-sop"].tries == 0
    told, parked = acknowledged(read(disk), "peer-sip")
    assert told | parked == {record.position for record in read(disk) if own(record)}


async def test_a_new_process_gets_what_is_kept(autojump_clock: Clock) -> None:
    """It begins at the oldest record: what stands since before it came counts for it, too."""
    disk = FakeDisk()
    async with gateway(disk, {"processor": Teller(Random(3))}) as journal:  # noqa: S311 - a test
        for number in range(1, 10):
            write(journal, number)
        await durable(journal)
        await trio.sleep(5)
        await journal.aclose()
    disk.kill()
    newcomer = Teller(Random(3))  # noqa: S311 - a test
    async with gateway(disk, {"processor": Teller(Random(3)), "peer-sip": newcomer}) as journal:  # noqa: S311 - a test
        await trio.sleep(5)
        await journal.aclose()
    told, parked = acknowledged(read(disk), "peer-sip")
    assert len(told | parked) == 3
    assert len(newcomer.taken) >= len(told)


async def test_what_is_said_to_whom(autojump_clock: Clock) -> None:
    """A process gets the raw message and the notice's id; the processor a notice without an FPID."""
    message = usm("975", sitl_new="0000000001234567")
    bodies: dict[str, bytes] = {}

    class Ears:
        def __init__(self, name: str) -> None:
            self.name = name

        async def tell(self, key: str, body: bytes) -> Told:
            assert key == "node/1"
            bodies[self.name] = body
            return Told(200, 0.0, "")

    for name, to in ADDRESSEES.items():
        journal = JournalInMemory()
        journal.append(Kind.USM, steps.pack(steps.News(message.body)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Forwarder(settings(), "node", Ears(name), to, clock=clock).run, journal)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        assert steps.unpack(Kind.TOLD, journal.records[-1].body) == steps.Told(1, name)
    assert json.loads(bodies["peer-sip"]) == {
        "source": "node/1", "message": base64.b64encode(message.body).decode(),
    }  # fmt: skip
    assert msgspec.json.decode(bodies["peer-sip"], type=HandedOn) == HandedOn("node/1", message.body)
    assert json.loads(bodies["processor"]) == {
        "id": "node/1", "kind": "USM", "recorded": "2025-11-22T20:55:01.123456Z",
        "news": {
            "function": "975", "what": "SITL change", "sent": "2025-11-22T20:55:01", "state": "in-force",
            "amount": {"Ccy": "GBP", "Amt": "12345.67"},
        },
    }  # fmt: skip
    notice = msgspec.json.decode(bodies["processor"], type=Notice)
    assert "12345" not in repr(notice)


async def test_a_process_that_is_away_is_said_by_name(autojump_clock: Clock, logged: Logged) -> None:
    """One line when it is away, one when it is back; its own counts; never what the news says."""
    teller = Teller(Random(1), away=True)  # noqa: S311 - a test
    found = Forwarder(settings(), "node", teller, peer("node", "fdp"), clock=clock, luck=lambda: 1.0)
    journal = JournalInMemory()
    journal.append(Kind.USM, steps.pack(steps.News(usm("975", sitl_new="0000000001234567").body)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.run, journal)
        await trio.sleep(100)
        assert found.health() == "peer fdp takes no news"
        teller.away = False
        while not journal.done:
            await journal.news()
        await trio.sleep(1)
        assert found.health() == ""
        nursery.cancel_scope.cancel()
    assert [line["follower"] for line in logged("notices are not taken")] == ["peer-fdp"]
    assert [line["follower"] for line in logged("notices are taken again")] == ["peer-fdp"]
    assert "12345" not in str(logged())
    labels = {"peer": "fdp", "outcome": "told"}
    assert metrics.REGISTRY.get_sample_value("fps_peer_news_total", labels) == 1
    assert metrics.REGISTRY.get_sample_value("fps_peer_news_waiting", {"peer": "fdp"}) == 0


async def test_news_that_a_process_refuses_is_parked_and_counted(autojump_clock: Clock, logged: Logged) -> None:
    """By process: the alert waits for it. It is there before anything is parked, and gone when a person had it told."""

    def parked(name: str) -> float | None:
        return metrics.REGISTRY.get_sample_value("fps_peer_news_parked", {"peer": name})

    class Refusing:
        status = 422

        async def tell(self, key: str, body: bytes) -> Told:
            return Told(self.status, 0.0, f"status {self.status}")

    teller, journal = Refusing(), JournalInMemory()
    for number in range(1, 3):
        journal.append(Kind.USM, steps.pack(steps.News(usm("971", number=number, service_status="01").body)))
    found = Forwarder(settings(), "node", teller, peer("node", "fdp"), clock=clock, luck=lambda: 1.0)
    other = Forwarder(settings(), "node", teller, peer("node", "dca"), clock=clock, luck=lambda: 1.0)
    before = metrics.REGISTRY.get_sample_value("fps_notices_parked")
    assert (parked("fdp"), parked("dca")) == (0, 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.run, journal)
        while len(journal.done) < 2:
            await journal.news()
        assert (parked("fdp"), parked("dca")) == (2, 0)
        assert metrics.REGISTRY.get_sample_value("fps_notices_parked") == before
        teller.status = 200
        for position in (1, 2):
            await found.tell_again(position)
        assert parked("fdp") == 0
        nursery.cancel_scope.cancel()
    assert {(line["follower"], line["status"]) for line in logged("notice refused and parked")} == {("peer-fdp", 422)}
    assert (other.name, other.statistics()["parked_positions"]) == ("peer-dca", [])


async def test_over_real_sockets(nursery: trio.Nursery, tmp_path: Path) -> None:
    """From the journal of one process to the ops server of another, which takes it when it is on its disk."""
    papers = Papers(tmp_path)
    heard: list[tuple[bytes, str]] = []

    def hand_in(handed_on: HandedOn, taken: Taken) -> None:
        heard.append((handed_on.message, handed_on.source))
        taken("" if handed_on.source != "usm-a/2" else "the message cannot be read")

    ops = server.Server(
        config.Ops(port=0, tls=papers.ops), Actors(actors(usm_a=("peer",)), lambda _name: None),
        ready=lambda: (True, {}),
        controls={"/news": server.Control(NewsControl(hand_in), ("peer",))},
    )  # fmt: skip
    port: int = await nursery.start(ops.serve)
    node = config.Node(
        name="usm-a", hub=(config.HubSite("hub", "127.0.0.1", 1),), token=(config.Token("t", "t", "m", "p"),),
        journal=config.JournalSettings("j"), processor=settings(), peers={"sip": f"https://127.0.0.1:{port}"},
        peer_tls=papers.client("usm-a.bank.example"),
    )  # fmt: skip
    journal = JournalInMemory()
    messages = [usm("971", number=number, service_status="01") for number in range(1, 4)]
    for message in messages:
        journal.append(Kind.USM, steps.pack(steps.News(message.body)))
    peers = Peers(node, clock=clock)
    with trio.fail_after(10):
        await nursery.start(peers.run, journal)
        while len(journal.done) < 3:
            await journal.news()
    assert heard == [(message.body, f"usm-a/{number}") for number, message in enumerate(messages, 1)]
    assert journal.done == {1: "TOLD", 2: "PARKED", 3: "TOLD"}
    assert peers.health() == ""
    assert peers.statistics()["sip"]["told"] == 2
    nursery.cancel_scope.cancel()
