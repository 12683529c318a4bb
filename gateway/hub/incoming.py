"""The bytes that a link reads, cut into frames. Times the unfinished frame, and leaves out frames without a body."""

from math import inf

from gateway import config, log, metrics
from gateway.wire.frame import Frame, FrameError, Framer

EMPTY_MAX, EMPTY_WITHIN_S = 100, 10.0
"""Frames without a body that may come within this time: ten a second keep any connection alive."""

_log = log.get("hub")


class Incoming:
    """The frames and bytes that one link has read."""

    def __init__(self, wire: config.Wire, site: str, half_frame_s: float, connection: int) -> None:
        self.frames = self.bytes = 0
        """Read so far."""
        self.flooded = False
        """Too many frames without a body came."""
        self._log = _log.bind(link=site, connection=connection)
        self._framer = Framer(wire)
        self._half_frame_s = half_frame_s
        self._half_frame: float | None = None
        """The unfinished frame: the framer's `partial_since`."""
        self._half_frame_read_s = 0.0
        """When its first byte was read. It may have come much earlier, with all that lies behind it."""
        self._empty, self._empty_since_s = 0, -inf
        self._empty_counter = metrics.LINK_EMPTY_FRAMES.labels(site)
        self._frame_counter = metrics.LINK_FRAMES_IN.labels(site)
        self._byte_counter = metrics.LINK_IN_BYTES.labels(site)

    @property
    def error(self) -> FrameError | None:
        """Why no more frames can be found."""
        return self._framer.error

    @property
    def is_cut(self) -> bool:
        """Whether a frame is unfinished."""
        return self._framer.partial_since is not None

    def half_frame_due_s(self) -> float:
        """When the unfinished frame has taken too long."""
        return self._half_frame_read_s + self._half_frame_s if self.is_cut else inf

    def go_on(self, now_s: float) -> None:
        """Nothing was read for a while: the unfinished frame has its time anew."""
        self._half_frame_read_s = now_s

    def feed(self, chunk: bytes, came_s: float, read_s: float) -> list[Frame]:
        """Take a chunk that came at `came_s`, at the earliest. Returns the frames that it completes, if they have a
        body. Look at `error` and `flooded` afterwards.
        """
        self.bytes += len(chunk)
        self._byte_counter.inc(len(chunk))
        try:
            frames = self._framer.feed(chunk, came_s)
        except FrameError:
            # the framer keeps it; had frames come before it, they would have been returned instead
            frames = []
        if frames and not all(body for _, body in frames):
            frames = self._without_empty(frames, read_s)
        if frames:
            self.frames += len(frames)
            self._frame_counter.inc(len(frames))
        since = self._framer.partial_since
        if self.error is None and since != self._half_frame:
            self._half_frame, self._half_frame_read_s = since, read_s
        return frames

    def _without_empty(self, frames: list[Frame], now_s: float) -> list[Frame]:
        """Leave out frames without a body. They are no messages: some systems send them so that a connection is not
        idle. A flood of them serves no such purpose.
        """
        kept = [frame for frame in frames if frame[1]]
        empty = len(frames) - len(kept)
        self._empty_counter.inc(empty)
        if now_s - self._empty_since_s >= EMPTY_WITHIN_S:
            self._empty, self._empty_since_s = 0, now_s
        self._empty += empty
        if self._empty == empty:
            self._log.info("frames without a body: ignored", count=empty)
        self.flooded = self._empty > EMPTY_MAX
        return kept
