"""A network in memory for the simulation: places, routes between them, and all that goes wrong with TCP, from one seed.

A port belongs to whoever listens on it, in the whole network: who dials names a port and no host. Everything random
comes from the network's luck, in the order in which tasks use it: the same seed and the same scheduling give the same
run. `streams` says how a connection behaves.

The gateway process of a place ends in three ways. It may close what it has; it may just be gone (`Place.exit`: the
kernel closes what is left); its machine may lose power (`Place.fail`).
"""

import errno
import os
import random
from collections import deque
from math import inf

import trio

from gateway.network.listening import Listening
from tests.simulation.streams import Path, Stream, connection

WINDOW_BYTES = 65536
"""Bytes that may be written and not read. Fewer than in a kernel, so that a reader that does not read is felt early."""
UNACKNOWLEDGED_S = 10.0
"""Time without an acknowledgement after which a writer's end breaks: the gateway's TCP_USER_TIMEOUT."""
DIAL_S = 127.0
"""Time for which Linux dials when nothing comes back."""
DIAL_AGAIN_S = 1.0
"""Pause before a dial that found the backlog full tries again."""
FIRST_PORT = 20_000


class Listener(trio.abc.Listener[Stream]):
    """Takes connections, as `trio.SocketListener`."""

    def __init__(self, place: "Place", port: int, backlog: int) -> None:
        self.place = place
        self.port = port
        self._backlog = backlog
        self._closed = False
        self._dead = False
        self._waiting: deque[tuple[float, Stream]] = deque()
        self._accepting: trio.CancelScope | None = None

    @property
    def listening(self) -> bool:
        """Whether it takes dials."""
        return not (self._closed or self._dead)

    @property
    def full(self) -> bool:
        """Whether the backlog is full; Linux lets in one more than it was told."""
        return len(self._waiting) > self._backlog

    def offer(self, stream: Stream, due_s: float) -> None:
        """Add a connection that can be accepted from this time on."""
        self._waiting.append((due_s, stream))
        if self._accepting is not None:
            self._accepting.deadline = min(self._accepting.deadline, due_s)

    async def accept(self) -> Stream:
        """See trio."""
        await trio.lowlevel.checkpoint_if_cancelled()
        waited = False
        while True:
            if self._closed:
                raise trio.ClosedResourceError("this listener was already closed")
            due_s = self._waiting[0][0] if self._waiting and not self._dead else inf
            if due_s <= trio.current_time():
                _, stream = self._waiting.popleft()
                break
            if self._accepting is not None:
                raise trio.BusyResourceError("another task is accepting")
            self._accepting = trio.CancelScope(deadline=due_s)
            try:
                with self._accepting:
                    await trio.sleep_forever()
            finally:
                self._accepting = None
            waited = True
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return stream

    async def aclose(self) -> None:
        """See trio. Connections that nobody accepted are reset."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close it at once."""
        self._closed = True
        self._let_go()
        if self._accepting is not None:
            self._accepting.cancel()

    def exit(self) -> None:
        """Close it as the kernel does for a dead process. A task that accepts here waits for ever."""
        self._dead = True
        self._let_go()

    def fail(self) -> None:
        """Cut the power of its machine."""
        self._dead = True
        self._waiting.clear()

    def _let_go(self) -> None:
        self.place.forget(self)
        while self._waiting:
            _, stream = self._waiting.popleft()
            stream.abort()


class Route(Path):
    """The route between two places. Its attributes may be changed at any time."""

    def __init__(self, luck: random.Random, window_bytes: int, unacknowledged_s: float) -> None:
        super().__init__(luck, window_bytes, unacknowledged_s)
        self.refuse = False
        """True: dials are refused."""
        self._silent = False
        self._connections: list[tuple[Stream, Stream]] = []
        self._places: dict[Stream, Place] = {}
        self._changed = trio.Event()

    @property
    def silent(self) -> bool:
        """True: dials hear nothing, and go on for `DIAL_S`. Connections that stand are not touched."""
        return self._silent

    @silent.setter
    def silent(self, silent: bool) -> None:
        self._silent = silent
        self._change()

    @property
    def open(self) -> int:
        """Number of connections that stand, to the knowledge of an end."""
        return len(self._standing())

    def stall(self) -> None:
        """Let nothing arrive from now on: written data fills the window."""
        if not self.stalled:
            for stream in self._streams():
                stream.settle()
            self.stalled = True
            self._look_again()

    def go_on(self) -> None:
        """End a stall: all that was held up arrives soon."""
        if self.stalled:
            self.stalled = False
            for stream in self._streams():
                stream.carry_on()
            self._look_again()
            self._change()

    def cut(self, *, rst: bool = True) -> None:
        """Every connection breaks, and what is on its way is lost. With `rst` both ends hear it at once, without
        nobody is told: who writes finds out after a while.
        """
        for stream in self._streams():
            stream.settle()
        for stream in self._streams():
            if rst:
                stream.snap()
            else:
                stream.lose()
        self._look_again()

    def half_open(self, towards: "Place") -> None:
        """What is on its way to this place vanishes, and all that follows on the connections that stand now. Nobody is
        told. New connections are not touched: a firewall forgot the old ones.
        """
        for stream in self._streams():
            stream.settle()
        for pair in self._standing():
            for stream, other in (pair, pair[::-1]):
                if self._places[other] is towards:
                    stream.lose()
        self._look_again()

    async def connect(self, dialler: "Place", network: "Network", port: int) -> Stream:
        """Dial. Raises `OSError`."""
        life = dialler.lives
        while True:
            await trio.sleep(self.travel_s() + self.travel_s())
            while self._silent or self.stalled:
                await self._changed.wait()
            await dialler.outlive(life)
            listener = network.listener(port)
            if self.refuse or listener is None:
                raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
            if not listener.full:
                ours, theirs = connection(self)
                self._connections = [*self._standing(), (ours, theirs)]
                self._places[ours], self._places[theirs] = dialler, listener.place
                listener.offer(theirs, trio.current_time() + self.travel_s())
                return ours
            await trio.sleep(DIAL_AGAIN_S)

    def ends(self, place: "Place") -> list[Stream]:
        """The ends at this place of the connections that stand."""
        return [stream for stream in self._streams() if self._places[stream] is place]

    def place_of(self, stream: Stream) -> "Place":
        """Where this end is."""
        return self._places[stream]

    def _standing(self) -> list[tuple[Stream, Stream]]:
        """Forget those that are over at both ends."""
        over = [pair for pair in self._connections if pair[0].gone and pair[1].gone]
        for pair in over:
            for stream in pair:
                del self._places[stream]
        if over:
            self._connections = [pair for pair in self._connections if not (pair[0].gone and pair[1].gone)]
        return self._connections

    def _streams(self) -> list[Stream]:
        return [stream for pair in self._standing() for stream in pair]

    def _look_again(self) -> None:
        for stream in self._streams():
            stream.look_again()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class Place:
    """A machine with an address."""

    def __init__(self, network: "Network", name: str) -> None:
        self.name = name
        self.lives = 0
        """Number of processes that have ended here."""
        self._network = network
        self._listeners: list[Listener] = []

    def __repr__(self) -> str:
        return f"<Place {self.name}>"

    async def listen(self, host: str, port: int, backlog: int) -> Listening:
        """As `gateway.network.listening.listen_tcp`. Raises `OSError` when anybody in the network listens on this
        port.
        """
        life = self.lives
        await trio.lowlevel.checkpoint()
        await self.outlive(life)
        listener = self._network.open(self, port, backlog)
        self._listeners.append(listener)
        return Listening([listener], listener.port)

    async def dial(self, port: int) -> Stream:
        """Connect to the listener on this port. Raises `OSError`. Cancelled, it leaves nothing behind."""
        other = self._network.holder(port) or self
        with trio.move_on_after(DIAL_S):
            return await self._network.route(self, other).connect(self, self._network, port)
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    async def outlive(self, life: int) -> None:
        """What a process of this place was about to do is not done any more when it has ended meanwhile."""
        if life != self.lives:
            await trio.sleep_forever()

    def forget(self, listener: Listener) -> None:
        """Forget a listener that is closed."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def exit(self) -> None:
        """The process here has ended, whatever way: what it left open is closed. Its tasks, if any are left, hear of
        nothing any more. The place is there for another process at once; so it is after `fail`.
        """
        self.lives += 1
        for listener in list(self._listeners):
            listener.exit()
        for stream in self._ends():
            stream.exit()

    def fail(self, *, half_open: bool = False) -> None:
        """Power is lost: nothing that was not yet on its way leaves. The other ends hear a reset (the machine is back
        soon), or, `half_open`, nothing: who writes finds out after a while. This end's tasks hear of nothing.
        """
        self.lives += 1
        for stream in self._ends():
            stream.fail(reset=not half_open)
        for listener in self._listeners:
            listener.fail()
        self._listeners.clear()

    def _ends(self) -> list[Stream]:
        return [stream for route in self._network.routes() for stream in route.ends(self)]


class Network:
    """Places and the routes between them."""

    def __init__(
        self,
        luck: random.Random,
        *,
        window_bytes: int = WINDOW_BYTES,
        unacknowledged_s: float = UNACKNOWLEDGED_S,
    ) -> None:
        self._luck = luck
        self._window_bytes = window_bytes
        self._unacknowledged_s = unacknowledged_s
        self._places: dict[str, Place] = {}
        self._routes: dict[tuple[str, str], Route] = {}
        self._ports: dict[int, Listener] = {}
        self._next_port = FIRST_PORT

    def place(self, name: str) -> Place:
        """The place of this name."""
        if name not in self._places:
            self._places[name] = Place(self, name)
        return self._places[name]

    def route(self, one: Place, other: Place) -> Route:
        """The route between these two places."""
        key = (min(one.name, other.name), max(one.name, other.name))
        if key not in self._routes:
            self._routes[key] = Route(self._luck, self._window_bytes, self._unacknowledged_s)
        return self._routes[key]

    def routes(self) -> list[Route]:
        """All routes that were asked for."""
        return list(self._routes.values())

    def open(self, place: Place, port: int, backlog: int) -> Listener:
        """Listen there; port 0: any. Raises `OSError`."""
        if port == 0:
            while self._next_port in self._ports:
                self._next_port += 1
            port = self._next_port
        elif self.listener(port) is not None:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        listener = self._ports[port] = Listener(place, port, backlog)
        return listener

    def listener(self, port: int) -> Listener | None:
        """The listener there, now."""
        found = self._ports.get(port)
        return found if found is not None and found.listening else None

    def holder(self, port: int) -> Place | None:
        """The last listener there."""
        found = self._ports.get(port)
        return found.place if found is not None else None
