"""A cable between a gateway and a hub site that can be cut without a word: no FIN, no RST, nothing is confirmed.

It forwards bytes. Once cut, a socket filter has the kernel drop every packet that comes to its end, before TCP sees it,
and nothing is written any more: for the gateway the other machine is gone. What was written before is confirmed by
then, so that TCP has nothing to send again. Neither root nor a network of one's own is needed for it (Linux).
"""

import ctypes
import socket
import struct

import trio

_ATTACH, _DETACH = 26, 27
"""SO_ATTACH_FILTER and SO_DETACH_FILTER, which Python does not name."""
_DROP = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
"""One instruction: return 0, keep no byte."""
_FILTER = struct.pack("HL", 1, ctypes.addressof(_DROP))


_UNCONFIRMED = struct.Struct("=24xI")
"""Of Linux's `tcp_info`: segments that were sent and not confirmed."""


def _unconfirmed(end: trio.SocketStream) -> int:
    info = end.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNCONFIRMED.size)
    count: int = _UNCONFIRMED.unpack(info)[0]
    return count


class Cable:
    """Listens, and forwards to a port of loopback. `run` it."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._listener: trio.SocketListener | None = None
        self._ends: set[trio.SocketStream] = set()
        self._whole = trio.Event()
        self._whole.set()

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; started with the port."""
        [self._listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(self._listener.socket.getsockname()[1])
        await trio.serve_listeners(self._serve, [self._listener])

    async def _serve(self, end: trio.SocketStream) -> None:
        self._ends.add(end)
        try:
            async with end, await trio.open_tcp_stream("127.0.0.1", self._to_port) as hub, trio.open_nursery() as both:
                both.start_soon(self._forward, end, hub, both.cancel_scope)
                both.start_soon(self._forward, hub, end, both.cancel_scope)
        except OSError:
            pass  # the hub site is away: so is the link
        finally:
            self._ends.discard(end)

    async def _forward(self, source: trio.SocketStream, target: trio.SocketStream, both: trio.CancelScope) -> None:
        try:
            async for chunk in source:
                if not self._whole.is_set():  # nothing comes between the look and the first write
                    await self._whole.wait()
                await target.send_all(chunk)
            await self._whole.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        both.cancel()

    async def cut(self) -> None:
        """From now on nothing comes and nothing goes, of the connections that are there and of new ones."""
        assert self._listener is not None
        self._whole = trio.Event()
        for end in list(self._ends):
            while _unconfirmed(end):  # noqa: ASYNC110 - the kernel cannot set our events
                await trio.sleep(0.001)
        for sock in (self._listener.socket, *(end.socket for end in self._ends)):
            sock.setsockopt(socket.SOL_SOCKET, _ATTACH, _FILTER)

    async def mend(self) -> None:
        """New connections are taken again; those that were cut are over."""
        assert self._listener is not None
        self._listener.socket.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
        for end in list(self._ends):
            await trio.aclose_forcefully(end)
        self._whole.set()
