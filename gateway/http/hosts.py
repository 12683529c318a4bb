"""Hosts that are asked over HTTP: connections to them are made here, and what they prove of addresses is noted.

An address proves itself by a whole response, unless its status says that nobody is behind it (`NOBODY`). A connection
that brought such a status is not used again: it may lead to a host that the name has left. 502, 503 and 504 cost a
connection every `SPARE_S` at the most: a host that turns away a part of its requests must not have to shake hands for
each. A connection is not used again, either, when it brought word that nobody read the request (`UNREAD`), when it is
old, or when its address has lost its turn. All of that is looked at between two exchanges, never within one.
"""

from collections.abc import Callable
from math import inf
from typing import NamedTuple

import trio

from gateway import config, log
from gateway.errors import Unavailable
from gateway.http.connection import UNTOUCHED, Connection, End, Responded, Response
from gateway.http.directory import Directory, Endpoint, FixedDirectory, endpoint
from gateway.http.pipe import dial
from gateway.http.statuses import UNREAD
from gateway.network.dialler import Dialler
from gateway.network.names import Network
from gateway.network.papers import Papers
from gateway.network.turns import Proof

NOBODY = frozenset({421, 502, 503, 504})
"""Statuses of a load balancer that has nobody behind it, or of a host that is not (or no more) the one to ask."""

SPARE_S = 0.1
"""How often one 502, 503 or 504 costs a connection whose address is as good as before."""


class Host:
    """How one host is reached. The asker reports how each exchange ended."""

    def __init__(
        self, place: Endpoint, dialler: Dialler, papers: Papers | None, server_name: str,
        *, age_max_s: float, body_bytes_max: int, luck: Callable[[], float],
    ) -> None:  # fmt: skip
        """`papers`: TLS is spoken where the place has it. `server_name`: of its certificate; empty: the host."""
        assert papers is not None or not place.tls
        self.place = place
        self._dialler = dialler
        self._papers = papers if place.tls else None
        self._server_name = server_name or place.host
        self._age_max_s = age_max_s
        self._body_bytes_max = body_bytes_max
        self._luck = luck
        self._spared_s = -inf
        """Until when such a status costs nothing."""

    async def open(self, responded: Responded) -> Connection:
        """Connect and shake hands; the caller limits the time. Raises `OSError`, `trio.BrokenResourceError`."""
        context = self._papers.context() if self._papers is not None else None
        pipe, address = await dial(self._dialler, context, self._server_name)
        connection = Connection(pipe, self._body_bytes_max, responded)
        connection.address = address
        # connections that were made together do not get old together
        connection.until_s = trio.current_time() + self._age_max_s * (1.0 - self._luck() / 4)
        return connection

    def fit(self, connection: Connection, now_s: float) -> bool:
        """Whether the connection may be asked once more."""
        return now_s < connection.until_s and self._dialler.keeps(connection.address)

    def responded(self, connection: Connection, response: Response, now_s: float) -> bool:
        """A whole response came. Returns whether the connection may be asked once more, as far as the host goes."""
        if response.status in NOBODY:
            self._dialler.heard(connection.address, Proof.MISSED)
        elif response.status not in UNREAD:
            self._dialler.heard(connection.address, Proof.PROVED)
        if response.status in UNREAD:
            return False  # nobody read the request: the next one goes elsewhere
        if response.status in NOBODY and now_s >= self._spared_s:
            self._spared_s = now_s + SPARE_S
            return False
        return self.fit(connection, now_s)

    def missed(self, connection: Connection) -> None:
        """No response came in time; it may still come."""
        self._dialler.heard(connection.address, Proof.MISSED)

    def ended(self, connection: Connection, end: End | None) -> None:
        """The connection ended before the response to its request."""
        if not connection.served:
            self._dialler.heard(connection.address, Proof.NOTHING)
        elif end not in UNTOUCHED:  # else the request crossed with the closing, which says nothing
            self._dialler.heard(connection.address, Proof.MISSED)


class Keys(NamedTuple):
    """Configuration keys that an error names, and the name of the other end."""

    url: str = "node.processor.url"
    tls: str = "node.processor.tls"
    party: str = "processor"
    """Names the other end in logs and metrics."""


PROCESSOR = Keys()


class Hosts:
    """The hosts of a directory, reached by one party's settings."""

    def __init__(
        self, settings: config.Processor, network: Network, luck: Callable[[], float], keys: Keys = PROCESSOR,
        directory: Directory | None = None,
    ) -> None:  # fmt: skip
        """`directory`: None: the host of the settings' URL. Raises `ConfigurationError`."""
        self._settings = settings
        self._party = keys.party
        self._network = network
        self._luck = luck
        self.directory = directory or FixedDirectory(endpoint(settings, keys.url))
        places = (self.directory.primary(), *self.directory.inquiries())
        uses_tls = settings.tls is not None or any(place.tls for place in places)
        self._papers = Papers(settings.tls, keys.tls) if uses_tls else None
        self._known: dict[Endpoint, Host] = {}

    def of(self, place: Endpoint) -> Host:
        """The host at this place: always the same one, since it remembers its addresses."""
        host = self._known.get(place)
        if host is None:
            settings = self._settings
            host = self._known[place] = Host(
                place,
                Dialler(self._party, place.host, place.port, self._network),
                self._papers,
                settings.tls.server_name if settings.tls is not None else "",
                age_max_s=settings.connection_age_max_s,
                body_bytes_max=settings.answer_bytes_max,
                luck=self._luck,
            )
        return host

    async def open(self, host: Host, responded: Responded) -> Connection:
        """Connect and shake hands. Raises `Unavailable`."""
        within_s = self._settings.connect_within_s
        with trio.move_on_after(within_s):
            try:
                return await host.open(responded)
            except (OSError, trio.BrokenResourceError) as error:
                raise Unavailable(log.describe(error)) from error
        raise Unavailable(f"no connection within {within_s:g} s")
