"""Telling, looking and inquiring: requests that somebody waits for, each on a connection of its own while it takes.

Their connections are few and kept for the next one; questions about payments (`client`) have others: notices and
questions never wait for each other. A request that was read by nobody is sent again at once, some times.
"""

from dataclasses import dataclass

import trio

from gateway import config
from gateway.errors import Unavailable
from gateway.http.connection import UNTOUCHED, Link, Response
from gateway.http.directory import Directory, Endpoint
from gateway.http.reach import Reach, Reaches
from gateway.http.statuses import CROSSINGS_MAX, UNREAD, Told
from gateway.payments.work import Answer
from gateway.processor.answers import Answers, NotAnAnswer
from gateway.processor.messages import key_of

INQUIRIES_MAX = 8
"""Inquiries under way at once."""


@dataclass(slots=True, eq=False)
class _Waiter:
    """Who waits for a response."""

    event: trio.Event
    reach: Reach
    response: Response | None = None
    end: str = ""
    untouched: bool = False
    """Nothing of a response came, on a connection that had served: it was closing already."""


class Calls:
    """Requests to the hosts of a directory."""

    def __init__(self, settings: config.Processor, directory: Directory, reaches: Reaches, answers: Answers) -> None:
        self._settings = settings
        self._directory = directory
        self._reaches = reaches
        self._answers = answers
        self.nursery: trio.Nursery | None = None
        """Where connections live; None: nobody runs it, and no new one can be had."""
        self._spare: list[tuple[Link, Reach]] = []
        """Connections that nobody uses."""
        self._inquiries = trio.CapacityLimiter(INQUIRIES_MAX)

    async def tell(self, key: str, body: bytes, path: bytes = b"/notices") -> Told:
        """Tell a notice, once. Always returns, within `tell_within_s`; says how it went."""
        place = self._directory.primary()
        try:
            response = await self._call(place, b"POST", path, key, body)
        except Unavailable as error:
            return Told(0, 0.0, str(error))
        after = response.retry_after
        seconds = float(after) if after.isdigit() and len(after) < 6 else 0.0
        return Told(response.status, seconds, f"status {response.status}")

    async def look(self, path: bytes) -> Response:
        """GET this below the base URL, once; whatever the status. Raises `Unavailable`, within `tell_within_s`."""
        return await self._call(self._directory.primary(), b"GET", path, "", b"")

    async def post(self, path: bytes, body: bytes) -> Response:
        """POST this JSON below the base URL, once; whatever the status. Raises `Unavailable`, likewise."""
        return await self._call(self._directory.primary(), b"POST", path, "", body)

    async def inquire(self, fpid: str) -> Answer | None:
        """Ask what was decided on a payment; None: the processor does not know it. Raises `Unavailable`."""
        async with self._inquiries:
            reason = "nobody takes inquiries"
            for place in self._directory.inquiries():
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
        """One request on a connection of its own for as long as it takes. Raises `Unavailable`."""
        request = b"%b %b%b HTTP/1.1\r\nHost: %b\r\nAccept: application/json\r\nAccept-Encoding: identity\r\n" % (
            method, place.path.encode(), path, place.authority.encode(),
        )  # fmt: skip
        if method == b"POST":
            request += b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        if key:
            request += b"Idempotency-Key: %b\r\n" % key.encode()
        request += b"\r\n" + body
        reach, crossings = self._reaches.of(place), 0
        with trio.move_on_after(self._settings.tell_within_s):
            while True:
                link = await self._spare_link(reach)
                over = link.send(request)
                if over is not None and not link.served:
                    reach.ended(link, over)
                    raise Unavailable(f"connection {over.value}: {link.end}")
                if over is not None:
                    continue  # nothing was sent: another connection takes it
                waiter = link.context = _Waiter(trio.Event(), reach)
                try:
                    await waiter.event.wait()
                except trio.Cancelled:
                    link.scope.cancel()  # its response may still come: nobody else must get it
                    raise
                crossings += 1
                again = crossings <= CROSSINGS_MAX
                if waiter.response is not None and not (again and waiter.response.status in UNREAD):
                    return waiter.response
                if waiter.response is None and not (again and waiter.untouched):
                    raise Unavailable(waiter.end)
        raise Unavailable(f"no response within {self._settings.tell_within_s:g} s")

    async def _spare_link(self, reach: Reach) -> Link:
        while self._spare:
            link, of = self._spare.pop()
            if of is reach and reach.fit(link, trio.current_time()):
                return link
            link.scope.cancel()
        link = await self._reaches.open(reach, self._replied)
        if self.nursery is None:
            link.scope.cancel()
            await link.run()  # closes it
            raise Unavailable("not running")
        self.nursery.start_soon(self._keep_spare, link)
        return link

    async def _keep_spare(self, link: Link) -> None:
        end = await link.run()
        self._spare = [item for item in self._spare if item[0] is not link]
        waiter: _Waiter | None = link.context
        if waiter is not None:
            waiter.reach.ended(link, end)
            waiter.end = f"connection {end.value if end is not None else 'given up'}: {link.end}"
            waiter.untouched = end in UNTOUCHED and link.served > 0
            waiter.event.set()

    def _replied(self, link: Link, response: Response, keep: bool) -> None:  # noqa: FBT001 - `link.Responded`
        waiter: _Waiter = link.context
        link.context = None
        waiter.response = response
        waiter.event.set()
        fit = waiter.reach.responded(link, response, trio.current_time())
        if keep and fit:
            self._spare.append((link, waiter.reach))
        elif keep:
            link.scope.cancel()
