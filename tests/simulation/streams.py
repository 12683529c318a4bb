"""One connection of the simulated network: two streams that behave as `trio.SocketStream` over TCP on Linux.

Nothing runs here: each byte has a time when it is due, and an end looks at what has arrived when somebody uses it. A
task that waits at an end sleeps until the next thing there is due, so a delivery costs one wake-up and no task.

What TCP does, and this does:

* What was written is taken as long as the window has room (our buffer and the other end's in one); then it blocks.
* Closing says EOF behind all that was written; closing while something is unread says a reset. What reaches an end
  that is closed or given up is answered with a reset.
* After a reset, what had arrived can still be read. The error is told once, to whoever comes first; from then on
  reading is at its end and writing is a broken pipe.
* What was written and is not acknowledged for `unacknowledged_s` breaks the end that wrote it, and only that one:
  whoever only reads never hears that the other end is gone. An acknowledgement travels the other way: when that way is
  lost, bytes arrive, and the end that wrote them gives up all the same.

`test_network` runs one suite on these and on sockets.
"""

import errno
import operator
import os
import random
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Final, NamedTuple

import trio

RECEIVE_BYTES = 65536
"""Bytes that a read takes at most by default, as in trio."""
SPLIT = 0.1
"""Share of writes that travel in two pieces, and of reads that get only part of the available bytes."""


class Path:
    """The properties that streams between two places share."""

    def __init__(self, luck: random.Random, window_bytes: int, unacknowledged_s: float) -> None:
        self.luck = luck
        self.window_bytes = window_bytes
        self.unacknowledged_s = unacknowledged_s
        self.latency_s = (0.0001, 0.001)
        """From, to: each piece that travels takes something between, and overtakes nothing."""
        self.stalled = False
        self.tap: Callable[[Stream, bytes], bytes] | None = None
        """Somebody on the path: gets what an end sends, and says what goes on."""

    def travel_s(self) -> float:
        """Time that a piece takes from one place to the other."""
        shortest, longest = self.latency_s
        return shortest + (longest - shortest) * self.luck.random()


class _Signal:
    """Signals that travel besides data."""


FIN: Final = _Signal()
RST: Final = _Signal()


class _Segment(NamedTuple):
    due_s: float
    sent_s: float
    what: bytes | _Signal


class _Way:
    """One direction of a connection."""

    def __init__(self) -> None:
        self.flying: deque[_Segment] = deque()
        self.last_s = -inf
        """Arrival time of the last piece sent: nothing overtakes it."""
        self.arrived: deque[bytes] = deque()
        self.arrived_bytes = 0
        self.held_bytes = 0
        """Bytes written and not known to be read."""
        self.unsaid_bytes = 0
        """Bytes read during a stall: the writer hears of them afterwards."""
        self.lost = False
        """True: everything sent from now on vanishes."""
        self.unacknowledged_s = inf
        """Time since which something is under way whose fate the sender will never learn."""


class Socket(NamedTuple):
    """The part of a stream's socket that the ops server uses."""

    stream: "Stream"
    family: int = socket.AF_INET

    def getpeername(self) -> tuple[str, int]:
        """Nobody goes by it."""
        return "192.0.2.1", 1

    def getsockname(self) -> tuple[str, int]:
        """Likewise."""
        return "192.0.2.2", 2

    def close(self) -> None:
        """Close the stream. Closing it again does nothing."""
        self.stream.close()


class Stream(trio.abc.HalfCloseableStream):
    """One end of a connection. Made in pairs by `connection`."""

    _peer: "Stream"

    def __init__(self, path: Path, incoming: _Way, outgoing: _Way) -> None:
        self._path = path
        self._in = incoming
        self._out = outgoing
        self._closed = False
        self._said_end = False
        self._heard_end = False
        self._broken = False
        self._dead = False
        self._error = 0
        """The error of the connection, until somebody was told."""
        self._busy_sending = False
        self._reading: trio.CancelScope | None = None
        self._writing: trio.CancelScope | None = None

    @property
    def socket(self) -> "Socket":
        """The socket, at which the ops server looks and which it closes."""
        return Socket(self)

    @property
    def gone(self) -> bool:
        """Whether this end receives nothing any more."""
        return self._closed or self._broken or self._dead

    # --- what tasks do with it

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See trio. Cancelled, some first part of the data was taken."""
        if self._said_end:
            raise trio.ClosedResourceError("can't send data after sending EOF")
        with self._sending():
            self._check_open()
            left = bytes(data)
            if not left:
                await trio.lowlevel.checkpoint()
                return
            await trio.lowlevel.checkpoint_if_cancelled()
            while True:
                left = self._take(left)
                if not left:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                    return
                await self._wait_to_write()

    async def wait_send_all_might_not_block(self) -> None:
        """See trio."""
        with self._sending():
            self._check_open()
            await trio.lowlevel.checkpoint()
            self._settle(trio.current_time())
            while not self._broken and self._path.window_bytes <= self._out.held_bytes:
                await self._wait_to_write()

    async def send_eof(self) -> None:
        """See trio."""
        with self._sending():
            await trio.lowlevel.checkpoint()
            if self._said_end:
                return
            self._check_open()
            now_s = trio.current_time()
            self._settle(now_s)
            if self._broken:
                raise _broken(errno.ENOTCONN)
            self._said_end = True
            self._send(FIN, now_s)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See trio. Cancelled, nothing was taken."""
        limit = RECEIVE_BYTES if max_bytes is None else operator.index(max_bytes)
        if limit < 1:
            raise ValueError("max_bytes must be >= 1")
        await trio.lowlevel.checkpoint_if_cancelled()
        waited = False
        while (chunk := self._heard(limit)) is None:
            await self._wait_to_read()
            waited = True
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return chunk

    async def aclose(self) -> None:
        """See trio."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close this end as the kernel closes a socket."""
        if self._closed:
            return
        self._hang_up()
        self._closed = True
        self._leave(trio.current_time())
        self._wake()

    def _hang_up(self) -> None:
        now_s = trio.current_time()
        self._settle(now_s)
        if self.gone:
            return
        if self._in.arrived_bytes:
            self._send(RST, now_s)
        elif not self._said_end:
            self._send(FIN, now_s)

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream was already closed")

    def _heard(self, limit: int) -> bytes | None:
        """The bytes that can be read now, this many at most; empty at the end, None when there are none yet."""
        self._check_open()
        self._settle(trio.current_time())
        if self._dead:
            return None
        if self._in.arrived_bytes:
            return self._read(limit)
        if self._error and not self._heard_end:
            raise _broken(self._told())
        return b"" if self._heard_end or self._broken else None

    def _told(self) -> int:
        """The error of the connection, which only one caller gets."""
        number, self._error = self._error, 0
        return number

    @contextmanager
    def _sending(self) -> Iterator[None]:
        if self._busy_sending:
            raise trio.BusyResourceError("another task is currently sending data on this stream")
        self._busy_sending = True
        try:
            yield
        finally:
            self._busy_sending = False

    # --- waiting

    async def _wait_to_read(self) -> None:
        if self._reading is not None:
            raise trio.BusyResourceError("another task is currently receiving data on this stream")
        due_s = self._gives_up_s()
        flying = self._in.flying
        if flying and not self._path.stalled:
            due_s = min(due_s, flying[0].due_s)
        self._reading = trio.CancelScope(deadline=due_s)
        try:
            with self._reading:
                await trio.sleep_forever()
        finally:
            self._reading = None

    async def _wait_to_write(self) -> None:
        due_s = self._gives_up_s()
        flying = self._in.flying
        if flying and flying[-1].what is RST and not self._path.stalled:
            due_s = min(due_s, flying[-1].due_s)
        self._writing = trio.CancelScope(deadline=due_s)
        try:
            with self._writing:
                await trio.sleep_forever()
        finally:
            self._writing = None
        self._check_open()
        self._settle(trio.current_time())

    def _wake(self) -> None:
        """Wake every task that waits here."""
        for scope in (self._reading, self._writing):
            if scope is not None:
                scope.cancel()

    def _remind(self, due_s: float, *, of_all: bool) -> None:
        """Wake every task that reads or waits here, at this time."""
        for scope in (self._reading, self._writing if of_all else None):
            if scope is not None and due_s < scope.deadline:
                scope.deadline = due_s

    def _gives_up_s(self) -> float:
        """The time when this end breaks because none of its data is acknowledged."""
        if self._dead:
            return inf
        since_s, flying = self._out.unacknowledged_s, self._out.flying
        if flying and self._path.stalled:
            since_s = min(since_s, flying[0].sent_s)
        return since_s + self._path.unacknowledged_s

    # --- what travels

    def _take(self, data: bytes) -> bytes:
        """Send as much as the window has room for; return the rest."""
        now_s = trio.current_time()
        self._settle(now_s)
        if self._broken:
            raise _broken(self._told() or errno.EPIPE)
        room = self._path.window_bytes - self._out.held_bytes
        if room <= 0:
            return data
        taken, left = (data, b"") if len(data) <= room else (data[:room], data[room:])
        self._out.held_bytes += len(taken)
        if self._path.tap is not None:
            given = self._path.tap(self, taken)
            self._out.held_bytes += len(given) - len(taken)
            taken = given
        luck = self._path.luck
        if len(taken) > 1 and luck.random() < SPLIT:
            at = luck.randrange(1, len(taken))
            self._send(taken[:at], now_s)
            taken = taken[at:]
        if taken:
            self._send(taken, now_s)
        return left

    def _send(self, what: bytes | _Signal, now_s: float) -> None:
        out, peer = self._out, self._peer
        if self._dead:
            return
        if out.lost or self._in.lost:
            out.unacknowledged_s = min(out.unacknowledged_s, now_s)
        if out.lost:
            self._remind(self._gives_up_s(), of_all=True)
            return
        out.last_s = due_s = max(out.last_s, now_s + self._path.travel_s())
        if peer.gone:
            if isinstance(what, bytes) or (what is FIN and peer._broken):
                peer._reset(due_s)
            if self._in.lost:
                self._remind(self._gives_up_s(), of_all=True)
            return
        out.flying.append(_Segment(due_s, now_s, what))
        if not self._path.stalled:
            peer._remind(due_s, of_all=what is RST)
        if self._path.stalled or self._in.lost:
            self._remind(self._gives_up_s(), of_all=True)

    def _reset(self, now_s: float) -> None:
        """Send the other end a reset, which leaves at this time."""
        out, peer = self._out, self._peer
        if out.lost or peer.gone or (out.flying and out.flying[-1].what is RST):
            return
        out.last_s = due_s = max(out.last_s, now_s + self._path.travel_s())
        out.flying.append(_Segment(due_s, now_s, RST))
        if not self._path.stalled:
            peer._remind(due_s, of_all=True)

    def _settle(self, now_s: float) -> None:
        """Deliver all pieces that have arrived by now."""
        if self.gone:
            return
        way = self._in
        if not self._path.stalled:
            flying = way.flying
            while flying and flying[0].due_s <= now_s:
                what = flying.popleft().what
                if isinstance(what, bytes):
                    way.arrived.append(what)
                    way.arrived_bytes += len(what)
                elif what is FIN:
                    self._heard_end = True
                else:
                    self._break(errno.EPIPE if self._heard_end else errno.ECONNRESET, now_s)
                    return
        if self._gives_up_s() <= now_s:
            self._break(errno.ETIMEDOUT, now_s)

    def _read(self, limit: int) -> bytes:
        way = self._in
        size = min(limit, way.arrived_bytes)
        luck = self._path.luck
        if luck.random() < SPLIT:
            size = luck.randint(1, size)
        first = way.arrived.popleft()
        if len(first) < size:
            first += b"".join(way.arrived)
            way.arrived.clear()
        chunk, rest = (first, b"") if len(first) == size else (first[:size], first[size:])
        if rest:
            way.arrived.appendleft(rest)
        way.arrived_bytes -= size
        self._make_room(size)
        return chunk

    def _make_room(self, size: int) -> None:
        """Tell the other end how much was read, unless that cannot reach it."""
        way, peer = self._in, self._peer
        if self._out.lost or self._dead:
            return
        if self._path.stalled:
            way.unsaid_bytes += size
            return
        way.held_bytes -= size
        # not for each byte: a writer that is woken for nothing much would write in crumbs
        if peer._writing is not None and way.held_bytes * 4 <= self._path.window_bytes * 3:
            peer._writing.cancel()

    # --- ends of it

    def _break(self, number: int, now_s: float) -> None:
        """Break this end with this error."""
        if self.gone:
            return
        self._broken = True
        self._error = number
        self._out.flying.clear()
        self._leave(now_s)
        self._wake()

    def _leave(self, now_s: float) -> None:
        """Receive nothing any more: pieces under way get a reset."""
        flying = self._in.flying
        for segment in flying:
            if isinstance(segment.what, bytes) or (segment.what is FIN and self._broken):
                self._reset(max(now_s, segment.due_s))
                break
        flying.clear()
        if self._closed or self._dead:
            self._in.arrived.clear()
            self._in.arrived_bytes = 0

    # --- somebody on the path

    @property
    def room_bytes(self) -> int:
        """Bytes from here for which the window has room."""
        return self._path.window_bytes - self._out.held_bytes

    def forge(self, data: bytes) -> None:
        """Let somebody on the path send this to the other end in the name of this one."""
        now_s = trio.current_time()
        self._settle(now_s)
        if data and not self.gone and not self._said_end:
            self._out.held_bytes += len(data)
            self._send(data, now_s)

    # --- what goes wrong, for the network

    def settle(self) -> None:
        """Deliver all pieces that have arrived by now, before something changes."""
        self._settle(trio.current_time())

    def look_again(self) -> None:
        """Note that something has changed."""
        self._wake()

    def lose(self) -> None:
        """Let everything on its way from here, and all that follows, vanish; nobody is told."""
        out = self._out
        if out.flying:
            out.unacknowledged_s = min(out.unacknowledged_s, out.flying[0].sent_s)
        out.flying.clear()
        out.lost = True
        if self._peer._out.flying:  # it will arrive, and nobody will hear that it has
            flying = self._peer._out.flying
            self._peer._out.unacknowledged_s = min(self._peer._out.unacknowledged_s, flying[0].sent_s)

    def snap(self) -> None:
        """Reset the connection in the middle: everything on its way to here is lost."""
        self._in.flying.clear()
        self._break(errno.EPIPE if self._heard_end else errno.ECONNRESET, trio.current_time())

    def carry_on(self) -> None:
        """Send again, after a stall, all that was held up on its way from here."""
        out, now_s = self._out, trio.current_time()
        waiting, out.flying, out.last_s = out.flying, deque(), -inf
        for segment in waiting:
            out.last_s = max(out.last_s, segment.due_s, now_s + self._path.travel_s())
            out.flying.append(segment._replace(due_s=out.last_s))
        out.held_bytes -= out.unsaid_bytes
        out.unsaid_bytes = 0

    def abort(self) -> None:
        """Close an end that nobody ever accepted."""
        now_s = trio.current_time()
        if not self.gone:
            self._reset(now_s)
        self._closed = True
        self._leave(now_s)

    def exit(self) -> None:
        """Close this end as the kernel does for a dead process. Tasks that are left wait for ever."""
        self._hang_up()
        self._dead = True
        self._leave(trio.current_time())

    def fail(self, *, reset: bool) -> None:
        """Cut the power of this end: tasks here wait for ever, and their writes go nowhere."""
        self.settle()
        if reset and not self.gone:
            self._reset(trio.current_time())
        if not reset:
            self.lose()
            self._peer.look_again()
        self._dead = True
        self._in.flying.clear()


def connection(path: Path) -> tuple[Stream, Stream]:
    """The two ends of a new connection."""
    there, back = _Way(), _Way()
    ours, theirs = Stream(path, back, there), Stream(path, there, back)
    ours._peer, theirs._peer = theirs, ours
    return ours, theirs


def _broken(number: int) -> trio.BrokenResourceError:
    found = trio.BrokenResourceError(f"socket connection broken: {OSError(number, os.strerror(number))}")
    found.__cause__ = OSError(number, os.strerror(number))
    return found
