"""Lets clients in over TLS: whoever shows a certificate of our authorities, and nobody else.

A server makes one for each of its ports, and asks it about every connection that it accepts. Until the handshake is
over, a client is a stranger, and has what `network.strangers` allows strangers. What a client may do then is the
server's to decide, by the names in the certificate (`TlsPipe.names`).
"""

from math import inf

import trio

from gateway import log, metrics
from gateway.http.pipe import SocketPipe, TlsPipe, socket_pipe
from gateway.network.papers import Papers
from gateway.network.strangers import CROWDED, LATE, WITHIN_S, Place, Strangers, address_of

SAY_EVERY_S = 1.0
"""The least time between log lines about clients that were not let in; all are counted."""

HANDSHAKE, HEADER_BYTES = b"\x16", 5
"""TLS's type of the record that a client begins with, and the length of a record's header (RFC 8446, section 5.1)."""

_log = log.get("entrance")
_OUTCOMES = {LATE: "late", CROWDED: "crowded"}


class Entrance:
    """The way in to one port."""

    def __init__(self, papers: Papers, port: str, within_s: float = WITHIN_S) -> None:
        """`port`: one of `metrics.STRANGERS_AT`. `within_s`: how long a client may take to show its certificate."""
        self._papers = papers
        self._strangers = Strangers(within_s)
        self._counted = metrics.STRANGERS[port]
        self._said_s = -inf
        self.refused = 0
        """Clients that were not let in because of what they showed, or did not show in time."""

    @property
    def turned_away(self) -> int:
        """Clients that had to go before they could show anything, for the sake of others."""
        return self._strangers.turned_away

    @property
    def strangers(self) -> int:
        """Clients in the entrance now."""
        return self._strangers.here

    async def let_in(self, stream: trio.SocketStream) -> TlsPipe | None:
        """Shake hands. None: it is not let in; its connection is closed, and that is counted and said.

        Takes the stream over in any case. Cancelled, it leaves nothing open.
        """
        address = address_of(stream)
        try:
            raw = socket_pipe(stream)
        except OSError:
            stream.socket.close()
            return None
        reason, ours, pipe = "", False, None
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
                    place.proved()
        finally:
            if not place.is_proved:
                await raw.aclose()
        if place.is_proved:
            return pipe
        self._note(place, reason, ours=ours)
        return None

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
