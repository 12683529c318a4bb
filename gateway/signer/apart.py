"""Keys of a token that must differ: the hub's, ours, the one for seals. Pure.

Were the hub's key ours as well, whatever we send would be authentic when it comes back to us: a payment that we
submitted, our own sign-on as its response. Were the key for seals one of them, the hub could seal journals. (The
transport key may make no MAC. The token compares it: `unwrapping`.)

Keys are compared by what the pool compares tokens by, the whole MAC of `messages.CHECK_TEXT`: a check value is shorter,
and keys that differ may share it. Two keys of one use may be the same: the ceremony's, and the same one in band.
"""

from collections.abc import Mapping

from gateway import config

USES = {"hub_key": "what the hub signs with", "own_key": "what we sign with", "seal_key": "what seals the journal"}
"""By the name of the setting in `config.Mac`."""


class Apart:
    """Knows the use of each key by its label. A key that came in band is labelled after the ceremony's key."""

    def __init__(self, mac: config.Mac) -> None:
        labels = {getattr(mac, setting): use for setting, use in USES.items()}
        self._uses = dict(sorted(labels.items(), key=lambda each: len(each[0]), reverse=True))

    def clash(self, values: Mapping[str, str], label: str = "") -> str:
        """Two keys of different uses that are one, in words; empty when none are. With a label: one is this key."""
        seen: dict[str, tuple[str, str]] = {}
        for each in sorted(values, key=lambda name: name != label):
            if not (use := self._use_of(each)):
                continue
            other, of = seen.setdefault(values[each], (each, use))
            if of != use and label in {"", other, each}:
                return f'"{other}" ({of}) and "{each}" ({use}) are the same key'
        return ""

    def _use_of(self, label: str) -> str:
        found = (use for base, use in self._uses.items() if label == base or label.startswith(f"{base}."))
        return next(found, "")
