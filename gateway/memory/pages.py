"""Texts of any length, remembered together and forgotten together. Pure.

A text is written once, behind the one before, on pages of one size: it costs its own length and two bytes, no object.
"""

PAGE_BYTES = 256 * 1024
"""A page is allocated whole, and large enough to be a mapping of its own: freeing it gives all of it back."""
_LENGTH_BYTES = 2
TEXT_BYTES_MAX = (1 << 8 * _LENGTH_BYTES) - 1


class Pages:
    """Texts by their place."""

    __slots__ = ("_page", "_used", "_written")

    def __init__(self) -> None:
        self._written: list[bytearray] = []
        """Full pages."""
        self._page = bytearray()
        """The page that is written on; empty: there is none."""
        self._used = 0
        """Bytes written on it."""

    def write(self, text: bytes) -> int:
        """Write a text; returns its place. Raises `ValueError` when it is longer than `TEXT_BYTES_MAX`."""
        length = len(text)
        if length > TEXT_BYTES_MAX:
            raise ValueError("too long a text")
        end = self._used + _LENGTH_BYTES + length
        if end > len(self._page):
            if self._page:
                self._written.append(self._page)
            self._page, self._used = bytearray(PAGE_BYTES), 0
            end = _LENGTH_BYTES + length
        place = len(self._written) * PAGE_BYTES + self._used
        self._page[self._used : end] = length.to_bytes(_LENGTH_BYTES) + text
        self._used = end
        return place

    def read(self, place: int) -> bytes:
        """The text that was written there."""
        number, at = divmod(place, PAGE_BYTES)
        page = self._written[number] if number < len(self._written) else self._page
        begin = at + _LENGTH_BYTES
        return bytes(page[begin : begin + int.from_bytes(page[at:begin])])

    def shed(self) -> bool:
        """Free one page, once all may go; False when none is left. To free all at once would be a pause."""
        if self._written:
            self._written.pop()
            return True
        self._page, self._used = bytearray(), 0
        return False
