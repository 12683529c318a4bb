"""How a connection to a hub site is made: TCP, and TLS where the configuration says so. The one place that knows
sockets.
"""

import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import trio

from gateway import config
from gateway.addresses.dialler import Dialler
from gateway.addresses.law import Proof


class Dialled(NamedTuple):
    """A connection, and the address that it leads to: say by `Dialler.heard` what it proves."""

    stream: trio.abc.Stream
    address: str


Dial = Callable[[config.HubSite, Dialler], Awaitable[Dialled]]
"""Connect to a hub site, where its dialler says; the caller limits the time. Raises `OSError`, `ValueError` or
`trio.BrokenResourceError`."""

KEEPALIVE_IDLE_S = 10
"""Echoes find a dead hub; keepalive finds what lies between (a firewall that forgot us) while echoes are far apart."""
KEEPALIVE_INTERVAL_S = 5
KEEPALIVE_PROBES = 3


async def dial(site: config.HubSite, dialler: Dialler) -> Dialled:
    """Connect over TCP, and hand over a `trio.SSLStream` when the site has `tls`."""
    # the files are read for each connection, so that a renewed certificate is used without a restart; in a thread, so
    # that a slow disk does not keep payments waiting
    context = await dialler.aside(partial(tls_context, site.tls)) if site.tls is not None else None
    tcp, address = await dialler.connect()
    assert isinstance(tcp, trio.SocketStream)
    set_options(tcp.socket)
    if context is None:
        return Dialled(tcp, address)
    assert site.tls is not None
    # https_compatible: lengths tell us where a message ends, so a hub that closes without a close_notify is no error
    tls = trio.SSLStream(tcp, context, server_hostname=site.tls.server_name or site.host, https_compatible=True)
    try:
        await tls.do_handshake()
    except BaseException:
        dialler.heard(address, Proof.NOTHING)
        await trio.aclose_forcefully(tls)
        raise
    return Dialled(tls, address)


def set_options(sock: trio.socket.SocketType) -> None:
    """No Nagle: a flush is as large as it gets. Keepalive on."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)


def tls_context(tls: config.Tls) -> ssl.SSLContext:
    """TLS 1.2 or newer, the hub's certificate and name checked, ours presented. Raises OSError when a file is
    unusable.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.certificate_file:
        context.load_cert_chain(tls.certificate_file, tls.key_file or None)
    return context
