"""Who may pay what, as the hub enforces it: suspensions, limits and caps, each from the news (9824) that announces it.

What the values of the fields mean is data, the same table as the gateway's (`gateway.wire.meanings`: a specification);
what follows from them is restated here. Everything holds from the moment that the news is sent. Pure.
"""

from collections import Counter

from gateway.wire.meanings import Meanings
from loadtest.traffic import iso

SERVICE_SUSPENDED, SENDER_SUSPENDED, RECEIVER_SUSPENDED = "9943", "9944", "9945"
GROUP_UNAVAILABLE = "9912"
OVER_SITL, OVER_STL, OVER_CAP = "9940", "9941", "9942"
"""The meaning of each code from 9940 to 9942 (limits) and 9943 to 9945 (suspended) is not public. The gateway's is
used."""
EVERYONE = ""
"""The addressee of news that names no institution: all of them."""


class Standing:
    """The state of the scheme."""

    def __init__(self, meanings: Meanings) -> None:
        self._meanings = meanings
        self.quiet = True
        """True while nothing was announced: there is nothing to judge."""
        self.service_suspended = False
        self.suspended: set[str] = set()
        self.groups: dict[str, tuple[str, ...]] = {}
        """The payment priority groups that each institution takes; all for one that is not here."""
        self.sitl: dict[str, int] = {}
        """By institution, pence; likewise:"""
        self.stl: dict[str, int] = {}
        self.caps: dict[str, int] = {}
        """The most by which the sent total may exceed the received total, since the cap was announced."""
        self.reached: set[str] = set()
        """Institutions that have reached their cap, by the news."""
        self._net: Counter[str] = Counter()

    def announce(self, function: str, fields: iso.Fields, addressee: str) -> None:
        """Apply news that goes out. `addressee` is its subject when it names none."""
        about = fields.get(100, EVERYONE)
        own = about or addressee
        table = self._meanings
        self.quiet = False
        if function == "971":
            self.service_suspended = table.service_status.get(fields.get(40, "")) == "suspended"
        elif function == "972":
            _put(self.suspended, own, table.suspension.get(fields.get(67, "")) == "suspended")
            groups = table.priority_groups.get(fields.get(69, ""))
            if groups is not None:
                self.groups[own] = groups
        elif function == "974":
            _put(self.reached, own, table.cap_status.get(fields.get(107, "")) == "reached")
        elif function == "975" and 86 in fields:
            if table.sitl_status.get(fields.get(85, "")) == "lifted":
                self.sitl.pop(about, None)
            else:
                self.sitl[about] = int(fields[86]) * table.limits.unit_pence
        elif function == "976" and 88 in fields:
            self.stl[about] = int(fields[88]) * table.limits.unit_pence
        elif function == "978" and 105 in fields:
            self.caps[own] = int(fields[105]) * table.limits.unit_pence
            self._net[own] = 0

    def refusal(self, sender: str, receiver: str, payment_type: str, pence: int) -> str:  # noqa: PLR0911 - one for each rule
        """The code that refuses a payment; empty: it may pass. `receiver` is empty when there is none."""
        group = self._meanings.group_of(payment_type)
        if self.service_suspended:
            return SERVICE_SUSPENDED
        if sender in self.suspended:
            return SENDER_SUSPENDED
        if receiver in self.suspended:
            return RECEIVER_SUSPENDED
        if group and group not in self.groups.get(receiver, (group,)):
            return GROUP_UNAVAILABLE
        limits = self._meanings.limits
        if payment_type in limits.sitl and pence > self._limit(self.sitl, sender, pence):
            return OVER_SITL
        if payment_type in limits.stl and pence > self._limit(self.stl, sender, pence):
            return OVER_STL
        if sender in self.reached or self._net[sender] + pence > self.caps.get(sender, self._net[sender] + pence):
            return OVER_CAP
        return ""

    @staticmethod
    def _limit(limits: dict[str, int], institution: str, otherwise: int) -> int:
        return limits.get(institution, limits.get(EVERYONE, otherwise))

    def moved(self, sender: str, receiver: str, pence: int) -> None:
        """Count a payment that was carried out."""
        self._net[sender] += pence
        self._net[receiver] -= pence


def _put(into: set[str], institution: str, held: bool) -> None:  # noqa: FBT001 - the one thing that is said of it
    (into.add if held else into.discard)(institution)
