"""Which address has its turn, and when a name is looked up: pure, `now` is an argument."""

from collections.abc import Iterable
from enum import Enum
from math import inf
from typing import Final

OLD_S = 10.0
"""A dial that finds an older answer looks the name up again."""
AGAIN_S = 0.25
"""After a failure a name is looked up again, but not sooner than this after the last answer."""
PATIENCE_S = 0.5
"""How long a dial that knows an address waits for a lookup. A resolver answers in milliseconds, or hangs."""
ADDRESSES_MAX = 32
"""Addresses of a name that are used, the first ones; as many earlier ones are remembered."""


class Standing(Enum):
    """The standing of an address."""

    NEW = "new"
    GOOD = "good"
    DOUBTED = "doubted"
    """It was good, and then missed once, which may happen to any."""
    BAD = "bad"


class Proof(Enum):
    """The proof that a connection to an address gave."""

    PROVED = "proved"
    """It is the right party, and works."""
    MISSED = "missed"
    """One exchange got no answer that counts; the connection may have had others."""
    NOTHING = "nothing"
    """There was no connection, or none that proved anything from its beginning to its end."""


LAW: Final[dict[tuple[Standing, Proof], Standing]] = {
    (Standing.NEW, Proof.PROVED): Standing.GOOD,
    (Standing.NEW, Proof.MISSED): Standing.BAD,
    (Standing.NEW, Proof.NOTHING): Standing.BAD,
    (Standing.GOOD, Proof.PROVED): Standing.GOOD,
    (Standing.GOOD, Proof.MISSED): Standing.DOUBTED,
    (Standing.GOOD, Proof.NOTHING): Standing.BAD,
    (Standing.DOUBTED, Proof.PROVED): Standing.GOOD,
    (Standing.DOUBTED, Proof.MISSED): Standing.BAD,
    (Standing.DOUBTED, Proof.NOTHING): Standing.BAD,
    (Standing.BAD, Proof.PROVED): Standing.GOOD,
    (Standing.BAD, Proof.MISSED): Standing.BAD,
    (Standing.BAD, Proof.NOTHING): Standing.BAD,
}
"""The next standing of an address."""

_RANK: Final = {Standing.GOOD: 0, Standing.DOUBTED: 1, Standing.NEW: 2, Standing.BAD: 3}


class Turns:
    """The addresses of one name, and their standings."""

    def __init__(self, addresses: Iterable[str] = ()) -> None:
        self._listed = list(addresses)
        self._standing = dict.fromkeys(self._listed, Standing.NEW)
        """Also of earlier addresses of the name: connections to them may stand."""
        self._failed: dict[str, int] = {}
        """When each bad address failed last, counted in failures."""
        self._failures = 0

    def __bool__(self) -> bool:
        return bool(self._listed)

    def renew(self, addresses: Iterable[str]) -> None:
        """These are the name's addresses now, in order of preference. Each keeps its standing."""
        self._listed = list(dict.fromkeys(addresses))[:ADDRESSES_MAX]
        before = [address for address in self._standing if address not in self._listed][-ADDRESSES_MAX:]
        kept = [*before, *self._listed]
        self._standing = {address: self._standing.get(address, Standing.NEW) for address in kept}
        self._failed = {address: count for address, count in self._failed.items() if address in self._standing}

    def heard(self, address: str, proof: Proof) -> None:
        """A connection to this address gave a proof, or none."""
        before = self._standing.get(address)
        if before is None or (before is Standing.GOOD and proof is Proof.PROVED):
            return
        self._standing[address] = LAW[before, proof]
        if self._standing[address] is Standing.BAD:
            self._failures += 1
            self._failed[address] = self._failures

    def order(self) -> list[str]:
        """The addresses to dial, the best first; among bad ones, the one that failed longest ago."""
        return sorted(self._listed, key=lambda address: (_RANK[self._standing[address]], self._failed_of(address)))

    def keeps(self, address: str) -> bool:
        """Whether a connection to it may be used again. Not when the next address has its turn; nor when it missed and
        the name no longer leads there.
        """
        standing = self._standing.get(address)
        if standing is Standing.GOOD:
            return True
        if standing is None or address not in self._listed:
            return False
        return standing is not Standing.BAD or all(self._standing[one] is Standing.BAD for one in self._listed)

    def standing(self, address: str) -> Standing | None:
        """The standing of an address; None when the name never had it."""
        return self._standing.get(address)

    def _failed_of(self, address: str) -> int:
        return self._failed.get(address, 0) if self._standing[address] is Standing.BAD else 0


class Lookups:
    """The lookups of one name."""

    def __init__(self) -> None:
        self.under_way = False
        self.trouble = False
        """The last one failed, or the one under way is overdue."""
        self._began_s = -inf
        self._answered_s = -inf
        self._doubted = True

    def doubt(self) -> None:
        """A dial or a connection failed: the name may lead elsewhere by now."""
        self._doubted = True

    def due(self, now_s: float) -> bool:
        """Whether to look the name up now."""
        if self.under_way:
            return False
        return now_s - self._answered_s >= (AGAIN_S if self._doubted else OLD_S)

    def began(self, now_s: float) -> None:
        """The lookup has begun."""
        self.under_way, self._doubted, self._began_s = True, False, now_s

    def wait_s(self, now_s: float) -> float:
        """How long a dial that knows an address waits for the lookup under way; 0 for one in trouble."""
        if not self.under_way or self.trouble:
            return 0.0
        return max(0.0, self._began_s + PATIENCE_S - now_s)

    def overdue(self, now_s: float) -> bool:
        """A dial has waited. True: the lookup is overdue, and that is news."""
        if not self.under_way or now_s < self._began_s + PATIENCE_S or self.trouble:
            return False
        self.trouble = True
        return True

    def answered(self, now_s: float, *, found: bool) -> bool:
        """The lookup is over. True: its result is news."""
        self.under_way, self._answered_s = False, now_s
        self._doubted = self._doubted or not found
        was, self.trouble = self.trouble, not found
        return was is found
