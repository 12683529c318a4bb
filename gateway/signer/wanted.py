"""The keys that every token must have, and the tokens' verdicts on a new one. Pure.

A key that comes in band is on trial until every token that served when it came has answered for it, or was lost. The
tokens are asked one after the other, and about one key at a time: whatever the key does to the token that tries it, the
others make MACs meanwhile. It is taken when more tokens proved it than failed: then it is needed, and a token that
cannot have it does not serve. Otherwise nothing changes: the tokens that failed may be right.

A key that is needed may be on trial at the same time with another value, wrapped under another transport key.
"""

from collections import deque
from collections.abc import Iterable

from gateway import config
from gateway.payments.work import Install
from gateway.signer.apart import Apart
from gateway.signer.messages import KEYS_MAX, Held, Shown

Verdict = tuple[Install, bool, str]
"""A key, whether the tokens have it, and, if not, why in words."""


class Trial:
    """A key that the tokens are trying."""

    def __init__(self, key: Install, asked: Iterable[str]) -> None:
        self.key = key
        self.waiting = deque(asked)
        """Names of the tokens that have not answered yet; the first one is asked."""
        self.asked: set[str] = set()
        """Names of the tokens that were asked, and have not been lost since."""
        self.proved: set[str] = set()
        self.failed: dict[str, str] = {}

    def verdict(self) -> Verdict | None:
        """None while a token has still to answer."""
        if self.waiting:
            return None
        if len(self.proved) > len(self.failed):
            return self.key, True, ""
        if not self.failed:
            return self.key, False, "no token lived to say whether it has the key"
        name, why = min(self.failed.items())
        return self.key, False, f"{len(self.failed)} of {len(self.failed) + len(self.proved)} tokens: {name}: {why}"


class Wanted:
    """The list of keys. Every token is told `order`, and a batch names a key by its place there (`index`). Behind it
    come the keys on trial that the token is asked about (`to_have`).
    """

    def __init__(self, always: Iterable[str], keys: Iterable[Install], apart: Apart | None = None) -> None:
        """`apart`: which of them must differ; None: those of the default labels."""
        self.apart = apart or Apart(config.Mac())
        self._always = tuple(Install(label) for label in always)
        self.needed: dict[str, Install] = {}
        """By label: the keys that a token must have to serve."""
        self.trials: dict[str, Trial] = {}
        """By label. The first one is under way, the others wait."""
        self.learner = ""
        """The name of the token that has to try a key now."""
        self.order: tuple[Install, ...] = ()
        """Another object whenever it has changed."""
        self.index: dict[str, int] = {}
        self._needed: tuple[Held, ...] = ()
        """`order` for a token."""
        self.hold(keys)

    def hold(self, keys: Iterable[Install]) -> None:
        """From now on these keys are needed, and the `always` ones."""
        self.needed = {key.label: key for key in (*keys, *self._always)}
        self._list()

    def refusal(self, key: Install) -> str:
        """Why a new key cannot be tried, in words, or nothing."""
        if key.label in self.trials:
            return "" if self.trials[key.label].key == key else "another key on trial has its label"
        if key.label in self.needed:
            same = self.needed[key.label].check == key.check
            return "" if same else "another key has its label"
        return "too many keys" if len(self.order) + len(self.trials) >= KEYS_MAX else ""

    def attempt(self, key: Install, asked: Iterable[str]) -> None:
        """Put a key on trial in the tokens of these names, in this order."""
        self.trials[key.label] = Trial(key, asked)
        self._next()

    def heard(self, name: str, told: tuple[Held, ...], shown: Shown) -> None:
        """The token of this name showed which of its keys it has."""
        for label, trial in self.trials.items():
            if name not in trial.waiting or all(each.key != trial.key for each in told):
                continue
            trial.waiting.remove(name)
            if why := shown.failures.get(label) or self.apart.clash(shown.values, label):
                trial.failed[name] = why
            else:
                trial.proved.add(name)
        self._next()

    def lost(self, name: str) -> None:
        """The token of this name serves no longer: its next worker gets every needed key at its start."""
        for trial in self.trials.values():
            trial.asked.discard(name)
            if name in trial.waiting:
                trial.waiting.remove(name)
        self._next()

    def verdicts(self) -> list[Verdict]:
        """The verdicts that are due, each once. A key that is taken is needed from now on; any other is forgotten."""
        due = [verdict for trial in self.trials.values() if (verdict := trial.verdict()) is not None]
        for key, taken, _ in due:
            del self.trials[key.label]
            if taken:
                self.needed[key.label] = key
        if due:
            self._list()
            self._next()
        return due

    def to_have(self, name: str) -> tuple[Held, ...]:
        """The list for the token of this name: the same object while nothing is on trial."""
        trials = {label: trial.key for label, trial in self.trials.items() if name in trial.asked}
        if not trials:
            return self._needed
        # another value of a key that is needed stands in that key's place
        needed = [Held(trials.pop(each.key.label), needed=False) if each.key.label in trials else each
                  for each in self._needed]  # fmt: skip
        return (*needed, *[Held(key, needed=False) for key in trials.values()])

    def values_of(self, shown: Shown) -> tuple[str, ...] | None:
        """The values of all needed keys, the same in tokens with the same keys; None for a token that lacks one."""
        values = [shown.values.get(label, "") for label in self.needed]
        return tuple(values) if all(values) else None

    def groups(self, shown: Iterable[tuple[str, Shown]]) -> list[list[str]]:
        """Names of the tokens with the same keys, by the values that each showed; the first group is right.

        It is the largest group; in a tie, the one with the token that comes first. A token that lacks a key is in none.
        """
        found: dict[tuple[str, ...], list[str]] = {}
        for name, each in shown:
            if (values := self.values_of(each)) is not None:
                found.setdefault(values, []).append(name)
        return sorted(found.values(), key=len, reverse=True)

    def difference(self, ours: Shown, theirs: Shown, names: Iterable[str]) -> str:
        """In words: which keys differ from those of the tokens of these names."""
        labels = [f'"{label}"' for label in sorted(self.needed) if theirs.values[label] != ours.values[label]]
        return f"keys differ: {' and '.join(labels)} is not the same as in {', '.join(names)}"

    def failure_of(self, shown: Shown) -> str:
        """Why a token lacks a needed key, or nothing."""
        failures = {label: why for label, why in shown.failures.items() if label not in shown.values}
        return next((failures[label] for label in self.needed if label in failures), "")

    def clash_of(self, shown: Shown) -> str:
        """Needed keys of a token that must differ and do not, in words; empty when there are none."""
        return self.apart.clash({label: value for label, value in shown.values.items() if label in self.needed})

    def _list(self) -> None:
        known = [key.label for key in self.order if key.label in self.needed]
        labels = dict.fromkeys((*known, *self.needed))
        order = tuple(self.needed[label] for label in labels)
        if order != self.order:
            self.order = order
            self.index = {key.label: at for at, key in enumerate(order)}
            self._needed = tuple(Held(key) for key in order)

    def _next(self) -> None:
        """Find the token that has the turn."""
        trial = next(iter(self.trials.values()), None)
        self.learner = trial.waiting[0] if trial is not None and trial.waiting else ""
        if trial is not None and self.learner:
            trial.asked.add(self.learner)
