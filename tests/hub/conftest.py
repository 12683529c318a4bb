"""A playbook reader for sessions, a scripted hub at the other end of a stream, and an engine that notes its calls."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from gateway import config
from gateway.clock import Now, system_clock
from gateway.hub.budget import Budget
from gateway.hub.dial import HubConnection
from gateway.hub.exchanges import MessageIds
from gateway.hub.link import Link
from gateway.hub.pool import Links
from gateway.hub.rules import Action, Changed, Finished, Lost, Report, Send
from gateway.hub.session import Session
from gateway.network.dialler import Dialler
from gateway.wire.codec import Codec, join_mac
from gateway.wire.frame import Frame, FrameError, Framer, frame
from gateway.wire.message import Advice, Message, NetworkRequest, NetworkResponse, Usm, UsmAcknowledgement

NOON_NS = 1_792_238_400_000_000_000
"""2026-10-17 12:00:00 UTC: DE7 of a message sent at second 0 of a playbook is 1017120000."""
MAC = bytes(8)
BAD, SLOW = b"bad", b"slow"
"""How frames begin that prove nothing, and those that no HSM has judged yet."""
CODEC = Codec()
HUB_IDS = itertools.count(500_001)
Make = Callable[..., Any]
"""The type of a fixture that makes something."""


def at(mono_s: float) -> Now:
    """The moment this many seconds after noon."""
    return Now(mono_s, NOON_NS + int(mono_s * 1e9))


def fresh(now_s: float) -> float:
    """Bytes that are read have just come: this process has run all the time."""
    return now_s


def told(
    mti: str, function_code: str, message_id: str, code: str = "", *, fault: int = 0, sent: str = "1017115959"
) -> Message:
    """A management message from the hub; `sent` is its DE7."""
    texts: dict[str, Any] = {
        "transmission_time": sent,
        "message_id": message_id,
        "function_code": function_code,
    }
    match mti:
        case "9804":
            return NetworkRequest(mti=mti, fault=fault, **texts)
        case "9814":
            return NetworkResponse(mti=mti, fault=fault, action_code=code, **texts)
        case "9824":
            return Usm(mti=mti, fault=fault, **texts)
        case "9834":
            return UsmAcknowledgement(mti=mti, fault=fault, action_code=code, **texts)
        case _:
            return Advice(mti=mti, fault=fault, **texts)


def words(action: Action) -> str:
    """One action as a playbook writes it."""
    match action:
        case Send(message):
            assert isinstance(message, NetworkRequest | NetworkResponse | UsmAcknowledgement)
            code = "" if isinstance(message, NetworkRequest) else " " + message.action_code
            return f"{message.mti} {message.function_code} {message.message_id}{code}"
        case Changed(direction, on):
            return ("+" if on else "-") + direction.value
        case Report(name, direction):
            return f"({name}{' ' + direction.value if direction else ''})"
        case Lost():
            return "LOST"
        case Finished():
            return "FINISHED"


class Player:
    """Plays a trace to a session. A line is `time  what happens -> what comes out, …`; nothing comes out when `->` is
    missing.

    What happens: `start hold resume drain finish end`, `bytes` (something was heard), `timer` (which must be set to
    this very time), `early` (a timer call before anything is due), or `< MTI DE24 DE11 [DE26]`, a message that was
    just heard. A response has the DE7 of the request whose DE11 it has, if there is one.
    """

    def __init__(self, settings: config.Session, **how: bool) -> None:
        self.session = Session(settings, MessageIds(), **how)
        self.sent: dict[str, str] = {}
        """DE11 to DE7 of our requests."""

    def play(self, trace: str) -> Session:
        """Play all lines."""
        for line in filter(None, map(str.strip, trace.splitlines())):
            event, _, expected = line.partition("->")
            time_s, what = event.split(None, 1)
            said = ", ".join(map(words, self.do(float(time_s), what.strip())))
            assert said == expected.strip(), f"{line}\n  but said: {said}"
        return self.session

    def do(self, time_s: float, what: str) -> list[Action]:
        """Play one event."""
        now = at(time_s)
        if what.startswith("<"):
            self.session.heard(now)
            self.session.came(1)
            mti, function_code, message_id, *code = what[1:].split()
            self._note(self.session._actions)
            message = told(mti, function_code, message_id, *code[:1])
            if isinstance(message, NetworkResponse) and message_id in self.sent:
                message = msgspec.structs.replace(message, transmission_time=self.sent[message_id])
            self.session.manage(message, now)
        elif what == "bytes":
            self.session.heard(now)
        elif what == "timer":
            assert self.session.next_timer() == pytest.approx(time_s)
            self.session.handle_timer(now)
        elif what == "early":
            timer = self.session.next_timer()
            assert timer is None or timer > time_s
            self.session.handle_timer(now)
        else:
            getattr(self.session, what)(now)
        actions = self.session.take()
        self._note(actions)
        return actions

    def _note(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Send) and isinstance(action.message, NetworkRequest):
                self.sent[action.message.message_id] = action.message.transmission_time


@pytest.fixture
def player() -> Callable[..., Player]:
    """Make a player: of the default settings, or `player(submit=False, held=True)`."""

    def make(*, held: bool = False, draining: bool = False, **settings: Any) -> Player:
        return Player(config.Session(**settings), held=held, draining=draining)

    return make


class Engine:
    """An `Inbox` that does what the engine does with management messages, without keys or journal, and notes
    everything.
    """

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.bodies: list[bytes] = []
        """Payments, and whatever else is no management message."""
        self.read_s: list[float] = []
        """When each frame's first byte came."""
        self.transmitting = True
        self.key_changes = False
        """The hub's key changes."""
        self.unjudged: list[tuple[Link, int]] = []
        """Links and sizes of the frames that begin with `SLOW`: for the test to judge."""
        self.progress = trio.lowlevel.ParkingLot()

    def _note(self, *event: Any) -> None:
        self.events.append(event)
        self.progress.unpark_all()

    async def until(self, name: str, count: int = 1) -> Any:
        """Wait for the so-manieth event of this name and return it."""
        while len(found := self.of(name)) < count:
            await self.progress.park()
        return found[count - 1]

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """The events of this name."""
        return [event for event in self.events if event[0] == name]

    def link_up(self, link: Link) -> None:
        """See Inbox."""
        self._note("up", link)

    def link_down(self, link: Link, reason: str) -> None:
        """See Inbox."""
        assert not link.open
        assert not link.send(b"too late", "too late")
        self._note("down", link, reason)

    def frames(self, link: Link, frames: list[Frame], now_s: float) -> None:
        """See Inbox."""
        assert frames
        for first_s, body in frames:
            assert first_s <= now_s
            self.read_s.append(first_s)
            if body.startswith(BAD):
                link.disproved(len(body), key_changes=self.key_changes)
            elif body.startswith(SLOW):
                self.unjudged.append((link, len(body)))
            else:
                link.proved(len(body))
            if body[:2] in {b"98", b"96"}:
                link.manage(CODEC.decode(body), system_clock())
            else:
                self.bodies.append(body)
        self._note("frames", link, len(frames))

    def frame_error(self, link: Link, error: FrameError) -> None:
        """See Inbox."""
        self._note("frame error", link, error)

    def transmit(self, link: Link, message: Message) -> None:
        """See Inbox."""
        if self.transmitting:
            link.send(join_mac(CODEC.encode(message), MAC))
            link.flush()
        self._note("transmit", link, message)

    def sent(self, link: Link, contexts: list[Any]) -> None:
        """See Inbox."""
        assert contexts
        assert None not in contexts
        self._note("sent", link, contexts)

    def unsent(self, link: Link, contexts: list[Any], *, surely: bool) -> None:
        """See Inbox."""
        assert contexts
        assert None not in contexts
        self._note("unsent", link, contexts, surely)

    def expired(self, link: Link, contexts: list[Any]) -> None:
        """See Inbox."""
        assert contexts
        assert None not in contexts
        self._note("expired", link, contexts)


@pytest.fixture
def engine() -> Engine:
    """An engine that notes its calls."""
    return Engine()


class Hub:
    """A hub at the other end of one stream: responds to sign-ons and echoes with `codes`, keeps what else comes."""

    def __init__(self, stream: trio.abc.Stream, wire: config.Wire) -> None:
        self.stream = stream
        self.wire = wire
        self.codes = dict.fromkeys(("881", "882", "891", "892", "831"), "0000")
        """DE26 of the response by DE24; without one the hub keeps silent."""
        self.requests: list[str] = []
        """DE24 of each 9804 that came."""
        self.messages: list[Message] = []
        """All management messages that came."""
        self.bodies: list[bytes] = []
        """What else came."""
        self._sending = trio.Lock()
        self.closed = trio.Event()
        """We were closed by the gateway."""
        self.progress = trio.lowlevel.ParkingLot()

    async def run(self) -> None:
        """Serve until the gateway closes."""
        framer = Framer(self.wire)
        try:
            async for chunk in self.stream:
                for _, body in framer.feed(bytes(chunk), 0.0):
                    if body.startswith(b"98"):
                        await self._take(CODEC.decode(body))
                    else:
                        self.bodies.append(body)
                self.progress.unpark_all()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.closed.set()

    async def _take(self, message: Message) -> None:
        self.messages.append(message)
        if isinstance(message, NetworkRequest):
            self.requests.append(message.function_code)
            code = self.codes.get(message.function_code)
            if code is not None:
                sent = message.transmission_time
                await self.say(told("9814", message.function_code, message.message_id, code, sent=sent))

    async def until(self, done: Callable[["Hub"], bool]) -> None:
        """Wait until something is true of this hub."""
        while not done(self):
            await self.progress.park()

    async def say(self, *messages: Message) -> None:
        """Send messages in one write."""
        await self.send(b"".join(self.framed(message) for message in messages))

    async def send(self, data: bytes) -> None:
        """Send bytes; from any task."""
        async with self._sending:
            await self.stream.send_all(data)

    async def ask(self, function_code: str) -> str:
        """Send a 9804; returns its DE11."""
        message_id = str(next(HUB_IDS))
        await self.say(told("9804", function_code, message_id))
        return message_id

    def framed(self, message: Message) -> bytes:
        """A message as it goes over the wire."""
        return frame(self.wire, self.body(message))

    def body(self, message: Message) -> bytes:
        """A message with its MAC."""
        return join_mac(CODEC.encode(message), MAC)


class World:
    """Links to hubs in memory. `hubs` are those that were dialled, in this order; `refuse` says who does not take
    calls.
    """

    def __init__(
        self, nursery: trio.Nursery, engine: Engine, pair: config.Pair, sites: tuple[config.HubSite, ...],
        unproved: config.Unproved,
    ) -> None:  # fmt: skip
        self.engine = engine
        self.hubs: list[Hub] = []
        self.dials: list[tuple[str, float]] = []
        """The sites that were dialled, and when."""
        self.refuse: set[str] = set()
        self.hang: set[str] = set()
        self.silent_s: dict[str, float] = {}
        """Since when a site's machine was not heard of."""
        self.prepare: Callable[[str, Hub], None] = lambda _site, _hub: None
        """Called with each new hub before anything is exchanged."""
        self._nursery = nursery
        self._pair = pair
        seeded = random.Random(1)  # noqa: S311 - jitter
        self.links = Links(
            sites, pair, engine, MessageIds(), clock=system_clock, random=seeded, came_s=fresh,
            unproved=unproved, dial=self.dial,
        )  # fmt: skip

    async def dial(self, site: config.HubSite, _dialler: Dialler) -> HubConnection:
        """The dialler of `Links`."""
        self.dials.append((site.name, trio.current_time()))
        await trio.lowlevel.checkpoint()
        if site.name in self.hang:
            await trio.sleep_forever()
        if site.name in self.refuse:
            raise ConnectionRefusedError(111, "Connection refused")
        ours, theirs = trio.testing.memory_stream_pair()
        hub = Hub(theirs, self._pair.wire)
        self.prepare(site.name, hub)
        self.hubs.append(hub)
        self._nursery.start_soon(hub.run)
        return HubConnection(ours, site.host, lambda: self.silent_s.get(site.name, 0.0))


def site(name: str, **settings: Any) -> config.HubSite:
    """A hub site that is never dialled over sockets."""
    return config.HubSite(name=name, host="127.0.0.1", port=1, **settings)


@pytest.fixture
def make_world(engine: Engine, nursery: trio.Nursery) -> Callable[..., World]:
    """Make a world: `make_world("a", "b", submit=False)`."""

    def make(*names: str, unproved: config.Unproved | None = None, **session: Any) -> World:
        pair = config.Pair(group="sip", session=config.Session(**session))
        sites = tuple(site(name) for name in names or ("a",))
        return World(nursery, engine, pair, sites, unproved or config.Unproved())

    return make


class Wired:
    """One link and the raw other end of its stream."""

    def __init__(self, link: Link, stream: trio.abc.Stream, engine: Engine, wire: config.Wire) -> None:
        self.link = link
        self.stream = stream
        self.engine = engine
        self.wire = wire
        self.hub = Hub(stream, wire)


@pytest.fixture
def wired(engine: Engine) -> Callable[..., Wired]:
    """Make a link over a pair of memory streams, not running yet. Without session settings it signs on for nothing."""

    def make(
        streams: tuple[trio.abc.Stream, trio.abc.Stream] | None = None,
        wire: config.Wire | None = None,
        write_bytes_max: int = 8192,
        came_s: Callable[[float], float] = fresh,
        unproved: config.Unproved | None = None,
        is_needed: Callable[[], bool] = lambda: False,
        **session: Any,
    ) -> Wired:
        ours, theirs = streams or trio.testing.memory_stream_pair()
        pair = config.Pair(
            group="sip",
            wire=wire or config.Wire(),
            session=config.Session(**{"receive": False, "submit": False, **session}),
        )
        link = Link(
            1,
            site("a", write_bytes_max=write_bytes_max),
            ours,
            Session(pair.session, MessageIds()),
            engine,
            pair=pair,
            clock=system_clock,
            came_s=came_s,
            budget=Budget(unproved or config.Unproved()),
            is_needed=is_needed,
        )
        return Wired(link, theirs, engine, pair.wire)

    return make


@pytest.fixture
def message() -> Callable[..., Message]:
    """Make a management message from the hub: `message("9804", "831", "000007")`."""
    return told


@pytest.fixture
def moment() -> Callable[[float], Now]:
    """Make a `Now`: this many seconds after noon."""
    return at


@pytest.fixture
def hub_type() -> type[Hub]:
    """The scripted hub, for streams that the test makes."""
    return Hub
