"""Texts of any length, remembered together and forgotten together. Pure.

A text is written once, behind the one before, on pages of one size: it costs its own length and two bytes, no object.
"""

PAGE_BYTES = 65536
_LENGTH_BYTES = 2


class Pages:
    """Texts by their place."""

    __slots__ = ("_page", "_written")

    def __init__(self) -> None:
        self._written: list[bytes] = []
        """Full pages."""
        self._page = bytearray()
        """The one that is written on."""

    def write(self, text: bytes) -> int:
        """Returns the text's place. Raises `ValueError` when it fits no page."""
        page, length = self._page, len(text)
        if len(page) + _LENGTH_BYTES + length > PAGE_BYTES:
            if _LENGTH_BYTES + length > PAGE_BYTES:
                raise ValueError("a text that is longer than a page")
            self._written.append(bytes(page))  # just as long as it is
            page = self._page = bytearray()
        place = len(self._written) * PAGE_BYTES + len(page)
        page += length.to_bytes(_LENGTH_BYTES)
        page += text
        return place

    def read(self, place: int) -> bytes:
        """The text that was written there."""
        number, at = divmod(place, PAGE_BYTES)
        page = self._written[number] if number < len(self._written) else self._page
        begin = at + _LENGTH_BYTES
        return bytes(page[begin : begin + int.from_bytes(page[at:begin])])

    def shed(self) -> bool:
        """Let one page go, when all may; False: there is none left. All at once would be a pause."""
        if self._written:
            self._written.pop()
            return True
        self._page = bytearray()
        return False
