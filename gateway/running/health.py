"""Whether payments should come here, and how each part is: for `/ready`, for metrics, and for those who submit."""

from typing import Any

import trio

from gateway.engine import Engine
from gateway.hub.pool import Links
from gateway.journal.writer import Journal
from gateway.neighbours.peers import Peers
from gateway.neighbours.sibling import Identity, Sibling
from gateway.payments.ejection import Ejection
from gateway.processor.client import Client
from gateway.processor.messages import Readiness, ReadyParts
from gateway.running.clocks import ClockWatch
from gateway.running.stopping import Stop
from gateway.signer.pool import Signer
from gateway.volume.watch import VolumeWatch


class Promises:
    """Whether this process can keep a promise about a payment, of either direction.

    It exists before the engine, which asks it before it takes a submission.
    """

    def __init__(self, journal: Journal, signer: Signer, volume: VolumeWatch | None, stop: Stop) -> None:
        self._journal = journal
        self._signer = signer
        self._volume = volume
        self._stop = stop

    def failing(self) -> list[str]:
        """Why no promise can be kept; empty when one can."""
        reasons = [self._journal.health(trio.current_time())]
        if not self._signer.serving:
            reasons.append("no HSM token serves")
        if self._volume is not None:
            reasons.append(self._volume.unready())
        return [reason for reason in reasons if reason]

    def closed(self) -> str:
        """Why no payment may be submitted now, apart from the links' reasons; empty when one may."""
        # our clock says nothing about a submission: its date is the processor's
        return "draining" if self._stop.draining else "; ".join(self.failing())


class Health:
    """How the process and its parts are."""

    def __init__(
        self, *, promises: Promises, stop: Stop, identity: Identity, engine: Engine, clocks: ClockWatch,
        journal: Journal, signer: Signer, links: Links, ejection: Ejection, client: Client, peers: Peers,
        volume: VolumeWatch | None, sibling: Sibling | None,
    ) -> None:  # fmt: skip
        self._promises = promises
        self._stop = stop
        self._identity = identity
        self._engine = engine
        self._clocks = clocks
        self._journal = journal
        self._signer = signer
        self._links = links
        self._ejection = ejection
        self._client = client
        self._peers = peers
        self._volume = volume
        self._sibling = sibling

    def unready(self) -> list[str]:
        """Why payments should not come here, apart from the links' reasons; empty when they may.

        The processor is no reason: stand-in is for that.
        """
        return [reason for reason in (self._engine.clocks.trouble, *self._promises.failing()) if reason]

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """For `/ready` on the ops port. A stop of submitting is no reason: payments still come here."""
        reasons = [*self.unready(), self._links.ready()]
        if self._stop.draining:
            reasons.append("draining")
        reasons = [reason for reason in reasons if reason]
        parts = {
            **{part: trouble or "ok" for part, trouble in self._troubles().items()},
            "signer": {name: health._asdict() for name, health in self._signer.health().items()},
            "volume": self._volume.health() if self._volume is not None else "not watched",
            "sibling": self._sibling.health() or "ok" if self._sibling is not None else "not watched",
            **self._identity._asdict(),
        }
        return not reasons, {"reasons": reasons, "parts": parts}

    def presented(self) -> Readiness:
        """For `/ready` at the door: no more than those who submit have to know."""
        ready, said = self.ready()
        stopped = self._engine.outbound.submitting.why
        reasons = (stopped, *said["reasons"]) if stopped else tuple(said["reasons"])
        return Readiness(ready and not stopped, reasons, ReadyParts(**self._identity._asdict()))

    def well(self) -> dict[str, bool]:
        """Part → whether it is well, for a metric."""
        return {part: not trouble for part, trouble in self._troubles().items()}

    def _troubles(self) -> dict[str, str]:
        """Part → its trouble in words; empty when it has none."""
        return {
            "journal": self._journal.health(trio.current_time()),
            "clock": self._engine.clocks.trouble,
            "hub_clock": "differs on every link" if self._clocks.hub_differs else "",
            "tokens": self._signer.trouble(),
            "links": self._links.ready() or "; ".join(filter(None, (self._links.trouble(), self._ejected()))),
            "processor": self._client.health(),
            "stand_in": self._engine.inbound.stand_in.switched(),
            "submitting": self._engine.outbound.submitting.why,
            "peers": self._peers.health(),
            "scheme": self._engine.news.health(),
        }

    def _ejected(self) -> str:
        """The links that get no new payments of ours, each with the reason."""
        return "; ".join(f"{site} gets no new payments: {why}" for site, why in self._ejection.ejected().items())
