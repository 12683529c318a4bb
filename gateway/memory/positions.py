"""A set of journal positions that costs about a byte for each when they lie close, however many they are. Pure."""

_SPAN_BITS = 10


class Positions:
    """Whole numbers from 0. For millions of untold notices, where a set of Python's would take 60 bytes for each."""

    def __init__(self) -> None:
        self._spans: dict[int, int] = {}
        """For each run of 1024 positions that has one: which, as bits."""
        self._count = 0

    def add(self, position: int) -> None:
        """Put it in; it may be in already."""
        span, bit = position >> _SPAN_BITS, 1 << (position & ((1 << _SPAN_BITS) - 1))
        bits = self._spans.get(span, 0)
        if not bits & bit:
            self._spans[span] = bits | bit
            self._count += 1

    def discard(self, position: int) -> None:
        """Take it out, if it is in."""
        span, bit = position >> _SPAN_BITS, 1 << (position & ((1 << _SPAN_BITS) - 1))
        bits = self._spans.get(span, 0)
        if bits & bit:
            self._count -= 1
            if bits == bit:
                del self._spans[span]
            else:
                self._spans[span] = bits ^ bit

    def __contains__(self, position: int) -> bool:
        return bool(self._spans.get(position >> _SPAN_BITS, 0) >> (position & ((1 << _SPAN_BITS) - 1)) & 1)

    def __len__(self) -> int:
        return self._count
