"""Which keys the tokens shall have, and what they say of a new one. Pure.

A key that comes in band is on trial until every token that served when it came has said what it makes of it, or was
lost. It is taken when more of them proved it than failed: then it is needed, and a token that cannot have it does not
serve. Otherwise nothing changes: the tokens that failed may be the ones that are right.
"""

from collections.abc import Iterable

from gateway.signer.messages import KEYS_MAX, Held, Shown
from gateway.work import Install

Verdict = tuple[Install, bool, str]
"""A key, whether the tokens have it, and, if not, why in words."""


class Trial:
    """A key that the tokens are trying."""

    def __init__(self, key: Install, asked: Iterable[str]) -> None:
        self.key = key
        self.waiting = set(asked)
        """Names of the tokens that have not said anything yet."""
        self.proved: set[str] = set()
        self.failed: dict[str, str] = {}

    def verdict(self) -> Verdict | None:
        """None while a token may still say something."""
        if self.waiting:
            return None
        if len(self.proved) > len(self.failed):
            return self.key, True, ""
        if not self.failed:
            return self.key, False, "no token lived to say whether it has the key"
        name, why = min(self.failed.items())
        return self.key, False, f"{len(self.failed)} of {len(self.failed) + len(self.proved)} tokens: {name}: {why}"


class Wanted:
    """The list of keys. `order` is what tokens are told, and a batch names a key by its place there (`index`)."""

    def __init__(self, always: Iterable[str], keys: Iterable[Install]) -> None:
        self._always = tuple(Install(label) for label in always)
        self.needed: dict[str, Install] = {}
        """By label: what a token must have to serve."""
        self.trials: dict[str, Trial] = {}
        self.order: tuple[Install, ...] = ()
        """Another object whenever it has changed."""
        self.index: dict[str, int] = {}
        self.hold(keys)

    def hold(self, keys: Iterable[Install]) -> None:
        """From now on these are needed, and those that are always."""
        self.needed = {key.label: key for key in (*keys, *self._always)}
        self._list()

    def refusal(self, key: Install) -> str:
        """Why a new key cannot be tried, in words, or nothing."""
        if key.label in self.needed:
            return "" if self.needed[key.label] == key else "another key has its label"
        if key.label in self.trials:
            return "" if self.trials[key.label].key == key else "another key on trial has its label"
        return "too many keys" if len(self.order) >= KEYS_MAX else ""

    def attempt(self, key: Install, asked: Iterable[str]) -> None:
        """Put a key on trial in the tokens of these names."""
        self.trials[key.label] = Trial(key, asked)
        self._list()

    def heard(self, name: str, told: tuple[Install, ...], shown: Shown) -> None:
        """A token of this name showed what it has of the keys that it was told."""
        for label, trial in self.trials.items():
            if name not in trial.waiting or trial.key not in told:
                continue
            trial.waiting.discard(name)
            if label in shown.values:
                trial.proved.add(name)
            else:
                trial.failed[name] = shown.failures[label]

    def lost(self, name: str) -> None:
        """A token of this name serves no longer: its next worker gets every key at its start."""
        for trial in self.trials.values():
            trial.waiting.discard(name)

    def verdicts(self) -> list[Verdict]:
        """Those that are due, each once. A key that is taken is needed from now on, one that is not is forgotten."""
        due = [verdict for trial in self.trials.values() if (verdict := trial.verdict()) is not None]
        for key, taken, _ in due:
            del self.trials[key.label]
            if taken:
                self.needed[key.label] = key
        if due:
            self._list()
        return due

    def to_have(self) -> tuple[Held, ...]:
        """The list for a token."""
        return tuple(Held(key, needed=key.label in self.needed) for key in self.order)

    def values_of(self, shown: Shown) -> tuple[str, ...] | None:
        """What tokens with the same keys have in common; None for one that does not have them all."""
        values = [shown.values.get(label, "") for label in self.needed]
        return tuple(values) if all(values) else None

    def failure_of(self, shown: Shown) -> str:
        """Why a token does not have a key that is needed, or nothing."""
        return next((shown.failures[label] for label in self.needed if label in shown.failures), "")

    def _list(self) -> None:
        kept = {**self.needed, **{label: trial.key for label, trial in self.trials.items() if label not in self.needed}}
        known = [key for key in self.order if kept.get(key.label) == key]
        order = (*known, *[key for key in kept.values() if key not in known])
        if order != self.order:
            self.order = order
            self.index = {key.label: at for at, key in enumerate(order)}
