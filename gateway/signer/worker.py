"""The process that serves one token: one thread, one session, batches in, results out. Knows nothing of payments.

`process.command` starts it, with its end of a socket pair. Its instructions come over that socket; it reads the PIN
itself, from the token's PIN file. It ends when the socket closes, so that no worker outlives its gateway, and it ends
itself when a call into the token hangs for much longer than the pool would wait. It ignores SIGINT and SIGTERM, which a
terminal or a supervisor sends to the whole process group: the gateway still needs its MACs while it drains.
"""

import contextlib
import gc
import signal
import socket
import sys
from typing import BinaryIO

from gateway.machine import console
from gateway.signer import messages
from gateway.signer.messages import Held, Start
from gateway.signer.outage import TokenOutage
from gateway.signer.token import OpenToken
from gateway.strict_json import Reader

_start = Reader(Start)
_held = Reader(tuple[Held, ...])


def serve(channel: socket.socket) -> None:
    """Answer until the other end closes. Raises `OSError` or `AssertionError` when the other end is not a pool."""
    with channel.makefile("rb") as stream:
        kind, body = _read(stream)
        if not kind:
            return
        assert kind == messages.START, "the first frame is not START"
        start = _start(body)
        try:
            # a call that hangs in C hears no signal handler of ours: the default action of SIGALRM ends the process
            signal.setitimer(signal.ITIMER_REAL, start.start_within_s + 1.0)
            token = OpenToken(start)
            try:
                channel.sendall(messages.json_frame(messages.HELLO, token.show_with_checks()))
                gc.collect()
                gc.freeze()
                _answer(channel, stream, token, start)
            finally:
                signal.setitimer(signal.ITIMER_REAL, _watchdog_s(start.batch_within_s))
                token.close()
        except TokenOutage as error:
            channel.sendall(messages.json_frame(messages.FAULT, error.outage))


def _watchdog_s(within_s: float) -> float:
    """Later than the pool gives us up."""
    return 2 * within_s + 1.0


def _answer(channel: socket.socket, stream: BinaryIO, token: OpenToken, start: Start) -> None:
    while True:
        signal.setitimer(signal.ITIMER_REAL, 0)
        kind, body = _read(stream)
        within_s = start.install_within_s if kind == messages.KEYS else start.batch_within_s
        signal.setitimer(signal.ITIMER_REAL, _watchdog_s(within_s))
        if kind == messages.BATCH:
            result, outage = token.work(body)
            channel.sendall(result)
            if outage is not None:
                raise outage
        elif kind == messages.PROBE:
            channel.sendall(messages.json_frame(messages.HELLO, token.show()))
        elif kind == messages.KEYS:
            token.hold(_held(body))
            channel.sendall(messages.json_frame(messages.HELLO, token.show_with_checks()))
        else:
            assert not kind, "a frame that no pool sends"
            return


def _read(stream: BinaryIO) -> tuple[int, bytes]:
    """The next frame; kind 0 when the other end has closed."""
    head = stream.read(messages.HEAD.size)
    if len(head) < messages.HEAD.size:
        return 0, b""
    length, kind = messages.HEAD.unpack(head)
    assert 1 <= length <= messages.FRAME_BYTES_MAX, "a frame of impossible length"
    body = stream.read(length - 1)
    return (kind, body) if len(body) == length - 1 else (0, b"")


def main() -> None:
    """Run the process. Like all of ours, it refuses to run without assertions; the pool hears why."""
    if not console.keeps_assertions():
        sys.exit(console.WITHOUT_ASSERTIONS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel = socket.socket(fileno=int(sys.argv[1]))
    # the pool is gone: no report can be sent
    with channel, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        serve(channel)
