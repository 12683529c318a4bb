"""Watches the volume under the journal: refuses a start beside it, then asks DRBD every few seconds and logs changes.

`drbd` knows how to ask, `verdict` what an answer means.
"""

import os
from typing import Any

import trio

from gateway import config, log, metrics
from gateway.errors import Refusal, Unavailable
from gateway.volume.drbd import Drbd
from gateway.volume.report import Reported
from gateway.volume.status import PRIMARY, STANDALONE, Status
from gateway.volume.verdict import STATES, Verdict, judge, standalone

_log = log.get("volume")

EVERY_S = 2.0
"""How often DRBD is asked: a lost copy is noticed at most so much later than by DRBD itself."""
WITHIN_S = 3.0
"""How long an answer may take. DRBD holds it back while it changes its own state."""
DRBD_MAJOR = 147
"""The major number of all its devices, in each version (Linux's devices.txt)."""


class VolumeWatch:
    """One volume. Make it with `begin`."""

    def __init__(self, settings: config.Volume, minor: int, drbd: Drbd) -> None:
        self._settings = settings
        self._minor = minor
        self._drbd = drbd
        self._known = Verdict("ok", "")
        """The last verdict that was not unknown."""
        self._said: Verdict | None = None
        self._alone: list[str] = []
        self.verdict = Verdict("unknown", "not asked yet")
        self.status: Status | None = None
        """The last one that could be read."""

    async def look(self) -> None:
        """Ask once, within `WITHIN_S`, and log a change."""
        status, why = None, f"no answer within {WITHIN_S:g} s"
        with trio.move_on_after(WITHIN_S):
            try:
                status = await self._drbd.status(self._settings.resource, self._minor)
            except Unavailable as error:
                why = str(error)
        if status is None:
            self.verdict = Verdict("unknown", why)
        else:
            self.status = status
            self.verdict = self._known = judge(status, self._settings)
            self._say_alone(standalone(status))
        self._say()

    async def run(self) -> None:
        """Ask for ever."""
        with metrics.shown(metrics.VolumeStates(STATES, self._shown)):
            while True:
                await trio.sleep(EVERY_S)
                await self.look()

    def unready(self) -> str:
        """Why payments should not come here, as far as the volume is concerned; empty when they may."""
        return self._known.reason if self._known.state == "unready" else ""

    def health(self) -> dict[str, Any]:
        """For `/ready`."""
        found: dict[str, Any] = {"state": self.verdict.state, "reason": self.verdict.reason}
        found |= {"resource": self._settings.resource, "copies_wanted": self._settings.copies}
        if self.status is not None:
            found |= {"copies": self.status.copies, "quorum": self.status.quorum, "role": self.status.role}
            found["peers"] = {peer.name: f"{peer.connection}, {peer.disk}" for peer in self.status.peers}
        return found

    def _shown(self) -> metrics.VolumeShown:
        state, wanted, status = self.verdict.state, self._settings.copies, self.status
        if status is None:
            return metrics.VolumeShown(state, wanted, None, None, {})
        peers = {peer.name: (peer.connection == STANDALONE, peer.out_of_sync_bytes) for peer in status.peers}
        return metrics.VolumeShown(state, wanted, status.copies, status.quorum, peers)

    def _say(self) -> None:
        """Log each change once."""
        verdict, said = self.verdict, self._said
        if verdict == said:
            return
        self._said = verdict
        if verdict.state == "unready":
            _log.error("volume unready", reason=verdict.reason)
        elif verdict.state == "degraded":
            _log.warning("volume degraded", reason=verdict.reason)
        elif verdict.state == "unknown":
            _log.warning("the volume's state cannot be read", reason=verdict.reason)
        else:
            _log.info("volume ok", count=self._settings.copies)

    def _say_alone(self, alone: list[str]) -> None:
        for name in alone:
            if name not in self._alone:
                _log.warning("volume link StandAlone: drbdadm adjust", host=name, detail=self._settings.resource)
        self._alone = alone


async def begin(settings: config.Volume, journal_dir: str, drbd: Drbd) -> VolumeWatch:
    """Make sure that the journal lies on the volume, and that the volume is ours to write; ask for the first time.

    Raises `Refusal`, which says what was found: a gateway on a server where the volume is not mounted would begin a
    new, empty journal in the empty mount point, and have forgotten every promise. A status that cannot be read is no
    reason to refuse: the device numbers show that the journal lies on the volume, and only a Primary can be mounted to
    write.
    """
    device = settings.path
    try:
        number = drbd.number_of(device)
    except OSError as error:
        what = f"node.volume: {device}: {log.describe(error)}"
        unless = ", or fps-volume-report@ is not" if settings.report else ""
        raise Refusal(f"{what}: the resource {settings.resource} is not up on this server{unless}") from error
    if os.major(number) != DRBD_MAJOR:
        raise Refusal(f"node.volume: {device} is the device {_pair(number)}: none of DRBD's, which are {DRBD_MAJOR}:*")
    try:
        below = drbd.device_below(journal_dir)
    except OSError as error:
        what = f"node.journal.dir: {journal_dir}: {log.describe(error)}"
        raise Refusal(f"{what}: nobody can say what it lies on") from error
    if below != number:
        what = f"node.journal.dir: {journal_dir} lies on the device {_pair(below)}, and {device} is {_pair(number)}"
        raise Refusal(f"{what}: the volume is not mounted there")
    watch = VolumeWatch(settings, os.minor(number), drbd)
    await watch.look()
    if watch.verdict.state != "unknown" and watch.status is not None and watch.status.role != PRIMARY:
        raise Refusal(f"node.volume: {settings.resource} is {watch.status.role} on this server, not {PRIMARY}")
    return watch


async def begin_for(node: config.Node, drbd: Drbd) -> VolumeWatch | None:
    """The same for a node, by its host's report where it cannot ask itself; None where there is no volume."""
    if node.volume is None:
        return None
    return await begin(node.volume, node.journal.dir, Reported(node.volume.report) if node.volume.report else drbd)


def _pair(number: int) -> str:
    return f"{os.major(number)}:{os.minor(number)}"
