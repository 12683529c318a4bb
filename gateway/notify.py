"""Tells the supervisor of this process how it is, by sd_notify(3): systemd, or any program that listens as it does.

A datagram of `NAME=value` lines goes to the socket that `NOTIFY_SOCKET` names; without that, nobody is told. The
supervisor holds nothing up: a line that cannot be sent at once is kept, the last of each name, and goes with the next
datagram. The event loop alone says that the gateway is alive. So a loop that is stuck is found out, and a disk or a
token that hangs, which the gateway deals with itself, is not taken for that.
"""

import os
import socket
from collections.abc import Callable, MutableMapping
from functools import partial
from math import inf

from gateway import log

STATUS_MAX = 300
"""Characters of a status: `systemctl status` shows one line."""
BEATS = 3
"""Signs of life in the time that the supervisor allows. Two would do (sd_watchdog_enabled(3))."""
EXTEND_S = 120.0
"""Time that a start may take from one message to the next. In that time a disk has read a hundred thousand records, or
written and synced a segment, or it hangs."""

_log = log.get("notify")


class Supervisor:
    """The program that supervises us. `Supervisor()` stands for none."""

    def __init__(self, send: Callable[[bytes], object] | None = None, watchdog_s: float = 0.0) -> None:
        """`send` takes a datagram, at once, or raises `OSError`. `watchdog_s` is the silence after which we are taken
        for stuck; 0: nobody watches.
        """
        self.alive_every_s = watchdog_s / BEATS if send is not None and watchdog_s > 0 else inf
        """Pause between two calls of `alive`."""
        self.close: Callable[[], object] = lambda: None
        """Say no more. The end of the process does it; tests do."""
        self._send = send
        self._unsent: dict[str, str] = {}
        self._status = ""
        self._unreached = False

    def starting(self, what: str) -> None:
        """The start goes on: it may take `EXTEND_S` more, however long it took."""
        self._say(EXTEND_TIMEOUT_USEC=_microseconds(EXTEND_S), STATUS=what)

    def ready(self) -> None:
        """Everything runs. `status` says whether payments may come."""
        self._say(READY="1")

    def status(self, text: str) -> None:
        """How it is now, in words that are no secret. Says nothing when that is no news; cheap to call often."""
        if text != self._status:
            self._status = text
            self._say(STATUS=" ".join(text.split())[:STATUS_MAX])
        elif self._unsent:
            self._say()

    def alive(self) -> None:
        """The event loop turns."""
        self._say(WATCHDOG="1")

    def stopping(self, within_s: float) -> None:
        """It ends, on purpose, and by then, whatever the supervisor allows by itself."""
        self._say(STOPPING="1", EXTEND_TIMEOUT_USEC=_microseconds(within_s))

    def _say(self, **lines: str) -> None:
        if self._send is None:
            return
        self._unsent |= lines
        try:
            self._send("\n".join(f"{name}={value}" for name, value in self._unsent.items()).encode())
        except OSError as error:
            # it does not read, or begins anew: payments go on
            if not self._unreached:
                _log.warning("the supervisor is not reached", error=log.describe(error))
            self._unreached = True
        else:
            self._unsent.clear()
            self._unreached = False


def _microseconds(seconds: float) -> str:
    return str(round(seconds * 1e6))


def supervisor_of(environment: MutableMapping[str, str]) -> Supervisor:
    """The supervisor that the environment names. Its variables are removed: no child of ours may speak for us."""
    address = environment.pop("NOTIFY_SOCKET", "")
    watchdog_us = environment.pop("WATCHDOG_USEC", "")
    whose = environment.pop("WATCHDOG_PID", "")
    if not address:
        return Supervisor()
    ours = whose in {"", str(os.getpid())} and watchdog_us.isascii() and watchdog_us.isdigit()
    # @ stands for the zero byte that begins an abstract address
    where = "\0" + address[1:] if address.startswith("@") else address
    # open for ever: a supervisor that heard nothing because no descriptor was left would kill us. It waits for nothing,
    # and is connected to nobody, so that nothing of a try that failed is left in the way
    speaker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    supervisor = Supervisor(partial(_send, speaker, where), int(watchdog_us) / 1e6 if ours else 0.0)
    supervisor.close = speaker.close
    return supervisor


def _send(speaker: socket.socket, address: str, datagram: bytes) -> None:
    speaker.sendto(datagram, address)
