"""The mock hub: its sites, the participant's connections, the load. A shell around `scheme`, which decides everything.

    python -m loadtest hub --keys keys.json --rate 100 --duration 30

Listens on one port for each site, says on standard output which (one JSON line), answers sign-on and echo, and sends
payments on the connections that are signed on to receive, at the times of an open model, until the duration is over and
everything sent has an outcome. Without --rate it waits for the control socket to tell it.
"""

import argparse
import gc
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, get_args

import msgspec
import trio

from gateway.wire import fields
from loadtest import control, iso, mischief, payments, report
from loadtest.arrivals import Model, Schedule
from loadtest.histogram import Histogram
from loadtest.keys import Algorithm, mac_of, read_keys
from loadtest.ledger import HubEvent
from loadtest.scheme import Link, Scheme, Settings

TICK_S = 0.1
"""How often patience, echoes and the book's buffer are looked after when nothing else happens."""
WRITE_BYTES_MAX = 64 * 1024 * 1024
"""A participant that lets so much wait is not reading: the hub hangs up."""
CONTROLS = """control socket (a JSON object a line; --control PORT, 0 picks a free one):
  {"do":"start","rate":100,"duration":30,"model":"poisson","seed":1}   begin to send; replaces what is being sent
  {"do":"stop"}                     send nothing more
  {"do":"statistics"}               counts, latencies, links, faults; with "recent":true also latencies since the
                                    last such asking
  {"do":"reset"}                    latencies start anew (after a warm-up)
  {"do":"mischief","what":"garbage"}    misbehave once, on some connection
  {"do":"drop","site":"a"}          hang up on a site's connections
  {"do":"close","site":"a"} / {"do":"open","site":"a"}   take a site away and bring it back
  {"do":"finish"}                   stop; when everything has its outcome, close the book, reply, and end"""


class Book:
    """The hub's ledger file: one JSON line per event, buffered. Without a path it only counts."""

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
        """Hand what was noted to the operating system."""
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


class _Connection:
    """What the shell holds of a link: its stream and its writer's wake-up."""

    def __init__(self, link: Link, stream: trio.abc.Stream, scope: trio.CancelScope) -> None:
        self.link = link
        self.stream = stream
        self.scope = scope
        self.wake = trio.Event()


class Hub:
    """Carries bytes and time between the participant's connections and the scheme."""

    def __init__(self, scheme: Scheme, book: Book, *, run: str, date: str, seed: int = 1) -> None:
        self.scheme = scheme
        self.book = book
        self.closed_sites: set[str] = set()
        self.ended = trio.Event()
        """The book is closed."""
        self._seed = seed
        self._connections: dict[int, _Connection] = {}
        self._generator = payments.Generator(scheme.table, run, date, seed=seed)
        self._schedule: Schedule | None = None
        self._armed: tuple[int, Callable[[], None]] | None = None
        self._finish_after_load = False
        self._finishing = False
        self._wake = trio.Event()
        self._mischief: list[str] = []
        self._mischief_every_s = 0.0
        self._mischief_at_s = 0.0
        self._shown: dict[str, Histogram] = {}

    # --- connections

    async def serve(self, site: str, stream: trio.abc.Stream) -> None:
        """Be the hub on this connection until it ends."""
        if site in self.closed_sites:
            await stream.aclose()
            return
        scheme = self.scheme
        link = scheme.link_up(site, trio.current_time())
        reader = iso.Reader(scheme.framing)
        with trio.CancelScope() as scope:
            connection = self._connections[link.number] = _Connection(link, stream, scope)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, connection)
                    async for chunk in stream:
                        now_s = trio.current_time()
                        for body in reader.feed(bytes(chunk)):
                            scheme.received(link, body, now_s)
                        self._flush()
                    nursery.cancel_scope.cancel()
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the other end broke it off: link_down says what that means
            except* iso.Unreadable as group:
                scheme.fault(link, f"framing: {group.exceptions[0]}", trio.current_time())
            finally:
                del self._connections[link.number]
                scheme.link_down(link, trio.current_time())
                self._flush()
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

    def _flush(self) -> None:
        """Wake the writers that have something, and hang up where the scheme says so."""
        for connection in self._connections.values():
            link = connection.link
            if link.out:
                connection.wake.set()
                if len(link.out) > 20_000 and sum(map(len, link.out)) > WRITE_BYTES_MAX:
                    link.closing = "does not read"
            if link.closing:
                connection.scope.cancel()

    def drop(self, site: str) -> int:
        """Hang up on this site's connections; returns how many."""
        hit = [connection for connection in self._connections.values() if connection.link.site == site]
        for connection in hit:
            connection.scope.cancel()
        return len(hit)

    # --- the load

    def start(self, rate: float, duration: float, model: Model = "poisson", seed: int | None = None) -> None:
        """Begin to send. Raises ValueError."""
        if model not in get_args(Model):
            raise ValueError(f"model: {' or '.join(get_args(Model))}")
        if self._finishing:
            raise ValueError("the hub is finishing")
        seed = self._seed if seed is None else seed
        self._schedule = Schedule(rate, duration, trio.current_time(), model=model, seed=seed)
        self._wake.set()

    def arm(self, sites: int, rate: float, duration: float, model: Model) -> None:
        """Start when so many sites have a link that is signed on to receive, and finish after that load."""
        self._armed = (sites, partial(self.start, rate, duration, model))

    def _start_when_ready(self) -> None:
        if self._armed is not None:
            sites, start = self._armed
            if len({link.site for link in self.scheme.links.values() if link.receive}) >= sites:
                self._armed = None
                start()
                self._finish_after_load = True

    def stop(self) -> None:
        """Send nothing more."""
        self._schedule = None

    @property
    def loading(self) -> bool:
        """Whether there is more to send."""
        return self._schedule is not None

    async def finish(self) -> None:
        """Stop, wait until everything has its outcome, close the book."""
        self.stop()
        self._finishing = True
        self._mischief = []
        self._wake.set()
        await self.ended.wait()

    async def drive(self) -> None:
        """Send what is due and let time pass, until finished."""
        scheme = self.scheme
        tick_at = flush_at = trio.current_time()
        while True:
            now_s = trio.current_time()
            if self._schedule is not None:
                if times := self._schedule.due(now_s):
                    scheme.pay(times, self._generator, now_s)
                if self._schedule.next_s > self._schedule.end_s:
                    self._schedule = None
                    self._finishing = self._finish_after_load
            if now_s >= tick_at:
                scheme.tick(now_s)
                self._start_when_ready()
                self._misbehave_at(now_s)
                tick_at = now_s + TICK_S
            self._flush()
            if now_s >= flush_at:
                self.book.flush()
                flush_at = now_s + TICK_S
            if self._finishing and not scheme.outstanding and not scheme.pending_mischief():
                break
            next_s = min(tick_at, self._schedule.next_s if self._schedule else tick_at)
            with trio.move_on_at(next_s):
                await self._wake.wait()
            if self._wake.is_set():
                self._wake = trio.Event()
        scheme.end(trio.current_time())
        self.book.close()
        self.ended.set()

    # --- mischief

    def misbehave(self, what: list[str], every_s: float) -> None:
        """Do one of these, in turn, so often."""
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

    def misbehave_once(self, what: str) -> bool:
        """Do this on a link that is signed on to receive; false when there is none. Raises ValueError."""
        if what not in mischief.KINDS:
            raise ValueError(f"what: one of {', '.join(mischief.KINDS)}")
        link = self.scheme.next_link()
        if link is None:
            return False
        mischief.KINDS[what](mischief.Scene(self.scheme, link, self._generator, trio.current_time()))
        self._flush()
        return True

    # --- control

    async def control(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a line on the control socket asks for. Raises ValueError."""
        do = request.pop("do", "")
        if do == "start":
            self.start(**request)
        elif do == "stop":
            self.stop()
        elif do == "statistics":
            return self.statistics() if request.get("recent") else self.totals()
        elif do == "reset":
            self.scheme.reset()
            self._shown.clear()
        elif do == "finish":
            await self.finish()
            return self.totals()
        elif do == "mischief":
            return {"done": self.misbehave_once(str(request.get("what")))}
        elif do in {"drop", "close", "open"}:
            return self._site(do, str(request.get("site")))
        else:
            raise ValueError("do: start, stop, statistics, reset, mischief, drop, close, open or finish")
        return {}

    def _site(self, do: str, site: str) -> dict[str, Any]:
        if do == "open":
            self.closed_sites.discard(site)
            return {}
        if do == "close":
            self.closed_sites.add(site)
        return {"dropped": self.drop(site)}

    def statistics(self) -> dict[str, Any]:
        """The totals, and as `recent` the latencies since the last asking."""
        latency = self._latency()
        recent = {name: now.since(self._shown.get(name, Histogram())).summary() for name, now in latency.items()}
        self._shown = {name: now.copy() for name, now in latency.items()}
        return {**self.totals(), "recent": recent}

    def _latency(self) -> dict[str, Histogram]:
        scheme = self.scheme
        return {
            "intended": scheme.intended,
            "decided": scheme.decided,
            "stood_in": scheme.stood_in,
            "lateness": scheme.lateness,
        }

    def totals(self) -> dict[str, Any]:
        """Everything that one wants to see, as JSON."""
        scheme = self.scheme
        return {
            "now_s": trio.current_time(),
            "loading": self.loading,
            "outstanding": scheme.outstanding,
            "pending_mischief": scheme.pending_mischief(),
            "counts": dict(scheme.counts),
            "codes": dict(scheme.codes),
            "faults": list(scheme.faults),
            "latency": {name: now.summary() for name, now in self._latency().items()},
            "links": [
                {
                    "number": link.number, "site": link.site, "receive": link.receive, "submit": link.submit,
                    "waiting": len(link.waiting), "reversing": len(link.reversing),
                }
                for link in scheme.links.values()
            ],
        }  # fmt: skip


async def serve_hub(
    hub: Hub, sites: dict[str, int], host: str, control_port: int, ready: Callable[[dict[str, Any]], None]
) -> None:
    """Listen for participants and for control until the book is closed. `ready` is called with the ports."""
    async with trio.open_nursery() as nursery:
        ports: dict[str, int] = {}
        for site, port in sites.items():
            serve = partial(_serve_site, hub, site)
            listeners: Any = await nursery.start(partial(trio.serve_tcp, serve, port, host=host))
            ports[site] = listeners[0].socket.getsockname()[1]
        handle = partial(control.serve, handler=hub.control)
        listeners = await nursery.start(partial(trio.serve_tcp, handle, control_port, host="127.0.0.1"))
        ready({"event": "ready", "sites": ports, "control": listeners[0].socket.getsockname()[1]})
        nursery.start_soon(hub.drive)
        await hub.ended.wait()
        await trio.sleep(0.2)  # whoever asked to finish gets the reply
        nursery.cancel_scope.cancel()


async def _serve_site(hub: Hub, site: str, stream: trio.SocketStream) -> None:
    await hub.serve(site, stream)


# --- the command


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `hub`."""
    parser = commands.add_parser(
        "hub",
        help="the mock hub: sites to dial, payments at a rate, every reply judged",
        description=__doc__,
        epilog=CONTROLS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    world = parser.add_argument_group("where, and how it speaks")
    world.add_argument("--site", action="append", metavar="NAME[:PORT]", help="a site (default: a and b, free ports)")
    world.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    world.add_argument("--control", type=int, default=0, metavar="PORT", help="control socket (default: a free port)")
    world.add_argument("--keys", required=True, metavar="FILE", help="development key file: JSON, label to hex")
    world.add_argument("--algorithm", choices=get_args(Algorithm), default="aes-cmac", help="default: %(default)s")
    world.add_argument("--hub-key", default="fps-hub", metavar="LABEL", help="what the hub signs with")
    world.add_argument("--own-key", default="fps-own", metavar="LABEL", help="what the participant signs with")
    world.add_argument("--header-bytes", type=int, choices=(2, 4), default=4, help="length header (default: 4)")
    world.add_argument("--header-format", choices=("binary", "ascii"), default="binary", help="default: %(default)s")
    world.add_argument("--header-inclusive", action="store_true", help="the length counts the header too")
    world.add_argument("--field-table", default="", metavar="FILE", help="in place of the gateway's built-in one")
    behaviour = parser.add_argument_group("how it behaves")
    behaviour.add_argument("--patience", type=float, default=10.0, metavar="S", help="waits for a reply (default: 10)")
    behaviour.add_argument(
        "--asynchronous", action="store_true", help="repeat what is not answered (9201) rather than reverse it (9420)"
    )
    behaviour.add_argument("--repeats", type=int, default=20, metavar="N", help="then it gives up (default: 20)")
    behaviour.add_argument("--echo-after", type=float, default=30.0, metavar="S", help="of silence (default: 30)")
    behaviour.add_argument(
        "--mischief", default="", metavar="LIST", help=f"all, or some of {', '.join(mischief.KINDS)}"
    )
    behaviour.add_argument("--mischief-every", type=float, default=1.0, metavar="S", help="(default: 1)")
    add_load_arguments(parser.add_argument_group("the load"))
    parser.add_argument("--ledger", metavar="FILE", help="the hub's book, NDJSON")
    parser.add_argument("--json", action="store_true", help="the statistics at the end as JSON")
    parser.set_defaults(run=run)


def add_load_arguments(load: "argparse._ArgumentGroup") -> None:
    """What is sent, and when: shared with `run`."""
    load.add_argument("--rate", type=float, metavar="PER_S", help="payments per second")
    load.add_argument("--duration", type=float, default=30.0, metavar="S", help="for so long (default: 30)")
    load.add_argument("--model", choices=get_args(Model), default="poisson", help="arrivals (default: %(default)s)")
    load.add_argument("--seed", type=int, default=1, help="of arrivals and payments (default: 1)")
    load.add_argument(
        "--run", dest="run_id", default="", metavar="ID", help="keeps TRNs apart (default: from the time)"
    )
    load.add_argument("--date", default="", metavar="YYYYMMDD", help="date sent (default: today)")


def build(options: argparse.Namespace) -> Hub:
    """A hub as the command line says. Raises OSError or ValueError; `gateway.errors` for a bad field table."""
    keys = read_keys(options.keys)
    for label in (options.hub_key, options.own_key):
        if label not in keys:
            raise ValueError(f"{options.keys}: has no key {label}")
    book = Book(options.ledger)
    scheme = Scheme(
        fields.load(options.field_table),
        iso.Framing(options.header_bytes, options.header_format, inclusive=options.header_inclusive),
        mac_of(options.algorithm, keys[options.hub_key]),
        mac_of(options.algorithm, keys[options.own_key]),
        Settings(
            patience_s=options.patience,
            synchronous=not options.asynchronous,
            repeats_max=options.repeats,
            echo_after_s=options.echo_after,
        ),
        book,
        lambda: time.strftime("%m%d%H%M%S", time.gmtime()),
    )
    run_id = options.run_id or _run_id()
    return Hub(scheme, book, run=run_id, date=options.date or time.strftime("%Y%m%d", time.gmtime()), seed=options.seed)


def _run_id() -> str:
    """Six characters that differ from one start to the next."""
    return "".join(random.SystemRandom().choices("ABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=6))


def run(options: argparse.Namespace) -> int:
    """Be the hub. Exit code 0: nothing was wrong with what the participant said."""
    try:
        hub = build(options)
        wanted = _mischief(options.mischief)
        sites = _sites(options.site or ["a", "b"])
    except (OSError, ValueError) as error:
        print(f"hub: {error}", file=sys.stderr)
        return 2
    # hundreds of thousands of payments live for seconds and form no cycles: looking for some costs pauses of 100 ms
    gc.freeze()
    gc.disable()
    return trio.run(_main, hub, options, wanted, sites)


def _mischief(text: str) -> list[str]:
    wanted = list(mischief.KINDS) if text == "all" else [*filter(None, text.split(","))]
    if unknown := [what for what in wanted if what not in mischief.KINDS]:
        raise ValueError(f"--mischief: {unknown[0]} is not one of {', '.join(mischief.KINDS)}")
    return wanted


def _sites(given: list[str]) -> dict[str, int]:
    sites: dict[str, int] = {}
    for text in given:
        name, _, port = text.partition(":")
        sites[name] = int(port or 0)
    return sites


async def _main(hub: Hub, options: argparse.Namespace, wanted: list[str], sites: dict[str, int]) -> int:
    if wanted:
        hub.misbehave(wanted, options.mischief_every)
    if options.rate:
        hub.arm(len(sites), options.rate, options.duration, options.model)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
        await serve_hub(hub, sites, options.host, options.control, _say)
        nursery.cancel_scope.cancel()
    hub.book.close()
    if options.json:
        _say(hub.totals())
    elif options.rate:
        print(report.hub(hub.totals()))
    return 0 if not hub.scheme.counts["faults"] and not hub.scheme.counts["mischief missed"] else 1


def _say(what: dict[str, Any]) -> None:
    with suppress(BrokenPipeError):
        print(msgspec.json.encode(what).decode(), flush=True)


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
