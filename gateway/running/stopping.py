"""How a process stops: it is told to, it drains, it ends."""

import signal
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import trio

from gateway import log
from gateway.engine import Engine
from gateway.hub.pool import Links
from gateway.notify import Supervisor
from gateway.running.sealing import SEAL_WITHIN_S, Sealing
from gateway.running.signals import ENDS, RELOADS

_log = log.get("daemon")

DRAIN_LOOK_S = 0.01
"""Pause between two looks whether a drain is done."""
CLOSE_LINKS_WITHIN_S = 1.0
"""Time that closing the links may take, after the hub has responded to our sign-off or its time to do so is over."""
CLOSE_WITHIN_S = 5.0
"""Time that the journal's last sync may take: a disk that hangs at the end must not keep the process for ever."""
END_WITHIN_S = 10.0
"""Time that the rest of ending may take at most: workers that must be killed, connections that do not read. The
supervisor is asked to wait for it before it kills."""


class Stop:
    """The orders to stop that this process has had."""

    def __init__(self, reload: Callable[[], None], note: Callable[[str, str], None]) -> None:
        """`reload` is done on SIGHUP. `note` records that a signal had us do an act: their names."""
        self._reload = reload
        self._note = note
        self.asked = trio.Event()
        """Drain."""
        self.at_once = trio.Event()
        """End now."""
        self.draining = False

    async def on_signals(self, signals: AsyncIterator[int]) -> None:
        """The first signal to end drains, or joins a drain that was asked for at the ops port; the second ends at once.
        `signals` says what the others do.
        """
        signalled = False
        async for number in signals:
            name = signal.Signals(number).name
            if number == RELOADS:
                self._reload()
                self._note(name, "reload")
            elif number not in ENDS:
                _log.info("signal: nothing is done", signal=name)
            elif signalled:
                _log.warning("second signal: ending at once", signal=name)
                self.at_once.set()
                return
            else:
                _log.info("signal: draining", signal=name)
                signalled = True
                self.asked.set()
                self._note(name, "drain")


class DrainLimits(NamedTuple):
    """How long the steps of a drain may take."""

    payments_s: float
    """Finishing the payments in flight."""
    sign_off_s: float
    """The hub's response to a sign-off."""

    @property
    def links_s(self) -> float:
        """Signing off to submit, and closing the links."""
        return self.sign_off_s + CLOSE_LINKS_WITHIN_S

    @property
    def whole_s(self) -> float:
        """From the beginning of the drain to the end of the process."""
        return self.payments_s + self.links_s + SEAL_WITHIN_S + CLOSE_WITHIN_S + END_WITHIN_S


class Draining:
    """The drain of a process, once it is asked for."""

    def __init__(
        self, stop: Stop, limits: DrainLimits, links: Links, engine: Engine, sealing: Sealing, supervisor: Supervisor
    ) -> None:
        self._stop = stop
        self._limits = limits
        self._links = links
        self._engine = engine
        self._sealing = sealing
        self._supervisor = supervisor

    async def run(self) -> bool:
        """Finish what is in flight. Returns whether all of it was finished."""
        self._stop.draining = True
        self._supervisor.stopping(self._limits.whole_s)
        self._links.drain()
        with trio.move_on_after(self._limits.payments_s):
            while self._links.receiving() or self._engine.in_flight:  # noqa: ASYNC110 - two parts, once in a life
                await trio.sleep(DRAIN_LOOK_S)
        with trio.move_on_after(self._limits.links_s):
            await self._links.finish()
        left = self._engine.in_flight
        _log.info("drained", in_flight=left)
        await self._sealing.seal_all()
        return not left
