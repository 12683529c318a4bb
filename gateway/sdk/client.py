"""The shell on trio: keep-alive connections to the gateways of both sites, and the loop around `submission`.

Each attempt has a connection of its own. An attempt that gives up drops its connection, so that no other gets its
response. Without a connection in time, surely nothing of the request was sent. From the first byte on it may have been.
"""

import random
from collections.abc import Callable, Sequence
from typing import NoReturn
from urllib.parse import quote

import trio
from msgspec import Struct

from gateway import config
from gateway.errors import ConfigurationError, Unavailable
from gateway.http.connection import Connection, Response
from gateway.http.directory import Endpoint, endpoint_at
from gateway.http.hosts import Host
from gateway.network.dialler import Dialler
from gateway.network.names import MACHINE, Network
from gateway.network.papers import Papers
from gateway.sdk import answers
from gateway.sdk.answers import Met, Word
from gateway.sdk.prepared import Prepared
from gateway.sdk.readiness import Readiness
from gateway.sdk.submission import Act, Attempt, Limits, Outcome, Submission

CONNECT_WITHIN_S = 2.0
"""Time for connecting, TLS included. A slower site is tried after the other."""
IDLE_S = 30.0
"""A connection idle for longer is not used again: the gateway closes it after 75 s, proxies sooner."""
AGE_MAX_S = 300.0
"""An older connection is not used again, so that a site whose name leads elsewhere is found."""
RESPONSE_BYTES_MAX = 65_536
READY_EVERY_S = 1.0
"""How often `/ready` is looked at."""
READY_WITHIN_S = 1.0
"""A site that does not respond within this time is not ready."""


class Site(Struct, frozen=True, forbid_unknown_fields=True):
    """The gateway of one site, for one payment group."""

    name: str
    """Names it in outcomes."""
    url: str
    """Its `node.submissions`, http(s)://host:port. Nothing in between may answer in its stead."""
    ready_url: str = ""
    """Its `/ready`, of `node.submissions` or of `node.ops`; empty: readiness is learnt from submissions alone."""
    tls: config.Tls | None = None
    """For https: our certificate and the authority that we trust."""


class Gateways:
    """The gateways of both sites. `run` it in a nursery; `submit` from any task of the same trio run."""

    def __init__(
        self,
        sites: Sequence[Site],
        limits: Limits = Limits(),  # noqa: B008 - frozen
        *,
        network: Network = MACHINE,
        luck: Callable[[], float] = random.random,
    ) -> None:
        """The first ready site is preferred. `network` and `luck` are what a simulation replaces.

        Raises `ConfigurationError`.
        """
        if not sites or len({site.name for site in sites}) < len(sites):
            raise ConfigurationError(["sites: at least one, each with a name of its own"])
        self._limits = limits
        self._luck = luck
        self._names = [site.name for site in sites]
        self._lanes = [_Lane(site, site.url, f"site {site.name}", network, luck) for site in sites]
        self._watched = [
            (number, _Lane(site, site.ready_url, f"site {site.name} ready", network, luck))
            for number, site in enumerate(sites)
            if site.ready_url
        ]
        self._readiness = [Readiness() for _ in sites]
        self._under_way = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Keep the connections, until cancelled. Without it submissions reach nobody."""
        lanes = [*self._lanes, *(lane for _, lane in self._watched)]
        async with trio.open_nursery() as nursery:
            for lane in lanes:
                lane.nursery = nursery
            for number, lane in self._watched:
                nursery.start_soon(self._watch, self._readiness[number], lane)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                for lane in lanes:
                    lane.nursery = None

    def ready(self) -> dict[str, bool]:
        """Whether each site would take a payment now, as far as is known."""
        now_s = trio.current_time()
        return {name: known.ready(now_s) for name, known in zip(self._names, self._readiness, strict=True)}

    async def submit(self, prepared: Prepared, *, first: bool = False) -> Outcome:
        """Submit a payment and wait for what becomes of it, `within_s` at the most.

        `first`: it is stored durably and nobody has submitted it yet, neither here nor in a process that was killed.
        Left out, what may have been sent before counts, and the outcome is never `Unsent` or `Rejected`.

        Cancelled, the payment may have been sent: submit it again, as not the first. Raises `Unavailable` when
        `submissions_max` are under way: then nothing was done.
        """
        if self._under_way >= self._limits.submissions_max:
            raise Unavailable(f"{self._limits.submissions_max} payments are under way")
        self._under_way += 1
        try:
            return await self._submit(prepared, first=first)
        finally:
            self._under_way -= 1

    async def _submit(self, prepared: Prepared, *, first: bool) -> Outcome:
        submission = Submission(prepared, self._names, self._limits, trio.current_time(), first=first)
        while (attempt := submission.attempt(trio.current_time(), list(self.ready().values()))) is not None:
            known = self._readiness[attempt.site]
            known.started(attempt.began_s)
            word = await self._ask(prepared, attempt)
            now_s, luck = trio.current_time(), self._luck()
            known.met(word.met, word.retry_after_s, attempt.began_s, now_s, luck)
            submission.heard(attempt, word, now_s, luck)
            await trio.sleep_until(submission.due_s)
        assert submission.outcome is not None
        return submission.outcome

    async def _ask(self, prepared: Prepared, attempt: Attempt) -> Word:
        lane = self._lanes[attempt.site]
        if attempt.act is Act.SUBMIT:
            came = await lane.call(_submission(lane.place, prepared, attempt.wait_s), attempt.until_s)
            if isinstance(came, Met):
                return Word(came)
            return answers.submitted(prepared.fpid, came.status, came.body, came.retry_after)
        came = await lane.call(_look(lane.place, f"/payments/{quote(prepared.key, safe='')}"), attempt.until_s)
        return Word(came) if isinstance(came, Met) else answers.looked(prepared.fpid, came.status, came.body)

    @staticmethod
    async def _watch(readiness: Readiness, lane: "_Lane") -> NoReturn:
        request = _look(lane.place, "")
        while True:
            came = await lane.call(request, trio.current_time() + READY_WITHIN_S)
            readiness.said = isinstance(came, Response) and came.status == 200
            await trio.sleep(READY_EVERY_S)


class _Call:
    """A call that waits for its response."""

    def __init__(self) -> None:
        self.over = trio.Event()
        self.response: Response | None = None


class _Lane:
    """Connections to one place: one for each call that is under way, kept for the next."""

    def __init__(self, site: Site, url: str, party: str, network: Network, luck: Callable[[], float]) -> None:
        """`party` names it in logs and metrics. Raises `ConfigurationError`."""
        self.place = endpoint_at(url, f"site {site.name}")
        self.nursery: trio.Nursery | None = None
        self._host = Host(
            self.place,
            Dialler(party, self.place.host, self.place.port, network),
            Papers(site.tls, f"site {site.name}: tls") if self.place.tls else None,
            site.tls.server_name if site.tls is not None else "",
            age_max_s=AGE_MAX_S,
            body_bytes_max=RESPONSE_BYTES_MAX,
            luck=luck,
        )
        self._idle: list[tuple[Connection, float]] = []
        """A stack, with the time of last use: the least used stay at the bottom."""

    async def call(self, request: bytes, until_s: float) -> Response | Met:
        """Its response, or UNREACHED, BROKEN or SILENT. Cancelled, its connection is dropped."""
        while True:
            connection = await self._connection(until_s)
            if connection is None:
                return Met.UNREACHED
            over = connection.send(request)
            if over is None:
                break
            if not connection.served:
                self._host.ended(connection, over)
                return Met.UNREACHED  # nothing was sent, and the next one would be no better
        call = connection.context = _Call()
        try:
            with trio.move_on_at(until_s):
                await call.over.wait()
        finally:
            if not call.over.is_set():
                connection.scope.cancel()  # its response may still come: nobody else must get it
        if call.response is not None:
            return call.response
        return Met.BROKEN if call.over.is_set() else Met.SILENT

    async def _connection(self, until_s: float) -> Connection | None:
        """An idle connection, or a new one; None: none could be made."""
        now_s = trio.current_time()
        while self._idle:
            connection, since_s = self._idle.pop()
            if now_s - since_s < IDLE_S and self._host.fit(connection, now_s):
                return connection
            connection.scope.cancel()
        with trio.move_on_at(min(until_s, now_s + CONNECT_WITHIN_S)):
            try:
                connection = await self._host.open(self._responded)
            except (OSError, trio.BrokenResourceError):
                return None
            if self.nursery is None:
                connection.scope.cancel()
                await connection.run()  # closes it
                return None
            self.nursery.start_soon(self._keep, connection)
            return connection
        return None

    async def _keep(self, connection: Connection) -> None:
        """Live as long as the connection does."""
        try:
            end = await connection.run()
            if connection.context is not None:
                self._host.ended(connection, end)
        finally:
            self._idle = [item for item in self._idle if item[0] is not connection]
            call: _Call | None = connection.context
            if call is not None:
                connection.context = None
                call.over.set()

    def _responded(self, connection: Connection, response: Response, keep: bool) -> None:  # noqa: FBT001 - `connection.Responded`
        call: _Call = connection.context
        connection.context = None
        call.response = response
        call.over.set()
        now_s = trio.current_time()
        fit = self._host.responded(connection, response, now_s)
        if keep and fit:
            self._idle.append((connection, now_s))
        elif keep:
            connection.scope.cancel()
        while self._idle and now_s - self._idle[0][1] >= IDLE_S:
            self._idle.pop(0)[0].scope.cancel()


def _submission(place: Endpoint, prepared: Prepared, wait_s: int) -> bytes:
    body = prepared.body.encode()
    prefer = f"Prefer: wait={wait_s}\r\n" if wait_s else ""
    head = (
        f"POST {place.path}/payments HTTP/1.1\r\nHost: {place.authority}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json\r\nIdempotency-Key: {prepared.key}\r\n{prefer}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _look(place: Endpoint, path: str) -> bytes:
    return f"GET {place.path}{path} HTTP/1.1\r\nHost: {place.authority}\r\nAccept: application/json\r\n\r\n".encode()
