"""News of the scheme (9824), sent on demand; each must be acknowledged (9834) within a time
(docs/protocol.md section 6).

It goes over the group `usm` where the participant has connections of it, else over any. News whose connection is lost
before it was acknowledged is sent again on another. Pure.
"""

import hashlib
from collections import deque

from loadtest.hub.parties import Link, Party
from loadtest.hub.standing import Standing
from loadtest.hub.switch import Switch
from loadtest.traffic import iso

FUNCTIONS = tuple(str(code) for code in range(971, 982))
WAITING_MAX = 1000
"""News that waits for a connection."""


class _Bulletin:
    """A piece of news for one participant."""

    __slots__ = ("content", "fields", "function", "party", "until_s")

    def __init__(self, party: Party, function: str, fields: iso.Fields) -> None:
        self.party = party
        self.function = function
        self.fields = fields
        said = repr((party.name, function, sorted(fields.items())))
        self.content = hashlib.blake2b(said.encode(), digest_size=8).hexdigest()
        """Identifies the news and its addressee, whatever the message."""
        self.until_s = 0.0


class Bulletins:
    """The news that was announced, and the acknowledgements still to come."""

    def __init__(self, switch: Switch, standing: Standing) -> None:
        self._switch = switch
        self._standing = standing
        self._open: dict[tuple[int, str], _Bulletin] = {}
        """By link number and DE11."""
        self._given_up = set[tuple[int, str]]()
        """As `_open`, for news not acknowledged in time. That was a fault; the late acknowledgement is not another."""
        self._waiting: deque[_Bulletin] = deque()

    @property
    def outstanding(self) -> int:
        """Number of news not acknowledged."""
        return len(self._open) + len(self._waiting)

    def announce(
        self, parties: list[Party], function: str, fields: iso.Fields, now_s: float, *, everywhere: bool = False
    ) -> int:
        """Send news to participants, on one link or on each, and apply it. Return how often. Raises ValueError."""
        if function not in FUNCTIONS:
            raise ValueError(f"function: {FUNCTIONS[0]} to {FUNCTIONS[-1]}")
        table = self._switch.table
        for number, value in fields.items():
            field = table.fields.get(number)
            if field is None or number in {7, 11, 24, 128}:
                raise ValueError(f"fields: DE{number} is not one to give")
            if len(value) > field.width or (field.charset == "digits" and not value.isdigit()):
                raise ValueError(f"fields: DE{number} does not take this value")
        if len(self._waiting) >= WAITING_MAX:
            raise ValueError("too much news waits for a connection")
        left = 0
        for party in parties:
            self._standing.announce(function, fields, party.institution)
            links = self._switch.links_of(party, "usm")
            for link in links if everywhere else links[:1]:
                self._write(_Bulletin(party, function, fields), link, now_s)
                left += 1
            if not links:
                self._waiting.append(_Bulletin(party, function, fields))
        return left

    def _send_again(self, bulletin: _Bulletin, now_s: float) -> None:
        links = self._switch.links_of(bulletin.party, "usm")
        if links:
            self._write(bulletin, links[0], now_s)
        else:
            self._waiting.append(bulletin)

    def _write(self, bulletin: _Bulletin, link: Link, now_s: float) -> None:
        number = self._switch.manage(link, "9824", bulletin.function, bulletin.fields)
        bulletin.until_s = now_s + self._switch.settings.acknowledge_within_s
        self._open[link.number, number] = bulletin
        self._switch.counts["news sent"] += 1
        self._switch.event("usm", "", now_s, link, mti="9824", code=bulletin.function, why=bulletin.content)

    def acknowledged(self, link: Link, fields: iso.Fields, now_s: float) -> None:
        """Take a 9834."""
        place = link.number, fields[11]
        bulletin = self._open.pop(place, None)
        if place in self._given_up:
            self._given_up.discard(place)
            self._switch.counts["news acknowledged late"] += 1
        elif bulletin is None:
            self._switch.fault(link, "9834 that acknowledges nothing", now_s)
        elif fields[24] != bulletin.function or fields.get(26) != "0000":
            self._switch.fault(link, f"9834/{fields[24]} says {fields.get(26, 'no code')}", now_s)
        else:
            self._switch.counts["news acknowledged"] += 1
            function, content = bulletin.function, bulletin.content
            self._switch.event("usm-acknowledged", "", now_s, link, mti="9834", code=function, why=content)

    def tick(self, now_s: float) -> None:
        """Note a fault for news not acknowledged in time; it is not sent again."""
        for (number, message), bulletin in list(self._open.items()):
            if bulletin.until_s <= now_s:
                del self._open[number, message]
                self._given_up.add((number, message))
                self._switch.fault(self._switch.links[number], f"9824/{bulletin.function} without a 9834", now_s)

    def signed_on(self, party: Party, now_s: float) -> None:
        """Send the news that had no link, now that there is one."""
        waiting, self._waiting = self._waiting, deque()
        for bulletin in waiting:
            if bulletin.party is party:
                self._send_again(bulletin, now_s)
            else:
                self._waiting.append(bulletin)

    def link_down(self, link: Link, now_s: float) -> None:
        """Send the news not acknowledged on a lost connection over another."""
        for number, message in [place for place in self._open if place[0] == link.number]:
            self._send_again(self._open.pop((number, message)), now_s)
        self._given_up = {place for place in self._given_up if place[0] != link.number}
