"""Lets clients in over TLS: whoever shows a certificate of our authorities, for as long as that is worth anything.

A server makes an `Entrance` for each of its ports:

    guest = await entrance.let_in(stream)         # for each connection that it accepts
    if guest is not None:
        with entrance.serving(guest):             # cancelled when its certificate is trusted no more
            ... read requests from guest.pipe, and answer them ...

    entrance.look(); every now and then           # a tenth of a second, or so

Until the handshake is over, a client is a stranger, and has what `network.strangers` allows strangers. What a guest may
do is the server's to decide, by the names in its certificate (`guest.pipe.names`). A guest is trusted as long as
`network.trust` says so: it is asked in the beginning, whenever the files have changed (authorities, revocation lists),
and when a certificate ends. A guest that is trusted no more is cut off at once, whatever it waits for.

No session of TLS is resumed, but for what TLS 1.2 keeps in memory: then the certificate that began it is judged anew.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from math import inf

import trio

from gateway import log, metrics
from gateway.http.pipe import SocketPipe, TlsPipe, socket_pipe
from gateway.network.papers import Papers
from gateway.network.strangers import CROWDED, LATE, WITHIN_S, Place, Strangers, address_of
from gateway.network.trust import FOREVER, Certificate, Judgement, certificates_of

SAY_EVERY_S = 1.0
"""The least time between log lines about clients that were not let in; all are counted."""
HANDSHAKE, HEADER_BYTES = b"\x16", 5
"""TLS's type of the record that a client begins with, and the length of a record's header (RFC 8446, section 5.1)."""

_log = log.get("entrance")
_OUTCOMES = {LATE: "late", CROWDED: "crowded"}


@dataclass(frozen=True, slots=True, eq=False)
class Guest:
    """A client that was let in."""

    pipe: TlsPipe
    address: str
    chain: list[Certificate]
    """Its certificate, and those that it sent with it."""
    until: datetime
    """When the first of these ends."""
    scope: trio.CancelScope
    """Around what `serving` runs."""


class Entrance:
    """The way in to one port."""

    def __init__(self, papers: Papers, port: str, within_s: float = WITHIN_S) -> None:
        """`port`: one of `metrics.STRANGERS_AT`. `within_s`: how long a client may take to show its certificate."""
        self._papers = papers
        self._strangers = Strangers(within_s)
        self._counted = metrics.STRANGERS[port]
        self._ended = metrics.TRUST_ENDED[port]
        self._said_s = -inf
        self._guests: set[Guest] = set()
        self._judged_by = papers.known()
        """What the guests were judged by last."""
        self._soonest = FOREVER
        """When the first certificate of a guest ends, or before."""
        self.refused = 0
        """Clients that were not let in because of what they showed, or did not show in time."""

    @property
    def turned_away(self) -> int:
        """Clients that had to go before they could show anything, for the sake of others."""
        return self._strangers.turned_away

    async def let_in(self, stream: trio.SocketStream) -> Guest | None:
        """Shake hands. None: it is not let in; its connection is closed, and that is counted and said.

        Takes the stream over in any case. Cancelled, it leaves nothing open.
        """
        address = address_of(stream)
        try:
            raw = socket_pipe(stream)
        except OSError:
            stream.socket.close()
            return None
        reason, ours, guest = "", False, None
        try:
            with self._strangers.place(address) as place:
                hello = await _hello(raw)
                if hello.startswith(HANDSHAKE):  # anything else costs next to nothing
                    await place.turn()
                pipe = TlsPipe(raw, self._papers.context(), None)
                try:
                    await pipe.handshake(hello)
                except OSError as error:
                    reason, ours = log.describe(error), bool(log.blame(error))
                else:
                    chain = certificates_of(pipe.chain)
                    judged = self._judge(chain)
                    reason = judged.why
                    if not reason:
                        place.proved()
                        guest = Guest(pipe, place.at, chain, judged.until, trio.CancelScope())
        finally:
            if guest is None:
                await raw.aclose()
        if guest is None:
            self._note(place, reason, ours=ours)
        return guest

    @contextmanager
    def serving(self, guest: Guest) -> Iterator[None]:
        """While the block runs, the guest is trusted. Else the block is cancelled."""
        self._guests.add(guest)
        self._soonest = min(self._soonest, guest.until)
        try:
            with guest.scope:
                yield
        finally:
            self._guests.discard(guest)

    def look(self) -> None:
        """Judge the guests again whose certificate has ended, and all of them when the files have changed."""
        known, now = self._papers.known(), self._papers.now()
        if known is not self._judged_by:
            again = list(self._guests)
        elif now >= self._soonest:
            again = [guest for guest in self._guests if now >= guest.until]
        else:
            return
        self._judged_by = known
        for guest in again:
            if why := self._judge(guest.chain).why:
                self._let_out(guest, why)
        self._soonest = min((guest.until for guest in self._guests), default=FOREVER)

    def _judge(self, chain: list[Certificate]) -> Judgement:
        try:
            return self._papers.judge(chain)
        except Exception as error:  # noqa: BLE001 - the boundary: what a client sent must not end the process
            _log.error("a client's certificate could not be judged", error=log.describe(error))
            return Judgement("it could not be judged")

    def _let_out(self, guest: Guest, why: str) -> None:
        self._guests.discard(guest)
        self._ended.inc()
        _log.warning("a client is trusted no more: its connection is closed", reason=why, host=guest.address)
        guest.scope.cancel()

    def _note(self, place: Place, reason: str, *, ours: bool) -> None:
        """Count a client that was not let in, and say why."""
        outcome = _OUTCOMES.get(place.why, "refused")
        self._counted[outcome].inc()
        if outcome in {"refused", "late"}:
            self.refused += 1
        now_s = trio.current_time()
        if now_s - self._said_s < SAY_EVERY_S:
            return
        self._said_s = now_s
        reason, trouble = place.why or reason, self._papers.trouble()
        if ours or (trouble and outcome in {"refused", "late"}):
            reason = f"{trouble}; {reason}" if trouble else reason
            _log.error("a client does not take our certificate", reason=reason, count=self.refused)
        else:
            count = self.refused + self.turned_away
            _log.warning("a client was not let in", reason=reason, host=place.at, count=count)


async def _hello(raw: SocketPipe) -> bytes:
    """What a client says first, up to the end of its first record. Until that is here, it costs none of the handshakes
    that may begin, nor any memory for TLS.
    """
    came = await raw.read()
    while came.startswith(HANDSHAKE) and len(came) < HEADER_BYTES + int.from_bytes(came[3:5]):
        more = await raw.read()
        if not more:
            break
        came += more
    return came
