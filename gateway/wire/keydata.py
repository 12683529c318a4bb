"""Splits and joins DE125 of key management (docs/protocol.md section 7). Its layout is not public, so it is a setting
(`pair.keys.layout`). This module knows widths and hex digits; `keyring` knows what a part means.
"""

from typing import NamedTuple

OPEN = 0
"""The width of the one part that takes the rest."""


class KeyData(NamedTuple):
    """The parts. Never shown as a whole: the wrapped key is in it."""

    use: str = ""
    wrapped: bytes = b""
    check: str = ""
    """Upper-case hex digits."""

    def __repr__(self) -> str:
        return "<KeyData>"


class KeyLayout:
    """The parts of DE125 in their order; each message carries some of them."""

    def __init__(self, parts: tuple[str, ...]) -> None:
        """Of `name:width`, as the configuration checks them."""
        split = [part.split(":") for part in parts]
        self._parts = [(name, OPEN if width == "*" else int(width)) for name, width in split]
        self.check_digits = dict(self._parts).get("check", OPEN)

    def take_apart(self, text: str, carried: tuple[str, ...]) -> KeyData | None:
        """Split the text of a message that carries these parts; None when it does not fit. Hex in either case."""
        parts = [(name, width) for name, width in self._parts if name in carried]
        rest = len(text) - sum(width for _, width in parts)
        is_open = any(width == OPEN for _, width in parts)
        if rest < is_open or (rest and not is_open):
            return None
        found, at = {"use": "", "wrapped": "", "check": ""}, 0
        for name, width in parts:
            end = at + (width or rest)
            found[name], at = text[at:end], end
        wrapped, check = _unhex(found["wrapped"]), _unhex(found["check"])
        if wrapped is None or check is None:
            return None
        return KeyData(found["use"], wrapped, check.hex().upper())

    def put_together(self, data: KeyData, carried: tuple[str, ...]) -> str:
        """Join the text of a message that carries these parts."""
        values = {"use": data.use, "wrapped": data.wrapped.hex().upper(), "check": data.check}
        return "".join(values[name] for name, _ in self._parts if name in carried)


def _unhex(digits: str) -> bytes | None:
    """Decode hex digits. Unlike `bytes.fromhex`, accept no spaces."""
    if not digits.isalnum():
        return None if digits else b""
    try:
        return bytes.fromhex(digits)
    except ValueError:
        return None
