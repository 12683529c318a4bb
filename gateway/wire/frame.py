"""Finds where a message begins and ends in the stream: a length header, then the body (docs/protocol.md section 1).

Settings say whether the header has 2 or 4 bytes, is binary or decimal, and counts itself. This module does not look
into a body. An empty body is a frame, too: `codec` refuses it.
"""

from collections.abc import Callable

from gateway import config
from gateway.errors import HubFault

Frame = tuple[float, bytes]
"""Monotonic seconds at which the first byte of the header came, and the body without its header."""


class FrameError(HubFault):
    """The header cannot be right, so nobody knows where the next message begins: the connection must end."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"frame header at byte {position} of the connection: {message}")
        self.position = position
        """The header's first byte, counted from the start of the connection."""


class Framer:
    """Cuts one connection's bytes into frames. Holds at most one unfinished frame.

    A header that cannot be right sets `error`, for good. The frames before it are never lost: the `feed` that finds the
    error returns them, and every later `feed` raises it. With no frame to return, `feed` raises at once. A caller that
    wants to know without waiting for more bytes looks at `error` after each `feed`.
    """

    def __init__(self, settings: config.Wire) -> None:
        self._width: int = settings.header_bytes
        self._ascii = settings.header_format == "ascii"
        self._counted = settings.header_bytes if settings.header_inclusive else 0
        self._bytes_max = settings.frame_bytes_max
        self._unfinished = bytearray()
        self._missing_from: int = self._width
        self._consumed = 0
        self.error: FrameError | None = None
        """The reason why no more frames can be found."""
        self.partial_since: float | None = None
        """The time when the first byte of the unfinished frame came; None at a frame boundary."""

    @property
    def unfinished(self) -> bytes:
        """The bytes of the incomplete frame, header included."""
        return bytes(self._unfinished)

    def feed(self, chunk: bytes, now_s: float) -> list[Frame]:
        """Take bytes that came at `now_s` and return the frames that they complete. Raises `FrameError` (see above)."""
        if self.error is not None:
            raise self.error
        since = now_s
        data = chunk
        if self._unfinished:
            assert self.partial_since is not None
            since = self.partial_since
            self._unfinished += chunk
            if len(self._unfinished) < self._missing_from:
                # still incomplete: a frame that comes byte by byte costs no more than its bytes
                return []
            data = bytes(self._unfinished)
            self._unfinished.clear()
        frames: list[Frame] = []
        end, width, at = len(data), self._width, 0
        while end - at >= width:
            start = at + width
            length = self._length(data[at:start])
            if length < 0:
                self.error = FrameError(_WHY[length].format(limit=self._bytes_max), self._consumed + at)
                self.partial_since = None
                if not frames:
                    raise self.error
                return frames
            if end - start < length:
                self._missing_from = width + length
                break
            at = start + length
            frames.append((since, data[start:at]))
            since = now_s
        else:
            self._missing_from = width
        self._consumed += at
        if at < end:
            self._unfinished += data[at:]
            self.partial_since = since
        else:
            self.partial_since = None
        return frames

    def _length(self, header: bytes) -> int:
        """Bytes of the body, or a key of `_WHY`."""
        if not self._ascii:
            length = int.from_bytes(header, "big") - self._counted
        elif header.isdigit():  # of bytes, that is true for ASCII digits only
            length = int(header) - self._counted
        else:
            return _NOT_DIGITS
        if length < 0:
            return _LESS_THAN_ITSELF
        return length if length <= self._bytes_max else _OVER_LIMIT


_NOT_DIGITS, _LESS_THAN_ITSELF, _OVER_LIMIT = -101, -102, -103
_WHY = {
    _NOT_DIGITS: "not decimal digits",
    _LESS_THAN_ITSELF: "the length is less than that of the header, which it counts",
    _OVER_LIMIT: "the length is over the limit of {limit} bytes",
}


def framer_of(settings: config.Wire) -> Callable[[bytes], bytes]:
    """Return the function that puts the header before a body. It raises `ValueError` over the limit."""
    width, bytes_max = settings.header_bytes, settings.frame_bytes_max
    counted = width if settings.header_inclusive else 0
    # the width of the header limits the length, too
    bytes_max = min(bytes_max, (10**width if settings.header_format == "ascii" else 256**width) - 1 - counted)

    def binary(body: bytes) -> bytes:
        length = len(body)
        if length > bytes_max:
            raise ValueError(f"a frame of {length} bytes is over the limit of {bytes_max}")
        return (length + counted).to_bytes(width, "big") + body

    def digits(body: bytes) -> bytes:
        length = len(body)
        if length > bytes_max:
            raise ValueError(f"a frame of {length} bytes is over the limit of {bytes_max}")
        return b"%0*d%b" % (width, length + counted, body)

    return digits if settings.header_format == "ascii" else binary


def frame(settings: config.Wire, body: bytes) -> bytes:
    """Put the header before one body. Raises `ValueError` over the limit."""
    return framer_of(settings)(body)
