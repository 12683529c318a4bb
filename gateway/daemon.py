"""The nursery tree of one gateway process: what runs, what outlives what, and what stopping means.

    journal                                 opened before anything runs, closed after everything has ended
    ├─ signer        worker processes       outlives the engine's last reply
    ├─ engine        the one that acts
    ├─ client        questions to the processor
    ├─ forwarder     notices to the processor
    ├─ peers         the scheme's news to our other processes
    ├─ sibling       a look at the other site's gateway now and then
    ├─ server        /live /ready /metrics /statistics, and where acts are ordered
    ├─ desk          records acts that could not be recorded at once
    ├─ door          the processor's submissions
    ├─ volume        asks DRBD about the disk below, where one is configured
    ├─ holding       unready: links on hold, and without a token closed; ready again: resumed
    ├─ sealing       the HSM signs the journal's chain now and then
    ├─ beat          the supervisor hears that the event loop turns
    └─ links         to the hub's sites     start last, stop first

An error in any of these ends the process: a JournalFault because no promise can be made any more, any other because it
is a bug. A hub, HSM or processor that is away or slow is no error here.

Stopping (SIGTERM and its like, see `signals`; `fps-gateway drain`) is a drain: sign off to receive, so that the hub
uses the other site; finish what is in flight, for at most `drain_s`; sign off to submit, close the links; then end
everything else, the journal last. A second signal ends at once, as a kill does: the journal has every promise, and a
restart takes them up.
"""

from collections.abc import AsyncIterator, Callable
from functools import partial
from math import inf
from typing import Any, NamedTuple

import msgspec
import trio

import gateway
from gateway import config, log, metrics
from gateway.acts.actors import Actors, Caller
from gateway.acts.settings import flat
from gateway.disk import Directory
from gateway.engine import STEPS, Engine
from gateway.engine.past import Past
from gateway.errors import JournalFault
from gateway.http.visitor import Request
from gateway.hub.exchanges import MessageIds
from gateway.hub.pool import Links
from gateway.journal import beside
from gateway.journal.record import Record
from gateway.journal.writer import Journal, open_journal
from gateway.machine import descriptors
from gateway.machine.aside import aside
from gateway.machine.standstill import Standstill
from gateway.neighbours.peers import Peers
from gateway.neighbours.sibling import Identity, Sibling
from gateway.network import papers
from gateway.ops import effects
from gateway.ops.desk import Desk, Effect
from gateway.ops.drain import Drain
from gateway.ops.news import NewsControl
from gateway.ops.server import Control, Look, Server
from gateway.outside import Outside, machine
from gateway.payments import steps
from gateway.payments.dates import check as check_dates
from gateway.payments.ejection import Ejection
from gateway.payments.standin import MODES
from gateway.payments.standin import check as check_rules
from gateway.payments.steps import Kind
from gateway.payments.work import MacJob
from gateway.processor.addressees import the_processor
from gateway.processor.answers import Answers
from gateway.processor.client import Client
from gateway.processor.door import Door
from gateway.processor.forwarder import Forwarder
from gateway.running import allowance
from gateway.running.clocks import ClockWatch
from gateway.running.health import Health, Promises
from gateway.running.holding import Holding
from gateway.running.reload import Reload
from gateway.running.sealing import Sealing
from gateway.running.stopping import CLOSE_WITHIN_S, Draining, DrainLimits, Stop
from gateway.signer.pool import Signer
from gateway.volume.watch import VolumeWatch, begin_for
from gateway.wire import codes, fields, meanings
from gateway.wire.codec import Codec

_log = log.get("daemon")

RECORDS_BETWEEN_WORDS = 1 << 16
"""Records that a start reads before it tells the supervisor again that it goes on."""


PARKED_SHOWN_MAX = 1000
"""Parked notices of one receiver that are listed, at most: the latest."""


class Telling(NamedTuple):
    """The parts that tell others, and the part that asks."""

    client: Client
    forwarder: Forwarder
    peers: Peers


class Gateway:
    """The parts of one process, joined, and the tree of their tasks."""

    def __init__(
        self,
        configuration: config.Configuration,
        codec: Codec,
        journal: Journal,
        past: Past,
        telling: Telling,
        volume: VolumeWatch | None,
        outside: Outside,
        reload: Callable[[], None],
    ) -> None:
        node, pair = configuration.node, configuration.pair
        self.configuration = configuration
        self.journal = journal
        self.clean, self.unfinished = past.inbound.clean, past.unfinished
        self.client, self.forwarder, self.peers = telling
        self.volume = volume
        self.outside = outside
        self.stop = Stop(reload, self._signalled)
        self.signer = Signer(
            node.token, pair.mac, outside.clock, on_done=self._on_macs, on_installed=self._on_installed,
            extra_keys=(pair.mac.seal_key,), keys=pair.keys,
            open_worker=outside.open_worker, luck=outside.luck.random,
        )  # fmt: skip
        promises = Promises(journal, self.signer, volume, self.stop)
        message_ids = MessageIds(past.message_ids)
        ejection = Ejection(node.ejection, pair.submit.answer_within_s, outside.luck.random)
        self.engine = Engine(
            pair, node.payments_max, codec, past, journal, self.signer, self.client, outside.clock, message_ids,
            ejection, closed=promises.closed, released_ns=outside.released_ns,
        )  # fmt: skip
        standstill = Standstill(outside.clock())
        self.links = Links(
            node.hub, pair, self.engine, message_ids, clock=outside.clock, random=outside.luck,
            came_s=standstill.came_s, unproved=node.unproved, network=outside.network, dial=outside.dial_hub,
        )  # fmt: skip
        self.engine.join(self.links)
        self.identity = Identity(node.name, pair.group, configuration.fingerprint(), gateway.__version__)
        self.sibling = None
        if node.sibling:
            self.sibling = Sibling(node.sibling, self.identity, network=outside.modest(), luck=outside.luck.random)
        self.clocks = ClockWatch(outside.clock, standstill, self.engine.clocks, journal, self.links)
        self.health = Health(
            promises=promises, stop=self.stop, identity=self.identity, engine=self.engine, clocks=self.clocks,
            journal=journal, signer=self.signer, links=self.links, ejection=ejection, client=self.client,
            peers=self.peers, volume=volume, sibling=self.sibling,
        )  # fmt: skip
        self.door = None
        if node.submissions:
            self.door = Door(
                node.submissions, self.engine, codec, pair.group, self.health.presented,
                came_s=standstill.came_s, listen=outside.listen, kept=outside.kept.clients,
            )  # fmt: skip
        sign_off_s = pair.session.respond_within_s
        limits = DrainLimits(node.drain_s, sign_off_s)
        self.sealing = Sealing(journal, self.engine, node.journal.seal_every_s)
        self.draining = Draining(self.stop, limits, self.links, self.engine, self.sealing, outside.supervisor)
        self.holding = Holding(self.health, self.clocks, self.signer, self.links, outside.supervisor, sign_off_s)
        self.drain = Drain(node.name, self.stop.asked, lambda: self.engine.in_flight, limits.whole_s)
        self.desk = Desk(node.acts, self.engine.control, self.engine.book, self._effects(), outside.clock)
        self.server = Server(
            node.ops, Actors(node.actors, outside.uid_of), ready=self.health.ready, looks=self._looks(),
            controls=self._controls(), path=node.acts.socket, identify=outside.identify,
        )  # fmt: skip
        self._serve_no_more, self._served = trio.Event(), trio.Event()
        """For the ops server: end, and it has ended."""

    # --- signer and engine need each other: the signer comes first, and its results take this way

    def _on_macs(self, jobs: list[MacJob]) -> None:
        self.engine.on_macs(jobs)

    def _on_installed(self, label: str, ok: bool, why: str) -> None:  # noqa: FBT001 - as the signer says it
        self.engine.on_installed(label, ok, why)

    def _signalled(self, name: str, act: str) -> None:
        self.desk.signalled(name, act)

    def statistics(self) -> dict[str, Any]:
        """For `/statistics`."""
        return {
            "node": self.configuration.node.name,
            "group": self.configuration.pair.group,
            "engine": self.engine.statistics(),
            "journal": {"position": self.journal.position, "durable": self.journal.durable},
            "links": self.links.statistics(),
            "signer": {name: health._asdict() for name, health in self.signer.health().items()},
            "processor": self.client.statistics(),
            "forwarder": self.forwarder.statistics(),
            "peers": self.peers.statistics(),
            "submissions": self.door.statistics() if self.door is not None else None,
        }

    def _effects(self) -> dict[str, Effect]:
        """What each act does here."""
        control = self.engine.control
        tellers = (self.forwarder, *self.peers.forwarders())
        return {
            "drain": effects.drain(self.drain),
            "stop-submitting": effects.stop_submitting(control.stop_submitting),
            "start-submitting": effects.start_submitting(control.start_submitting),
            "stand-in": effects.stand_in(control.set_stand_in_mode),
            "request-key": effects.request_key(control.ask_for_key),
            "allow-key": effects.allow_key(control.on_allow),
            "lift": effects.lift(control.on_lift),
            "tell-again": effects.tell_again({each.name: each.tell_again for each in tellers}),
            "drop-notice": effects.drop_notice({each.name: each.drop for each in tellers}),
            "reveal": effects.reveal,
        }

    def _looks(self) -> dict[str, Look]:
        async def statistics(_request: Request) -> tuple[int, dict[str, Any]]:
            return 200, self.statistics()

        async def notices(_request: Request) -> tuple[int, dict[str, Any]]:
            tellers = (self.forwarder, *self.peers.forwarders())
            found = [notice for each in tellers for notice in await each.parked(PARKED_SHOWN_MAX)]
            return 200, {"parked": [msgspec.to_builtins(notice) for notice in found]}

        return {
            "/statistics": Look(statistics),
            # reasons are people's own words, and waiting for the end of a drain is for whoever ordered it
            "/acts": Look(self.desk.see, ("operate", "approve")),
            "/drain": Look(self.drain.see, ("operate",)),
            "/notices": Look(notices, ("operate",)),
        }

    def _controls(self) -> dict[str, Control]:
        """Where acts are ordered and news is handed on, by path."""
        acts = {f"/acts/{name}": Control(partial(self._order, name)) for name in self.desk.names}
        return {**acts, "/news": Control(NewsControl(self.engine.control.on_handed_on), ("peer",))}

    async def _order(self, name: str, caller: Caller, body: bytes) -> tuple[int, dict[str, Any]]:
        return await self.desk.order(caller, name, body)

    async def run(self, signals: AsyncIterator[int], directory: Directory, acts: beside.Found) -> bool:
        """Run until stopped. Returns whether everything in flight was finished.

        `acts`: what was done in the journal's `directory` while no gateway ran.
        """
        with metrics.shown(
            metrics.StepCounts(self.engine.counts, STEPS),
            metrics.Parts(self.health.well, tuple(MODES), lambda: self.engine.inbound.stand_in.mode),
            metrics.SchemeNews(self.engine.news.counts, self.engine.news.held),
            metrics.PairInfo(self.identity.group, self.identity.fingerprint, self.identity.version),
        ):  # fmt: skip
            async with trio.open_nursery() as tree:
                await self._start(tree, signals)
                if acts.acts or acts.damage:
                    tree.start_soon(self._take_in_acts, directory, acts)
                finished = await self._until_stopped()
                tree.cancel_scope.cancel()
            return finished

    async def _start(self, tree: trio.Nursery, signals: AsyncIterator[int]) -> None:
        """Start every part, in the order in which one needs another; the links last."""
        tree.start_soon(self.stop.on_signals, signals)
        tree.start_soon(self.journal.run, self.engine.on_durable)
        self._take_up()
        await tree.start(self.signer.run)
        tree.start_soon(self.engine.run)
        tree.start_soon(self.desk.run)
        await tree.start(self.client.run, self.engine.on_answers)
        tree.start_soon(self.forwarder.run, self.journal)
        tree.start_soon(self.peers.run, self.journal)
        if self.sibling is not None:
            tree.start_soon(self.sibling.run)
        await tree.start(self._serve)
        if self.engine.clocks.trouble:
            self.links.hold(mute=False)
        if not self.signer.serving:
            self.links.hold(mute=True)  # dial none until one serves
        if self.volume is not None:
            tree.start_soon(self.volume.run)
        self.clocks.begins()
        tree.start_soon(self.holding.run)
        tree.start_soon(self.sealing.run)
        tree.start_soon(self._beat)
        if any(papers.uses_of(self.configuration.node)):
            tree.start_soon(papers.look_after)
        tree.start_soon(self._link)
        if self.door is not None:
            await tree.start(self.door.serve)
        _log.info("started", node=self.configuration.node.name, group=self.configuration.pair.group)
        self.outside.supervisor.ready()

    async def _link(self) -> None:
        """Run the links once the ids of what they send are spoken for on disk."""
        await self.engine.reserving.begun.wait()
        await self.links.run()

    async def _until_stopped(self) -> bool:
        """Wait for the order to stop, and drain. Returns whether everything in flight was finished."""
        finished = False
        async with trio.open_nursery() as ending:
            ending.start_soon(self._cancel_at_once, ending)
            await self.stop.asked.wait()
            finished = await self.draining.run()
            await self.drain.ended()
            self._serve_no_more.set()
            await self._served.wait()
            ending.cancel_scope.cancel()
        return finished

    async def _cancel_at_once(self, ending: trio.Nursery) -> None:
        await self.stop.at_once.wait()
        ending.cancel_scope.cancel()

    def _take_up(self) -> None:
        """Take up what the last process left, before anything new can come."""
        started = steps.Started(self.identity.node, self.identity.version, self.identity.fingerprint)
        if not self.clean:
            _log.warning("the last process did not end in peace", count=self.unfinished)
        self.engine.clocks.look(self.outside.clock())
        for change in self.engine.begin(started, flat(self.configuration)):
            self.desk.changed(change)

    async def _serve(self, task_status: trio.TaskStatus[int]) -> None:
        await self.server.serve(listen=self.outside.listen, over=self._serve_no_more, task_status=task_status)
        self._served.set()

    async def _take_in_acts(self, directory: Directory, found: beside.Found) -> None:
        """Record what was done while no gateway ran, and begin that file anew when it is durable."""
        for act in found.acts:
            self.desk.changed(act)
        if found.damage:
            _log.error("the acts beside the journal are damaged", reason=found.damage, count=len(found.acts))
            what = {"damage": found.damage, "count": str(len(found.acts))}
            self.desk.changed(steps.Act("acts-beside-the-journal", "failed", "", "start", "", what))
        await self.desk.recorded()
        begin_anew = beside.keep_damaged if found.damage else beside.clear
        try:
            await aside(partial(begin_anew, directory, self.journal.name), trio.CapacityLimiter(1))
        except OSError as error:
            _log.error("acts beside the journal are taken in again at the next start", error=log.describe(error))

    async def _beat(self) -> None:
        """Tell the supervisor that the event loop turns. It waits for nothing else: only a stuck loop can stop it."""
        supervisor = self.outside.supervisor
        while supervisor.alive_every_s < inf:
            supervisor.alive()
            await trio.sleep(supervisor.alive_every_s)


async def run(
    configuration: config.Configuration, outside: Outside | None = None, *, reread: Callable[[], config.Configuration]
) -> bool:
    """Run one gateway until it is told to stop. Returns whether all that was in flight was finished.

    `outside` is the world that it lives in; None: this machine. `reread` reads the configuration again, or raises
    `ConfigurationError`.

    Raises `Refusal` when it cannot start (the journal is in use, a file is missing), `Unavailable` when what it needs
    to start is away or full, `JournalFault` when the journal cannot be trusted any more; an ExceptionGroup around any
    of these, or around a bug of ours.
    """
    node, pair = configuration.node, configuration.pair
    outside = outside or machine(allowance.kept_of(node, descriptors.limit()))
    clock, luck, network = outside.clock, outside.luck, outside.modest()
    codec = Codec(fields.load(pair.wire.field_table), codes.load(pair.wire.code_table))
    words = meanings.load(pair.wire.usm_table)
    check_rules(pair, codec)
    check_dates(pair, codec.table.types)
    answers = Answers(codec.action_codes, pair.refused_code)
    client = Client(node.processor, network=network, luck=luck.random, answers=answers)
    forwarder = Forwarder(
        node.processor, node.name, client, the_processor(node.name, codec, words), clock=clock, luck=luck.random
    )
    peers = Peers(node, clock=clock, network=network, luck=luck.random)
    past = Past(pair.business_days, codec, words)

    def on_record(record: Record) -> None:
        if not record.position % RECORDS_BETWEEN_WORDS:
            outside.supervisor.starting(f"reading the journal: at position {record.position}")
        try:
            past.record(record.kind, record.time_ns, record.fpid, record.body, record.position)
            forwarder.remember(record)
            peers.remember(record)
        except msgspec.DecodeError:
            what = f"position {record.position} is of kind {record.kind.name}, and its body is none of that kind"
            raise JournalFault(f"journal {node.journal.dir}: {what}") from None

    volume = await begin_for(node, outside.drbd)
    # blocks: nothing else is there yet that could wait for it, and a signal ends the process
    outside.supervisor.starting("opening the journal")
    journal = open_journal(
        node.journal, outside.disk, on_record=on_record, wall_ns=lambda: clock().wall_ns, driver=outside.driver(),
        journal_id=luck.randbytes(16), begin=node.journal.begin_if_none,
    )  # fmt: skip
    directory = outside.disk.directory(node.journal.dir)
    done = _acts_beside(directory, journal.name)
    outside.settle()
    with outside.signals() as signals:
        telling, reload = Telling(client, forwarder, peers), Reload(configuration, reread)
        gateway_ = Gateway(configuration, codec, journal, past, telling, volume, outside, reload)
        if gateway_.door is not None:
            reload.on_client_name = gateway_.door.on_client_name
        finished = await gateway_.run(signals, directory, done)
        if finished:
            journal.append(Kind.STOPPED, wall_ns=clock().wall_ns)
        with trio.move_on_after(CLOSE_WITHIN_S) as closing:
            await journal.aclose()
        return finished and not closing.cancelled_caught


def _acts_beside(directory: Directory, journal: bytes) -> beside.Found:
    """What was done while no gateway ran. A disk that cannot say it, or has no room for more, keeps nobody from
    starting.
    """
    try:
        return beside.take(directory, journal)
    except OSError as error:
        _log.error("acts beside the journal are not read, or have no room reserved", error=log.describe(error))
        return beside.Found([], 0, b"", "")
