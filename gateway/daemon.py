"""The nursery tree of one gateway process: what runs, what outlives what, and what stopping means.

    journal                                 opened before anything runs, closed after everything has ended
    ├─ signer        worker processes       outlives the engine's last reply
    ├─ engine        the one that acts
    ├─ client        questions to the processor
    ├─ forwarder     notices to the processor
    ├─ peers         the scheme's news to our other processes
    ├─ sibling       a look at the other site's gateway now and then
    ├─ ops           /live /ready /metrics /statistics, and what an operator switches
    ├─ door          what the processor submits
    ├─ volume        asks DRBD about the disk below, where one is configured
    ├─ watch         unready: links on hold, without a token closed; ready again: resumed
    ├─ seal          the HSM signs the journal's chain now and then
    ├─ beat          the supervisor hears that the event loop turns
    └─ links         to the hub's sites     start last, stop first

Whatever of these ends by an error ends the process: a JournalFault because no promise can be made any more, anything
else because it is a bug. What is away or slow outside (hub, HSM, processor) is nobody's error here.

Stopping (SIGTERM and its like, see `signals`; `POST /drain`) is a drain: sign off to receive, so that the hub uses the
other site; finish what is in flight, for at most `drain_s`; sign off to submit, close the links; then everything else,
the journal last. A second signal ends at once: the journal has what was promised, and a restart takes it up. So does a
kill.
"""

import signal
from collections.abc import AsyncIterator, Callable
from math import inf
from typing import Any, NamedTuple

import msgspec
import trio

import gateway
from gateway import config, log, metrics
from gateway.engine import STEPS, Engine
from gateway.engine.past import Past
from gateway.errors import JournalFault
from gateway.hub.exchanges import MessageIds
from gateway.hub.pool import Links
from gateway.journal.record import Record
from gateway.journal.writer import Journal, open_journal
from gateway.machine import descriptors
from gateway.machine.standstill import RUNS_EVERY_S, Standstill
from gateway.neighbours.peers import Peers
from gateway.neighbours.sibling import Identity, Sibling
from gateway.network import papers
from gateway.ops import server
from gateway.ops.drain import DrainControl
from gateway.ops.news import LiftControl, NewsControl
from gateway.outside import Outside, machine
from gateway.payments import steps
from gateway.payments.dates import check as check_dates
from gateway.payments.ejection import Ejection
from gateway.payments.standin import MODES, order_of
from gateway.payments.standin import check as check_rules
from gateway.payments.steps import Kind
from gateway.payments.work import MacJob
from gateway.processor.answers import Answers
from gateway.processor.client import Client
from gateway.processor.door import Door
from gateway.processor.forwarder import Forwarder, the_processor
from gateway.processor.messages import Readiness, ReadyParts
from gateway.running import allowance
from gateway.running.reload import Reload
from gateway.running.signals import ENDS, RELOADS
from gateway.scheme.ring import wanted_of
from gateway.signer.pool import Signer
from gateway.volume.watch import VolumeWatch, begin_for
from gateway.wire import codes, fields, meanings
from gateway.wire.codec import Codec

_log = log.get("daemon")

WATCH_EVERY_S = RUNS_EVERY_S
"""How often readiness is judged: a disk that hangs is noticed so much later than `stall_after_s`."""
DRAIN_LOOK_S = 0.01
"""How often a drain looks whether it is done."""
CLOSE_LINKS_WITHIN_S = 1.0
"""How long closing the links may take at the end, once the hub has responded to our sign-off or has not."""
SEAL_WITHIN_S = 1.0
"""How long the last seal may take; without an HSM there is none."""
CLOSE_WITHIN_S = 5.0
"""How long the journal's last sync may take: a disk that hangs at the end must not keep the process for ever."""
END_WITHIN_S = 10.0
"""What ending takes beside what else is bounded here, at the most: workers that must be killed, connections that do not
read. So long the supervisor is asked to wait before it kills."""
RECORDS_BETWEEN_WORDS = 1 << 16
"""So often a start that reads a long journal says that it goes on."""


class Stop:
    """How this process is told to stop, and how far that is."""

    def __init__(self, reload: Callable[[], None]) -> None:
        """`reload` is what SIGHUP asks for."""
        self._reload = reload
        self.asked = trio.Event()
        """Drain."""
        self.at_once = trio.Event()
        """End now."""
        self.draining = False

    async def on_signals(self, signals: AsyncIterator[int]) -> None:
        """The first signal to end drains, or joins a drain that was asked for otherwise; the second ends at once. What
        the others do: `signals`.
        """
        signalled = False
        async for number in signals:
            name = signal.Signals(number).name
            if number == RELOADS:
                self._reload()
            elif number not in ENDS:
                _log.info("signal: nothing is done", signal=name)
            elif signalled:
                _log.warning("second signal: ending at once", signal=name)
                self.at_once.set()
                return
            else:
                _log.info("signal: draining", signal=name)
                signalled = True
                self.asked.set()


class Telling(NamedTuple):
    """Who is told what, and by whom."""

    client: Client
    forwarder: Forwarder
    peers: Peers


class Gateway:
    """The parts of one process, joined."""

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
        self.signer = Signer(
            node.token, pair.mac, outside.clock, on_done=self._on_macs,
            on_installed=self._on_installed,
            extra_keys=(pair.mac.seal_key,), keys=pair.keys,
            open_worker=outside.open_worker, luck=outside.luck.random,
        )  # fmt: skip
        message_ids = MessageIds()
        self.ejection = Ejection(node.ejection, pair.submit.answer_within_s, outside.luck.random)
        self.engine = Engine(
            pair, node.payments_max, codec, past, journal, self.signer, self.client, outside.clock, message_ids,
            self.ejection, closed=self.closed, released_ns=outside.released_ns,
        )  # fmt: skip
        self.standstill = Standstill(outside.clock())
        self.links = Links(
            node.hub, pair, self.engine, message_ids, clock=outside.clock, random=outside.luck,
            came_s=self.standstill.came_s, network=outside.network, dial=outside.dial_hub,
        )  # fmt: skip
        self.engine.join(self.links)
        self.identity = Identity(node.name, pair.group, configuration.fingerprint(), gateway.__version__)
        self.sibling = None
        if node.sibling:
            self.sibling = Sibling(node.sibling, self.identity, network=outside.modest(), luck=outside.luck.random)
        self.door = None
        if node.submissions:
            self.door = Door(
                node.submissions, self.engine, codec, pair.group, self.presented,
                came_s=self.standstill.came_s, listen=outside.listen, kept=outside.kept.clients,
            )  # fmt: skip
        journal.on_durable = self.engine.on_durable
        self.client.on_answers = self.engine.on_answers
        self.stop = Stop(reload)
        self._hub_clock_differs = False
        self._sealed = 0
        """Position up to which the journal is sealed, by us."""
        self.drain_control = DrainControl(node.name, self.stop.asked, lambda: self.engine.in_flight, self.ends_within_s)
        self._serve_no_more, self._served = trio.Event(), trio.Event()
        """For the ops server: end, and it has ended."""

    # --- signer and engine need each other: the signer comes first, and its results take this way

    def _on_macs(self, jobs: list[MacJob]) -> None:
        self.engine.on_macs(jobs)

    def _on_installed(self, label: str, ok: bool, why: str) -> None:  # noqa: FBT001 - as the signer says it
        self.engine.on_installed(label, ok, why)

    # --- what it tells of itself

    def unready(self) -> list[str]:
        """Why payments should not come here; empty when they may. The processor is no reason: stand-in is for that."""
        return [reason for reason in (self.engine.clocks.trouble, *self._failing()) if reason]

    def _failing(self) -> list[str]:
        """Why no promise can be kept, about payments of either direction."""
        reasons = [self.journal.health(trio.current_time())]
        if not self.signer.serving:
            reasons.append("no HSM token serves")
        if self.volume is not None:
            reasons.append(self.volume.unready())
        return [reason for reason in reasons if reason]

    def closed(self) -> str:
        """Why no payment may be submitted now, as far as it is not the links'; empty when one may."""
        # our clock says nothing of what is submitted: its date is the processor's
        return "draining" if self.stop.draining else "; ".join(self._failing())

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """For `/ready`."""
        reasons = [*self.unready(), self.links.ready()]
        if self.stop.draining:
            reasons.append("draining")
        reasons = [reason for reason in reasons if reason]
        parts = {
            **{part: trouble or "ok" for part, trouble in self._troubles().items()},
            "signer": {name: health._asdict() for name, health in self.signer.health().items()},
            "volume": self.volume.health() if self.volume is not None else "not watched",
            "sibling": self.sibling.health() or "ok" if self.sibling is not None else "not watched",
            **self.identity._asdict(),
        }
        return not reasons, {"reasons": reasons, "parts": parts}

    def _troubles(self) -> dict[str, str]:
        """By part: what is wrong with it, in words; empty when nothing is."""
        return {
            "journal": self.journal.health(trio.current_time()),
            "clock": self.engine.clocks.trouble,
            "hub_clock": "differs on every link" if self._hub_clock_differs else "",
            "tokens": self.signer.trouble(),
            "links": self.links.ready() or "; ".join(filter(None, (self.links.trouble(), self._ejected()))),
            "processor": self.client.health(),
            "stand_in": self.engine.inbound.stand_in_switched(),
            "peers": self.peers.health(),
            "scheme": self.engine.news.health(),
        }

    def _well(self) -> dict[str, bool]:
        """The same, for a metric."""
        return {part: not trouble for part, trouble in self._troubles().items()}

    def _ejected(self) -> str:
        """Which links get no new payments of ours, and why."""
        return "; ".join(f"{site} gets no new payments: {why}" for site, why in self.ejection.ejected().items())

    def presented(self) -> Readiness:
        """For `/ready` at the door: not more than those have to know who submit."""
        ready, said = self.ready()
        return Readiness(ready, tuple(said["reasons"]), ReadyParts(**self.identity._asdict()))

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

    # --- what an operator switches

    async def switch_stand_in(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """`POST /stand-in`: answered when the switch is on disk."""
        try:
            mode = order_of(body)
        except ValueError as error:
            return 400, {"error": str(error)}
        await self.engine.set_stand_in_mode(mode)
        return 200, {"mode": mode}

    async def request_key(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """`POST /keys/request`: ask the hub for a new key."""
        try:
            use = wanted_of(body)
        except ValueError as error:
            return 400, {"error": str(error)}
        why = self.engine.ask_for_key(use)
        return (409, {"error": why}) if why else (202, {"use": use.value})

    # --- its life

    async def run(self, signals: AsyncIterator[int]) -> bool:
        """Run until stopped. Returns whether everything in flight was finished."""
        with metrics.shown(
            metrics.StepCounts(self.engine.counts, STEPS),
            metrics.Parts(self._well, tuple(MODES), lambda: self.engine.inbound.stand_in_mode),
            metrics.SchemeNews(self.engine.news.counts, self.engine.news.held),
            metrics.PairInfo(self.identity.group, self.identity.fingerprint, self.identity.version),
        ):  # fmt: skip
            return await self._run(signals)

    async def _run(self, signals: AsyncIterator[int]) -> bool:
        finished = False
        async with trio.open_nursery() as tree:
            tree.start_soon(self.stop.on_signals, signals)
            tree.start_soon(self.journal.run)
            self._begin()
            await tree.start(self.signer.run)
            tree.start_soon(self.engine.run)
            await tree.start(self.client.run)
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
            self.standstill.begins(self.outside.clock())
            tree.start_soon(self._watch)
            tree.start_soon(self._seal)
            tree.start_soon(self._beat)
            if any(papers.uses_of(self.configuration.node)):
                tree.start_soon(papers.look_after)
            tree.start_soon(self.links.run)
            if self.door is not None:
                await tree.start(self.door.serve)
            _log.info("started", node=self.configuration.node.name, group=self.configuration.pair.group)
            self.outside.supervisor.ready()
            async with trio.open_nursery() as ending:
                ending.start_soon(self._cancel_at_once, ending)
                await self.stop.asked.wait()
                finished = await self._drain()
                await self.drain_control.ended()
                self._serve_no_more.set()
                await self._served.wait()
                ending.cancel_scope.cancel()
            tree.cancel_scope.cancel()
        return finished

    async def _cancel_at_once(self, ending: trio.Nursery) -> None:
        await self.stop.at_once.wait()
        ending.cancel_scope.cancel()

    def _begin(self) -> None:
        """Take up what the last process left, before anything new can come."""
        started = steps.Started(self.identity.node, self.identity.version, self.identity.fingerprint)
        if not self.clean:
            _log.warning("the last process did not end in peace", count=self.unfinished)
        self.engine.clocks.look(self.outside.clock())
        self.engine.begin(started)

    async def _serve(self, task_status: trio.TaskStatus[int]) -> None:
        controls: dict[str, server.Control] = {
            "/stand-in": self.switch_stand_in,
            "/keys/request": self.request_key,
            "/news": NewsControl(self.engine.on_handed_on),
            "/news/lift": LiftControl(self.engine.on_lift),
            "/drain": self.drain_control,
        }
        await server.serve(
            self.configuration.node.ops,
            ready=self.ready,
            statistics=self.statistics,
            controls=controls,
            listen=self.outside.listen,
            over=self._serve_no_more,
            task_status=task_status,
        )
        self._served.set()

    async def _watch(self) -> None:
        """Keep the hub away while we could not keep our promises."""
        said: list[str] = []
        served_s = -inf
        while True:
            self._look_back()
            self._look_at_clocks()
            now_s = trio.current_time()
            served_s = now_s if self.signer.serving else served_s
            reasons = self.unready()
            if reasons:
                # by then a sign-off has got its MAC, or never will
                self.links.hold(mute=now_s - served_s > self.configuration.pair.session.respond_within_s)
            else:
                self.links.resume()
            if bool(reasons) != bool(said):
                say = _log.error if reasons else _log.info
                say("unready" if reasons else "ready again", reason="; ".join(reasons))
            said = reasons
            why = [reason for reason in (*reasons, self.links.ready()) if reason]
            metrics.READY.set(not why)
            self.outside.supervisor.status("unready: " + "; ".join(why) if why else "ready")
            await trio.sleep(WATCH_EVERY_S)

    def _look_back(self) -> None:
        """Did this process run since the last look? If it did not, nobody can say which links still stand."""
        gap = self.standstill.runs(self.outside.clock())
        if gap.stood_still_s:
            _log.warning("stood still", pause_s=round(gap.stood_still_s, 1))
            metrics.STOOD_STILL_S.inc(gap.stood_still_s)
            self.journal.stood_still(gap.stood_still_s)
        if gap.went_ahead_s:
            why = "it was set, or this machine stood still unseen"
            _log.warning("the wall clock went ahead", pause_s=round(gap.went_ahead_s, 1), reason=why)
        if any(gap):
            self.links.doubt()

    def _look_at_clocks(self) -> None:
        """Can our clock be right (else we are unready), and does the hub agree (which is for people to know)?"""
        clocks, now = self.engine.clocks, self.outside.clock()
        metrics.CLOCK_WRONG.set(bool(clocks.look(now)))
        differs = clocks.hub_differs(now)
        metrics.HUB_CLOCK_DIFFERS.set(differs)
        if differs != self._hub_clock_differs:
            self._hub_clock_differs = differs
            if differs:
                _log.warning("the hub's clock differs from ours on every link")
            else:
                _log.info("the hub's clock agrees with ours again")

    async def _beat(self) -> None:
        """Waits for nothing but its time: only an event loop that is stuck keeps it from that."""
        supervisor = self.outside.supervisor
        while supervisor.alive_every_s < inf:
            supervisor.alive()
            await trio.sleep(supervisor.alive_every_s)

    @property
    def finish_s(self) -> float:
        """What closing the links may take."""
        return self.configuration.pair.session.respond_within_s + CLOSE_LINKS_WITHIN_S

    @property
    def ends_within_s(self) -> float:
        """What a drain may take, to the end of the process."""
        return self.configuration.node.drain_s + self.finish_s + SEAL_WITHIN_S + CLOSE_WITHIN_S + END_WITHIN_S

    async def _drain(self) -> bool:
        """Finish what is in flight; say whether that was all of it."""
        self.stop.draining = True
        self.outside.supervisor.stopping(self.ends_within_s)
        self.links.drain()
        with trio.move_on_after(self.configuration.node.drain_s):
            while self.links.receiving() or self.engine.in_flight:  # noqa: ASYNC110 - two parts, once in a life
                await trio.sleep(DRAIN_LOOK_S)
        with trio.move_on_after(self.finish_s):
            await self.links.finish()
        left = self.engine.in_flight
        _log.info("drained", in_flight=left)
        # a journal that goes to another server, or to the archive, is sealed up to here: nothing follows but what
        # the processor is told meanwhile
        with trio.move_on_after(SEAL_WITHIN_S):
            last = self.journal.position - 1
            with trio.move_on_after(SEAL_WITHIN_S / 2):
                while self.journal.durable < last:  # noqa: ASYNC110 - as above
                    await trio.sleep(DRAIN_LOOK_S)
            await self._seal_once()
        return not left

    async def _seal(self) -> None:
        """Have the HSM sign the journal's chain now and then: what was written cannot be rewritten unseen."""
        while True:
            await trio.sleep(self.configuration.node.journal.seal_every_s)
            await self._seal_once()

    async def _seal_once(self) -> None:
        position = self.journal.durable
        if position > self._sealed and await self.engine.seal(position, self.journal.durable_chain):
            self._sealed = position + 1  # the seal itself is no reason for the next one


async def run(
    configuration: config.Configuration, outside: Outside | None = None, *, reread: Callable[[], config.Configuration]
) -> bool:
    """Run one gateway until it is told to stop. Returns whether all that was in flight was finished.

    `outside`: the world that it lives in; None: this machine. `reread`: reads the configuration again, or raises
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
            past.record(record.kind, record.time_ns, record.fpid, record.body)
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
    outside.settle()
    with outside.signals() as signals:
        telling, reload = Telling(client, forwarder, peers), Reload(configuration, reread)
        gateway_ = Gateway(configuration, codec, journal, past, telling, volume, outside, reload)
        finished = await gateway_.run(signals)
        if finished:
            journal.append(Kind.STOPPED, wall_ns=clock().wall_ns)
        with trio.move_on_after(CLOSE_WITHIN_S) as closing:
            await journal.aclose()
        return finished and not closing.cancelled_caught
