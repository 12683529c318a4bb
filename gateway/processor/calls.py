"""Telling, looking and inquiring: requests whose caller waits for the response, each on a connection of its own.

Their connections are few and kept for the next call; questions about payments (`asking`) have others: notices and
questions never wait for each other. A request that nobody read is sent again at once, `CROSSINGS_MAX` times.
"""

from dataclasses import dataclass

import trio

from gateway import config
from gateway.errors import Unavailable
from gateway.http.connection import UNTOUCHED, Connection, Response
from gateway.http.directory import Endpoint
from gateway.http.hosts import Host, Hosts
from gateway.http.statuses import CROSSINGS_MAX, UNREAD, Told
from gateway.payments.work import Answer
from gateway.processor.answers import Answers, NotAnAnswer
from gateway.processor.writing import key_of

INQUIRIES_MAX = 8
"""Inquiries under way at once."""


@dataclass(slots=True, eq=False)
class _Waiter:
    """A call that waits for its response."""

    event: trio.Event
    host: Host
    response: Response | None = None
    end: str = ""
    untouched: bool = False
    """Nothing of a response came, on a connection that had served: it was closing already."""


class Calls:
    """Calls to the hosts of a directory. `run` it: without, no connection can be had."""

    def __init__(self, settings: config.Processor, hosts: Hosts, answers: Answers | None = None) -> None:
        """`answers` reads the responses to inquiries; None: by the built-in codes."""
        self._settings = settings
        self._hosts = hosts
        self._answers = answers or Answers()
        self._nursery: trio.Nursery | None = None
        """Where connections live; None: nobody runs it."""
        self._spare: list[tuple[Connection, Host]] = []
        """Connections that nobody uses."""
        self._inquiries = trio.CapacityLimiter(INQUIRIES_MAX)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the connections, until cancelled. Then calls end unanswered: notices are kept, and told again."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def tell(self, key: str, body: bytes, path: bytes = b"/notices") -> Told:
        """Tell a notice, once. Always returns how it went, within `tell_within_s`."""
        place = self._hosts.directory.primary()
        try:
            response = await self._call(place, b"POST", path, key, body)
        except Unavailable as error:
            return Told(0, 0.0, str(error))
        after = response.retry_after
        seconds = float(after) if after.isdigit() and len(after) < 6 else 0.0
        return Told(response.status, seconds, f"status {response.status}")

    async def look(self, path: bytes) -> Response:
        """GET this below the base URL, once; whatever the status. Raises `Unavailable`, within `tell_within_s`."""
        return await self._call(self._hosts.directory.primary(), b"GET", path, "", b"")

    async def post(self, path: bytes, body: bytes) -> Response:
        """POST this JSON below the base URL, once; whatever the status. Raises `Unavailable`, likewise."""
        return await self._call(self._hosts.directory.primary(), b"POST", path, "", body)

    async def inquire(self, fpid: str) -> Answer | None:
        """Ask what was decided on a payment; None: the processor does not know it. Raises `Unavailable`.

        No story asks yet. It is here because the interface has it: the tests hold both sides of it to each other.
        """
        async with self._inquiries:
            reason = "nobody takes inquiries"
            for place in self._hosts.directory.inquiries():
                try:
                    path = b"/payments/" + key_of(fpid).encode()
                    response = await self._call(place, b"GET", path, "", b"")
                    if response.status == 404:
                        return None
                    answer = self._answers.read(response.status, response.body, lambda: (fpid,))
                    return Answer(fpid, answer.code, answer.field, None)
                except (Unavailable, NotAnAnswer) as error:
                    reason = str(error)
            raise Unavailable(reason)

    async def _call(self, place: Endpoint, method: bytes, path: bytes, key: str, body: bytes) -> Response:
        """Send one request and return its response. Raises `Unavailable`."""
        request = _request(place, method, path, key, body)
        host, crossings = self._hosts.of(place), 0
        with trio.move_on_after(self._settings.tell_within_s):
            while True:
                connection = await self._connection(host)
                over = connection.send(request)
                if over is not None and not connection.served:
                    host.ended(connection, over)
                    raise Unavailable(f"connection {over.value}: {connection.end}")
                if over is not None:
                    continue  # nothing was sent: another connection takes it
                waiter = connection.context = _Waiter(trio.Event(), host)
                try:
                    await waiter.event.wait()
                except trio.Cancelled:
                    connection.scope.cancel()  # its response may still come: nobody else must get it
                    raise
                crossings += 1
                again = crossings <= CROSSINGS_MAX
                if waiter.response is not None and not (again and waiter.response.status in UNREAD):
                    return waiter.response
                if waiter.response is None and not (again and waiter.untouched):
                    raise Unavailable(waiter.end)
        self._doubt(host)
        raise Unavailable(f"no response within {self._settings.tell_within_s:g} s")

    # --- connections

    async def _connection(self, host: Host) -> Connection:
        """A spare connection to this host, or a new one. Raises `Unavailable`."""
        while self._spare:
            connection, of = self._spare.pop()
            if of is host and host.fit(connection, trio.current_time()):
                return connection
            connection.scope.cancel()
        connection = await self._hosts.open(host, self._responded)
        if self._nursery is None:
            connection.scope.cancel()
            await connection.run()  # closes it
            raise Unavailable("not running")
        self._nursery.start_soon(self._keep, connection)
        return connection

    def _doubt(self, host: Host) -> None:
        """Nothing came back: close this host's spare connections, which the same cut may have killed without a word.

        Probes go one at a time, and each would find one dead connection only.
        """
        doubted = [connection for connection, of in self._spare if of is host]
        self._spare = [item for item in self._spare if item[1] is not host]
        for connection in doubted:
            connection.scope.cancel()

    async def _keep(self, connection: Connection) -> None:
        """Live as long as the connection does."""
        try:
            end = await connection.run()
        finally:
            self._spare = [item for item in self._spare if item[0] is not connection]
        waiter: _Waiter | None = connection.context
        if waiter is not None:
            waiter.host.ended(connection, end)
            waiter.end = f"connection {end.value if end is not None else 'given up'}: {connection.end}"
            waiter.untouched = end in UNTOUCHED and connection.served > 0
            waiter.event.set()

    def _responded(self, connection: Connection, response: Response, keep: bool) -> None:  # noqa: FBT001 - `Responded`
        waiter: _Waiter = connection.context
        connection.context = None
        waiter.response = response
        waiter.event.set()
        fit = waiter.host.responded(connection, response, trio.current_time())
        if keep and fit:
            self._spare.append((connection, waiter.host))
        elif keep:
            connection.scope.cancel()


def _request(place: Endpoint, method: bytes, path: bytes, key: str, body: bytes) -> bytes:
    request = b"%b %b%b HTTP/1.1\r\nHost: %b\r\nAccept: application/json\r\nAccept-Encoding: identity\r\n" % (
        method, place.path.encode(), path, place.authority.encode(),
    )  # fmt: skip
    if method == b"POST":
        request += b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    if key:
        request += b"Idempotency-Key: %b\r\n" % key.encode()
    return request + b"\r\n" + body
