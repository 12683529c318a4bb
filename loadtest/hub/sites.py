"""The mock hub's shell: sites that participants dial, the load, time. It decides nothing: `scheme` does.

Each participant has a port for each payment group and site, so the port says who it is.
"""

import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, get_args

import msgspec
import trio

from loadtest.hub import control, mischief
from loadtest.hub.scheme import Link, Party, Scheme
from loadtest.ledger.entries import HubEvent
from loadtest.parts.processes import listen
from loadtest.traffic import iso, payments
from loadtest.traffic.arrivals import Model, Schedule
from loadtest.traffic.contents import Contents

TICK_S = 0.1
"""Interval of checks of patience, echoes and the book's buffer when nothing else happens."""
REPLIED_WITHIN_S = 5.0
"""How long the last replies on the control socket may take: an asker that does not read must not keep the hub."""
WRITE_BYTES_MAX = 64 * 1024 * 1024
"""Bytes that may wait for a participant; beyond, it is not reading, and the hub hangs up."""
GONE_MS = 20_000
"""A machine that has confirmed nothing of what was sent for so long is dead: TCP hangs up, before an echo has to."""


class HubBook:
    """The hub's ledger file: one JSON line per event, buffered. Without a path it only counts."""

    contents: Contents | None = None
    """Computes digests of payments' content, for a book that holds them."""

    def __init__(self, path: str | Path | None) -> None:
        self._file: BinaryIO | None = open(path, "wb") if path else None  # noqa: SIM115, PTH123 - lives as long as the hub
        self._lines = bytearray()
        self._encode_into = msgspec.json.Encoder().encode_into

    def __call__(self, event: HubEvent) -> None:
        """Note an event."""
        if self._file is not None:
            self._encode_into(event, self._lines, -1)
            self._lines += b"\n"

    def flush(self) -> None:
        """Hand the noted lines to the operating system."""
        if self._file is not None and self._lines:
            self._file.write(self._lines)
            self._file.flush()
            self._lines.clear()

    def close(self) -> None:
        """Flush and close; nothing is noted any more."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None


class Port(NamedTuple):
    """A port that a participant dials: for one payment group and site, and one of its processes, where given."""

    party: Party
    group: str
    site: str
    node: str = ""


class _Load(NamedTuple):
    """The load that is being sent to one participant."""

    party: Party
    schedule: Schedule
    generator: payments.Generator


class _Connection:
    """The shell's part of a link: its stream and its writer's wake-up."""

    def __init__(self, link: Link, stream: trio.abc.Stream, scope: trio.CancelScope) -> None:
        self.link = link
        self.stream = stream
        self.scope = scope
        self.wake = trio.Event()


class Hub:
    """Carries bytes and time between the participants' connections and the scheme."""

    def __init__(self, scheme: Scheme, book: HubBook, *, run: str, date: str, seed: int = 1) -> None:
        self.scheme = scheme
        self.book = book
        self.closed: set[tuple[str, str, str]] = set()
        """The connections turned away: participant, site, and node (empty: all nodes)."""
        self.ended = trio.Event()
        """Set when the book is closed."""
        self._run, self._date, self._seed = run, date, seed
        self._connections: dict[int, _Connection] = {}
        self._generators: dict[tuple[str, str], payments.Generator] = {}
        self._loads: dict[str, _Load] = {}
        self._armed: tuple[int, Callable[[], None]] | None = None
        self._finish_after_load = False
        self._finishing = False
        self._wake = trio.Event()
        self._mischief: list[str] = []
        self._mischief_every_s = 0.0
        self._mischief_at_s = 0.0

    # --- connections

    async def serve(
        self, site: str, stream: trio.abc.Stream, party: Party | None = None, group: str = "", node: str = ""
    ) -> None:
        """Serve this connection until it ends. `node` is the participant's process."""
        scheme = self.scheme
        party = party or scheme.first
        if self.closed & {(party.name, site, ""), (party.name, site, node)}:
            await stream.aclose()
            return
        link = scheme.link_up(site, trio.current_time(), party, group, node)
        reader = iso.Reader(scheme.framing)
        with trio.CancelScope() as scope:
            connection = self._connections[link.number] = _Connection(link, stream, scope)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, connection)
                    async for chunk in stream:
                        now_s = trio.current_time()
                        for body in reader.feed(bytes(chunk)):
                            if not link.closing:
                                scheme.received(link, body, now_s)
                        self.flush()
                    nursery.cancel_scope.cancel()
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the other end broke it off: link_down says what that means
            except* iso.Unreadable as group_of_one:
                scheme.fault(link, f"framing: {group_of_one.exceptions[0]}", trio.current_time())
            finally:
                del self._connections[link.number]
                scheme.link_down(link, trio.current_time())
                self.flush()
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                    await trio.aclose_forcefully(stream)

    async def _write(self, connection: _Connection) -> None:
        out, send_all = connection.link.out, connection.stream.send_all
        while True:
            if not out:
                await connection.wake.wait()
                connection.wake = trio.Event()
            data = b"".join(out)
            out.clear()
            if data:
                await send_all(data)

    def flush(self) -> None:
        """Wake the writers that have something, and hang up where the scheme says so."""
        for connection in self._connections.values():
            link = connection.link
            if link.out:
                connection.wake.set()
                if len(link.out) > 20_000 and sum(map(len, link.out)) > WRITE_BYTES_MAX:
                    link.closing = "does not read"
            if link.closing:
                connection.scope.cancel()

    def drop(self, site: str, party: Party | None = None, node: str = "") -> int:
        """Hang up on this site's connections, of this participant or all, of this node or all; returns how many."""
        hit = [
            connection
            for connection in self._connections.values()
            if connection.link.site == site
            and party in {None, connection.link.party}
            and node in {"", connection.link.node}
        ]
        for connection in hit:
            connection.scope.cancel()
        return len(hit)

    # --- the load

    def start(
        self,
        rate: float,
        duration: float,
        model: Model = "poisson",
        seed: int | None = None,
        party: Party | None = None,
        payment_type: str = "10",
    ) -> None:
        """Start a load to a participant, in place of the present one. Raises ValueError."""
        if model not in get_args(Model):
            raise ValueError(f"model: {' or '.join(get_args(Model))}")
        if self._finishing:
            raise ValueError("the hub is finishing")
        party = party or self.scheme.first
        seed = self._seed if seed is None else seed
        schedule = Schedule(rate, duration, trio.current_time(), model=model, seed=seed)
        self._loads[party.name] = _Load(party, schedule, self.generator(party, payment_type))
        self._wake.set()

    def generator(self, party: Party | None = None, payment_type: str = "10") -> payments.Generator:
        """The maker of payments of this type for this participant. Raises ValueError."""
        party = party or self.scheme.first
        if len(payment_type) != 2 or not payment_type.isdigit():
            raise ValueError("type: two digits")
        made = self._generators.get((party.name, payment_type))
        if made is None:
            # the first has the run's own TRNs; the others must not make the same
            run = self._run if not self._generators else f"{self._run[:4]}{len(self._generators):02d}"
            made = self._generators[party.name, payment_type] = payments.Generator(
                self.scheme.table, run, self._date, seed=self._seed, payment_type=payment_type,
                receiver=party.institution,
            )  # fmt: skip
        return made

    def arm(self, sites: int, rate: float, duration: float, model: Model) -> None:
        """Start when this many sites have a link signed on to receive, and finish after that load."""
        self._armed = (sites, partial(self.start, rate, duration, model))

    def _start_when_ready(self) -> None:
        if self._armed is not None:
            sites, start = self._armed
            first = self.scheme.first
            if len({link.site for link in first.ready("sip")}) >= sites:
                self._armed = None
                start()
                self._finish_after_load = True

    def stop(self) -> None:
        """Send nothing more."""
        self._loads.clear()

    @property
    def loading(self) -> bool:
        """Whether there is more to send."""
        return bool(self._loads)

    async def finish(self) -> None:
        """Stop, wait until everything has its outcome, close the book."""
        self.stop()
        self._finishing = True
        self._mischief = []
        self._wake.set()
        await self.ended.wait()

    def _send_due(self, now_s: float) -> None:
        for name, load in list(self._loads.items()):
            if times := load.schedule.due(now_s):
                self.scheme.pay(times, load.generator, now_s, load.party)
            if load.schedule.next_s > load.schedule.end_s:
                del self._loads[name]
                self._finishing = self._finish_after_load and not self._loads

    async def drive(self) -> None:
        """Send all that is due and let time pass, until finished."""
        scheme = self.scheme
        tick_at = flush_at = trio.current_time()
        while True:
            now_s = trio.current_time()
            if self._loads:
                self._send_due(now_s)
            if now_s >= tick_at:
                scheme.tick(now_s)
                self._start_when_ready()
                self._misbehave_at(now_s)
                tick_at = now_s + TICK_S
            elif now_s >= scheme.submissions.next_s:
                scheme.submissions.tick(now_s)
            self.flush()
            if now_s >= flush_at:
                self.book.flush()
                flush_at = now_s + TICK_S
            if self._finishing and not scheme.outstanding and not scheme.pending_mischief():
                break
            next_s = min(tick_at, scheme.submissions.next_s, *(load.schedule.next_s for load in self._loads.values()))
            with trio.move_on_at(next_s):
                await self._wake.wait()
            if self._wake.is_set():
                self._wake = trio.Event()
        scheme.end(trio.current_time())
        self.book.close()
        self.ended.set()

    # --- mischief

    def misbehave(self, what: list[str], every_s: float) -> None:
        """Do one of these in turn, at this interval."""
        self._mischief, self._mischief_every_s = list(what), every_s
        self._mischief_at_s = trio.current_time() + every_s

    def _misbehave_at(self, now_s: float) -> None:
        if (
            self._mischief
            and not self._finishing
            and now_s >= self._mischief_at_s
            and self.misbehave_once(self._mischief[0])
        ):
            self._mischief.append(self._mischief.pop(0))
            self._mischief_at_s = now_s + self._mischief_every_s

    def misbehave_once(self, what: str, party: Party | None = None, payment_type: str = "10") -> bool:
        """Do this on a link that is signed on to receive, with payments of the type that it gets; false when there is
        none. Raises ValueError.
        """
        if what not in mischief.KINDS:
            raise ValueError(f"what: one of {', '.join(mischief.KINDS)}")
        link = self.scheme.next_link(party)
        if link is None:
            return False
        mischief.KINDS[what](
            mischief.Scene(self.scheme, link, self.generator(party, payment_type), trio.current_time())
        )
        self.flush()
        return True


async def serve_hub(
    hub: Hub,
    ports: Mapping[Port, int],
    host: str,
    control_port: int,
    steer: control.Handler,
    ready: Callable[[dict[str, Any]], None],
) -> None:
    """Listen for participants and for control until the book is closed.

    `steer` does what a line on the control socket asks for; `ready` is called with the ports. Raises
    `WorldError`, in a group, when a port is not to be had.
    """
    async with trio.open_nursery() as nursery:
        opened: dict[str, dict[str, dict[str, int]]] = {}
        nodes: dict[str, dict[str, int]] = {}
        for port, number in ports.items():
            serve = partial(_serve_port, hub, port)
            listeners: Any = await nursery.start(partial(listen, serve, number, host=host))
            sites = opened.setdefault(port.party.name, {}).setdefault(port.group, {})
            if port.node:
                sites = nodes.setdefault(port.node, {})
            sites[port.site] = listeners[0].socket.getsockname()[1]
        service = control.Service(steer)
        listeners = await nursery.start(partial(listen, service.serve, control_port, host="127.0.0.1"))
        first = hub.scheme.first
        ready(
            {
                "event": "ready",
                "sites": opened[first.name][first.groups[0]],
                "ports": opened,
                "nodes": nodes,
                "control": listeners[0].socket.getsockname()[1],
            }
        )
        nursery.start_soon(hub.drive)
        await hub.ended.wait()
        with trio.move_on_after(REPLIED_WITHIN_S):
            await service.replied()  # whoever asked, to finish above all
        nursery.cancel_scope.cancel()


async def _serve_port(hub: Hub, port: Port, stream: trio.SocketStream) -> None:
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MS)
    await hub.serve(port.site, stream, port.party, port.group, port.node)
