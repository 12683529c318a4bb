"""Bytes to another host and back, whichever side dialled. Writing never waits: a background task (`pump`) writes the
bytes that the socket does not take at once.

Three kinds behind one Protocol: a plain socket, driven without a task switch; TLS over such a socket; and any trio
stream (a simulation's). They know nothing of HTTP. A client has at most one request waiting to be written: it writes
the next one when the answer has come.
"""

import contextlib
import select
import socket
import ssl
import sys
from typing import Any, Protocol, cast

import trio

from gateway.log import blame, describe
from gateway.network.dialler import Dialler, Reached
from gateway.network.turns import Proof

CHUNK_BYTES = 65536
"""Bytes read at once; an answer has some hundred."""
_BUFFER = memoryview(bytearray(CHUNK_BYTES))
"""All sockets of this thread are read into it. Asking the heap for so much at each read, and giving most of it back,
would leave holes between long-lived objects.
"""
DER = 2
"""The encoding of a certificate, as `_ssl` counts them."""
UNACKNOWLEDGED_MS = 10_000
"""TCP gives up a connection when the other machine acknowledges nothing for this long: it is gone, not slow."""


class Pipe(Protocol):
    """A connection. Broken in either direction shows as the end of `read`."""

    end: str
    """Why `read` ended, in words fit for a log; empty before."""
    complete: bool
    """Once `read` ended: the other end said that it sends no more, and nothing that it sent is missing."""

    @property
    def unsent_bytes(self) -> int:
        """Bytes written that the socket has not taken yet."""

    @property
    def lost(self) -> bool:
        """Something that was written will never be sent."""

    def write(self, data: bytes) -> None:
        """Send, now if the socket takes it, else as soon as it does. Never waits, never raises."""

    def finish(self) -> None:
        """Tell the other end, behind the bytes written, that no more will come. Never waits, never raises."""

    async def read(self) -> bytes:
        """What came, at least one byte; empty at the end, however it ended."""

    def unread(self) -> bytes | None:
        """Bytes that `read` has not handed out yet, at least the first; empty at the end; None: there are none.

        Never waits, and takes nothing away. A pipe that cannot look returns None.
        """

    async def pump(self) -> None:
        """Write the waiting bytes, for as long as the connection lives. Runs beside `read`."""

    async def aclose(self) -> None:
        """Drop the connection, without a farewell and without waiting. Also when cancelled."""


class SocketPipe:
    """A plain TCP connection over a non-blocking socket of the standard library."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        self._behind = b""
        self._finishing = False
        self._more = trio.Event()
        self.end = ""
        self.complete = False
        self.lost = False

    @property
    def unsent_bytes(self) -> int:
        """What the socket has not taken yet."""
        return len(self._behind)

    def write(self, data: bytes) -> None:
        """Send, now if the socket takes it."""
        sent = 0
        if not self._behind:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                self.lost = True  # reading hears of it too, and after whatever had still come
                return
        if sent < len(data):
            self._behind += data[sent:]
            self._more.set()

    def finish(self) -> None:
        """Nothing more will be written."""
        self._finishing = True
        if not self._behind:
            with contextlib.suppress(OSError):  # it is gone: reading hears of it too
                self._sock.shutdown(socket.SHUT_WR)

    async def read(self) -> bytes:
        """What came; empty at the end."""
        while True:
            try:
                # wait first: the caller has read everything that was there
                await trio.lowlevel.wait_readable(self._sock)
            except (OSError, trio.ClosedResourceError) as error:
                self.end = describe(error)
                return b""
            chunk = self.read_now()
            if chunk is not None:
                return chunk

    def unread(self) -> bytes | None:
        """What lies in the socket."""
        if not self._readable.poll(0):  # asked before every request; an exception would cost three times as much
            return None
        try:
            return self._sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:  # reading hears of it too
            return b""

    def read_now(self) -> bytes | None:
        """What came, as `read` says; None: nothing yet."""
        try:
            chunk = bytes(_BUFFER[: self._sock.recv_into(_BUFFER)])
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            self.end = describe(error)
            return b""
        if not chunk:
            # writing may have met the break before; reading then meets a plain end
            self.end, self.complete = ("broken", False) if self.lost else ("closed", True)
        return chunk

    async def pump(self) -> None:
        """Write what the socket did not take at once."""
        while True:
            await self._more.wait()
            self._more = trio.Event()
            while self._behind:
                try:
                    await trio.lowlevel.wait_writable(self._sock)
                    self._behind = self._behind[self._sock.send(self._behind) :]
                except (BlockingIOError, InterruptedError):
                    continue
                except (OSError, trio.ClosedResourceError):
                    self._behind, self.lost = b"", True  # nobody will have it; reading hears of it too
                    return
            if self._finishing:
                self.finish()

    async def aclose(self) -> None:
        """Drop the connection."""
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()


class TlsPipe:
    """TLS over a `SocketPipe`: the protocol runs in memory, so that a write is one call down to the socket."""

    def __init__(self, raw: SocketPipe, context: ssl.SSLContext, server_name: str | None) -> None:
        """`server_name` None: we are the server."""
        self._raw = raw
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=server_name is None, server_hostname=server_name)
        self._early = b""
        """Bytes that `unread` decrypted."""
        self._refused = False
        self.end = ""
        self.complete = False

    @property
    def unsent_bytes(self) -> int:
        """What the socket has not taken yet, encrypted."""
        return self._raw.unsent_bytes

    @property
    def lost(self) -> bool:
        """Something that was written will never be sent."""
        return self._refused or self._raw.lost

    @property
    def names(self) -> list[str]:
        """The DNS names in the other end's certificate, after the handshake."""
        certificate: dict[str, Any] = self._tls.getpeercert() or {}
        return [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]

    @property
    def chain(self) -> list[bytes]:
        """The certificates that the other end sent, in DER, its own first; after the handshake."""
        if sys.version_info >= (3, 13):
            return self._tls.get_unverified_chain()
        # the same, before it had a public name: nothing else tells it
        chain = cast("Any", self._tls)._sslobj.get_unverified_chain() or []  # noqa: SLF001
        return [certificate.public_bytes(DER) for certificate in chain]

    async def handshake(self, came: bytes = b"") -> None:
        """`came`: what was read of it already.

        Raises OSError (`ssl.SSLError` is one) when the other end is not the one expected, or refuses us.
        """
        self._in.write(came)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                chunk = await self._raw.read()
                if not chunk:
                    raise ConnectionResetError(0, f"in the TLS handshake: {self._raw.end}") from None
                self._in.write(chunk)
            except ssl.SSLError:
                self._flush()  # tell the other end why
                raise
            else:
                self._flush()
                return

    def write(self, data: bytes) -> None:
        """Send, now if the socket takes it."""
        try:
            self._tls.write(data)
        except ssl.SSLError:
            self._refused = True  # reading hears of it too
            return
        self._flush()

    def finish(self) -> None:
        """Nothing more will be written."""
        with contextlib.suppress(ssl.SSLError):  # it wants to hear the other end's farewell, which may never come
            self._tls.unwrap()
        self._flush()
        self._raw.finish()

    async def read(self) -> bytes:
        """What came; empty at the end."""
        while True:
            chunk = self._decrypt()
            if chunk is None:
                cipher = await self._raw.read()
                if not cipher:
                    self.end = self._raw.end  # without a close_notify: what came may not be all
                    return b""
                self._in.write(cipher)
                continue
            return chunk

    def unread(self) -> bytes | None:
        """What lies there in the clear: TLS's own messages (tickets for later sessions) answer nobody."""
        while not self._early:
            chunk = self._decrypt()
            if chunk is None:
                cipher = self._raw.read_now()
                if cipher is None:
                    return None
                if not cipher:
                    self.end = self._raw.end
                    return b""
                self._in.write(cipher)
            elif not chunk:
                return b""
            else:
                self._early = chunk
        return self._early

    def _decrypt(self) -> bytes | None:
        """What is there in the clear; empty at the end; None: nothing yet."""
        if self._early:
            chunk, self._early = self._early, b""
            return chunk
        try:
            chunk = self._tls.read(CHUNK_BYTES)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as error:
            self._flush()
            self.complete = isinstance(error, ssl.SSLZeroReturnError)
            self.end = "closed" if self.complete else f"TLS: {error.reason}{blame(error)}"
            return b""
        if self._out.pending:
            self._flush()
        if not chunk:
            self.end, self.complete = "closed", True
        return chunk

    async def pump(self) -> None:
        """Write what the socket did not take at once."""
        await self._raw.pump()

    async def aclose(self) -> None:
        """Drop the connection."""
        await self._raw.aclose()

    def _flush(self) -> None:
        data = self._out.read()
        if data:
            self._raw.write(data)


class StreamPipe:
    """Any trio stream; each write costs a task switch."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._behind = b""
        self._sending = 0
        self.lost = False
        self._finishing = False
        self._more = trio.Event()
        self.end = ""
        self.complete = False

    @property
    def unsent_bytes(self) -> int:
        """What the stream has not taken yet."""
        return len(self._behind) + self._sending

    def write(self, data: bytes) -> None:
        """Send soon."""
        if not self.lost:
            self._behind += data
            self._more.set()

    def finish(self) -> None:
        """Nothing more will be written."""
        self._finishing = True
        self._more.set()

    async def read(self) -> bytes:
        """What came; empty at the end."""
        try:
            chunk = bytes(await self._stream.receive_some(CHUNK_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.end = describe(error)
            return b""
        if not chunk:
            self.end, self.complete = "closed", True
        return chunk

    def unread(self) -> bytes | None:
        """A stream cannot be looked into."""
        return None

    async def pump(self) -> None:
        """Write what was handed over."""
        while True:
            await self._more.wait()
            self._more = trio.Event()
            data, self._behind = self._behind, b""
            self._sending = len(data)
            try:
                await self._stream.send_all(data)
                self._sending = 0
                if self._finishing and not self._behind and isinstance(self._stream, trio.abc.HalfCloseableStream):
                    await self._stream.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.lost, self._behind, self._sending = True, b"", 0
                return

    async def aclose(self) -> None:
        """Drop the connection."""
        await trio.aclose_forcefully(self._stream)


async def dial(dialler: Dialler, context: ssl.SSLContext | None, server_name: str) -> Reached[Pipe]:
    """Connect, shake hands where there is TLS, hand back a pipe. Raises OSError. Cancelled, it leaves nothing open."""
    stream, address = await dialler.connect()
    if not isinstance(stream, trio.SocketStream):
        if context is not None:
            stream = trio.SSLStream(stream, context, server_hostname=server_name)
        return Reached(StreamPipe(stream), address)
    raw = socket_pipe(stream)
    if context is None:
        return Reached(raw, address)
    pipe = TlsPipe(raw, context, server_name)
    try:
        await pipe.handshake()
    except BaseException:  # whatever ends the handshake, the socket must not outlive it
        dialler.heard(address, Proof.NOTHING)
        await raw.aclose()
        raise
    return Reached(pipe, address)


def socket_pipe(stream: trio.SocketStream) -> SocketPipe:
    """Take the socket out of a stream, whose end this is."""
    sock = socket.socket(fileno=stream.socket.detach())
    sock.setblocking(False)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
    return SocketPipe(sock)
