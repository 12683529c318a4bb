"""What the hub does wrong on demand with the answers to submissions (`inject` on the control socket). Pure."""

from typing import Literal, get_args

from loadtest.hub.parties import Party

Wrong = Literal["swallow", "late", "twice", "drop", "lose", "9909", "9909-after", "650", "690"]
"""The payment is carried out, and `swallow`: its answer never leaves; `late`: the answer leaves later; `twice`: it
leaves twice; `drop`: the link goes right after the request; `9909-after`: 9909 stands for the answer. Or it is not
carried out, and `lose`: the link goes with the request; `9909`: it is answered so; `650`, `690`: a 9624 says so."""
NOT_CARRIED_OUT = frozenset({"lose", "9909", "650", "690"})


class Injection:
    """An order to spoil the answers to some requests."""

    def __init__(
        self, what: Wrong, count: int = 1, *, every: int = 1, after_s: float = 1.0, party: Party | None = None
    ) -> None:
        """Spoil `count` requests of this participant, or of anyone: the last of each `every`. Raises ValueError."""
        if what not in get_args(Wrong):
            raise ValueError(f"what: one of {', '.join(get_args(Wrong))}")
        if count < 1 or every < 1 or not after_s >= 0:
            raise ValueError("count and every are at least 1, after_s is not negative")
        self.what = what
        self.left = count
        self.every = every
        self.after_s = after_s
        self.party = party
        self._seen = 0

    def takes(self, party: Party) -> bool:
        """Whether this request must be spoilt."""
        if self.party is not None and self.party is not party:
            return False
        self._seen += 1
        if self._seen % self.every:
            return False
        self.left -= 1
        return True


class Injections:
    """The orders that are still in force."""

    def __init__(self) -> None:
        self._orders: list[Injection] = []

    def __len__(self) -> int:
        return len(self._orders)

    def add(self, injection: Injection) -> None:
        """Add an order behind the others."""
        self._orders.append(injection)

    def clear(self) -> None:
        """Drop all orders."""
        self._orders.clear()

    def take(self, party: Party) -> Injection | None:
        """The order that spoils this request of a participant, or None."""
        for injection in self._orders:
            if injection.takes(party):
                if not injection.left:
                    self._orders.remove(injection)
                return injection
        return None
