"""How a connection to a hub site is made: TCP, and TLS where the configuration says so. Only this file of the room
knows sockets.
"""

import errno
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import trio

from gateway import config
from gateway.errors import ConfigurationError
from gateway.machine.shortage import is_shortage
from gateway.network.dialler import Dialler
from gateway.network.papers import Papers
from gateway.network.turns import Proof


class HubConnection(NamedTuple):
    """A connection, and the address that it leads to: report by `Dialler.heard` what it proves."""

    stream: trio.abc.Stream
    address: str
    silent_s: Callable[[], float]
    """For how long the other machine has sent nothing, no confirmation either; 0 where that cannot be known."""


Dial = Callable[[config.HubSite, Dialler], Awaitable[HubConnection]]
"""Connect to a hub site, at the address that its dialler chooses; the caller limits the time. Raises `OSError`,
`ValueError` or `trio.BrokenResourceError`."""

KEEPALIVE_IDLE_S = 5
"""Echoes find a dead hub; keepalive finds a dead path (a firewall that forgot us) while echoes are far apart."""
KEEPALIVE_INTERVAL_S = 5
KEEPALIVE_PROBES = 4
SILENT_S = KEEPALIVE_IDLE_S + 3.0
"""A machine that is there confirms an idle connection's keepalive sooner. A silent one is in doubt: people are told
long before the connection is given up, because giving it up would cost payments if this were only a pause."""
_LAST_HEARD = struct.Struct("=52x2I")
"""In Linux's `tcp_info`: milliseconds since data came, and since a confirmation came."""


class Sockets:
    """Dials over this machine's sockets, and keeps the TLS files of each site."""

    def __init__(self) -> None:
        self._papers: dict[str, Papers] = {}

    async def dial(self, site: config.HubSite, dialler: Dialler) -> HubConnection:
        """Connect over TCP, and hand over a `trio.SSLStream` when the site has `tls`."""
        # each connection looks at the files, so that a renewed certificate is used without a restart; in a thread, so
        # that a slow disk does not keep payments waiting
        context = None
        if site.tls is not None:
            context = await self._look(site.name, site.tls, dialler)
        return await _connected(site, dialler, context)

    async def _look(self, name: str, tls: config.Tls, dialler: Dialler) -> ssl.SSLContext:
        try:
            return await dialler.aside(partial(self._context, name, tls))
        except OSError as error:
            papers = self._papers.get(name)
            if papers is None or not is_shortage(error):
                raise
            return papers.known()  # no thread can be had: a link is worth more than a look at the files

    def _context(self, name: str, tls: config.Tls) -> ssl.SSLContext:
        """Raises OSError when a file is unusable: the next attempt looks again."""
        try:
            papers = self._papers.get(name) or self._papers.setdefault(name, Papers(tls, f"node.hub.{name}.tls"))
        except ConfigurationError as error:
            raise OSError(errno.EINVAL, str(error)) from error
        return papers.context()


async def _connected(site: config.HubSite, dialler: Dialler, context: ssl.SSLContext | None) -> HubConnection:
    tcp, address = await dialler.connect()
    assert isinstance(tcp, trio.SocketStream)
    set_options(tcp.socket, site.unconfirmed_s)
    if context is None:
        return HubConnection(tcp, address, partial(silent_s, tcp.socket))
    assert site.tls is not None
    # https_compatible: a length says where each message ends, so a hub that closes without close_notify is no error
    tls = trio.SSLStream(tcp, context, server_hostname=site.tls.server_name or site.host, https_compatible=True)
    try:
        await tls.do_handshake()
    except BaseException:
        dialler.heard(address, Proof.NOTHING)
        await trio.aclose_forcefully(tls)
        raise
    return HubConnection(tls, address, partial(silent_s, tcp.socket))


def silent_s(sock: trio.socket.SocketType) -> float:
    """For how long the other machine has sent nothing on this connection, no confirmation either; 0 where the system
    cannot say. This is about the machine, not the hub: it confirms bytes that the hub has yet to read.
    """
    if not hasattr(socket, "TCP_INFO") or sock.fileno() < 0:
        return 0.0
    data_ms, confirmed_ms = _LAST_HEARD.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_HEARD.size))
    return float(min(data_ms, confirmed_ms)) / 1000


def set_options(sock: trio.socket.SocketType, unconfirmed_s: float) -> None:
    """Set Nagle off, because a flush is already as large as it gets, and keepalive on. Where the system can do it,
    bytes that the other machine does not confirm in time end the connection: else they would be repeated for a quarter
    of an hour.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(unconfirmed_s * 1000))
