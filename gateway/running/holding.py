"""Keeps the hub away while we could not keep our promises: links are on hold as long as this process is unready."""

from math import inf

import trio

from gateway import log, metrics
from gateway.hub.pool import Links
from gateway.machine.standstill import RUNS_EVERY_S
from gateway.notify import Supervisor
from gateway.running.clocks import ClockWatch
from gateway.running.health import Health
from gateway.signer.pool import Signer

_log = log.get("daemon")

WATCH_EVERY_S = RUNS_EVERY_S
"""Pause between two looks at readiness: a disk that hangs is noticed this much later than `stall_after_s`."""


class Holding:
    """Looks at the clocks and at readiness, and puts the links on hold or resumes them."""

    def __init__(
        self,
        health: Health,
        clocks: ClockWatch,
        signer: Signer,
        links: Links,
        supervisor: Supervisor,
        sign_off_s: float,
    ) -> None:
        """`sign_off_s`: time that the hub has to respond to a sign-off."""
        self._health = health
        self._clocks = clocks
        self._signer = signer
        self._links = links
        self._supervisor = supervisor
        self._sign_off_s = sign_off_s

    async def run(self) -> None:
        """Look now and then, for ever."""
        said: list[str] = []
        served_s = -inf
        while True:
            self._clocks.look()
            now_s = trio.current_time()
            served_s = now_s if self._signer.serving else served_s
            reasons = self._health.unready()
            if reasons:
                # by then a sign-off has got its MAC, or never will
                self._links.hold(mute=now_s - served_s > self._sign_off_s)
            else:
                self._links.resume()
            if bool(reasons) != bool(said):
                say = _log.error if reasons else _log.info
                say("unready" if reasons else "ready again", reason="; ".join(reasons))
            said = reasons
            why = [reason for reason in (*reasons, self._links.ready()) if reason]
            metrics.READY.set(not why)
            self._supervisor.status("unready: " + "; ".join(why) if why else "ready")
            await trio.sleep(WATCH_EVERY_S)
