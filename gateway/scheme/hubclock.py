"""When was news sent? By the hub's clocks: one for each of its sites, in a zone that nobody has told us, and they step.

A stamp orders news (`permits`): the moment of sending, then DE11, then a digest of the message. The moment is DE7
(MMDDhhmmss) in the year that brings it nearest to DE12, or, without one, to the day of its arrival. Within one second
the higher DE11 counts as the later: where DE11 turns over just then, or two hub sites count for themselves, that is a
guess. A moment that lies more than a day ahead of our clock is not believed, and the time of arrival stands for it:
otherwise one wrong clock at the hub would make every later news old. A moment that lies behind is believed: it is what
a repeat looks like.

**A clock that steps back** (the hour of October) says of new news that it is old. A late repeat of old news says the
same; only when it comes tells the two apart. Each message says how far its site's clock is ahead of ours, if it was not
under way for long. So what is known of that (`HubClock`) says when news was sent, by our clock, if it is prompt: as far
ahead as its site's clock was last, within a minute, or an hour less. Prompt news that was sent after what is known,
and calls itself older, gets the next stamp behind it (`behind`): right at once, and no later than what the clock will
soon say itself. It is recorded, and handed on to our other processes, with that stamp.

After a step of another size a process knows nothing of it until a request of the hub (an echo) or newer news has shown
where the clock is: until then later news looks old, for no longer than the step. Nobody but the hub knows better; the
log says by how much, and an operator can lift what stands. News that was lost, and comes again later by an hour to the
minute, is taken for news after a step: the one case where old news undoes newer. And what says the same in the same
second of the hour that comes twice is taken for a repeat: DE11 does not tell, for each site counts for itself.

Pure.
"""

from math import inf

from gateway.wire.usm import MOMENT, NUMBERED, moment_of, moment_s

PROMPT_S = 60
"""News is under way for less, between a hub and a link that stand, and clocks drift by less."""
STEP_S = 3600
"""What the clock of a country steps by."""


class HubClock:
    """How far the hub's clocks are ahead of ours, as they showed it last."""

    def __init__(self, ahead_s: float | None = None) -> None:
        """`ahead_s`: what an earlier process saw."""
        self._ahead_s: dict[str, float] = {}
        """By the hub's site; there are two."""
        self._latest_s = ahead_s

    def shows(self, site: str, shown_s: float, now_s: float) -> None:
        """A message that nobody sends again later: that is what the clock of this site says now."""
        self._ahead_s[site] = self._latest_s = shown_s - now_s

    def sent_s(self, site: str, shown_s: float, now_s: float, *, newer: bool) -> float | None:
        """When prompt news was sent, by our clock; None for news that is not, or of which that is not known. `newer`:
        by its own stamp it is later than what is known.
        """
        ahead_s = self._ahead_s.get(site, self._latest_s)
        late_s = ahead_s - (shown_s - now_s) if ahead_s is not None else inf
        stepped = abs(late_s - STEP_S) <= PROMPT_S
        if newer or stepped or -PROMPT_S <= late_s < 0:
            self.shows(site, shown_s, now_s)
        if stepped:
            return now_s
        return now_s - max(late_s, 0.0) if abs(late_s) <= PROMPT_S else None


def behind(stamp: str, own: str) -> str:
    """The next stamp behind this one, of a message whose own stamp says earlier. Behind the last number of a second
    comes the next second.
    """
    moment, number = stamp[:MOMENT], int(stamp[MOMENT:NUMBERED]) + 1
    if number == 10 ** (NUMBERED - MOMENT):
        moment, number = moment_of((moment_s(stamp) + 1) * 10**9), 0
    return f"{moment}{number:0{NUMBERED - MOMENT}}{own[NUMBERED:]}"


def may_have_stepped(known: str, own: str) -> bool:
    """Whether a step of the clock can be why a message's own stamp is earlier than what is known."""
    return 0 <= moment_s(known) - moment_s(own) <= STEP_S + PROMPT_S
