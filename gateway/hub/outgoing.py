"""The bodies that a link has taken to send: queued, being written, or taken by the stream.

Each body has a context, which its sender recognises; None stands for a body whose fate interests no sender.
"""

from collections.abc import Callable
from itertools import compress
from math import inf
from typing import Any, TypeVar

from gateway import config, metrics
from gateway.clock import Clock
from gateway.wire.frame import framer_of

ContextT = TypeVar("ContextT")


class Outgoing:
    """The bodies that one link has still to send."""

    def __init__(self, wire: config.Wire, site: config.HubSite, clock: Clock) -> None:
        self.frames = self.bytes = 0
        """Taken by the stream so far."""
        self.waiting_bytes = 0
        """Queued or being written."""
        self.queued_s = 0.0
        """When the first body in the queue was queued."""
        self._frame: Callable[[bytes], bytes] = framer_of(wire)
        self._bytes_max = site.write_bytes_max
        self._clock = clock
        self._queue: list[bytes] = []
        self._contexts: list[Any] = []
        self._untils: list[float] = []
        self._writing: list[Any] = []
        self._writing_bytes = 0
        self._frame_counter = metrics.LINK_FRAMES_OUT.labels(site.name)
        self._byte_counter = metrics.LINK_OUT_BYTES.labels(site.name)

    def __bool__(self) -> bool:
        """Whether something is queued."""
        return bool(self._queue)

    def put(self, body: bytes, context: Any, until_s: float) -> bool:
        """Queue a body, which is of no use after `until_s`. False when there is no room. Raises `ValueError` for a body
        over the frame limit.
        """
        frame = self._frame(body)
        if self.waiting_bytes + len(frame) > self._bytes_max:
            return False
        if not self._queue:
            self.queued_s = self._clock().mono_s
        self._queue.append(frame)
        self._contexts.append(context)
        self._untils.append(until_s)
        self.waiting_bytes += len(frame)
        return True

    def expire(self, now_s: float) -> list[Any]:
        """Drop queued bodies that are of no use any more: this process, or the hub's reading, stood still. Returns
        their contexts.
        """
        if min(self._untils, default=inf) >= now_s:
            return []
        return self._keep([until_s >= now_s for until_s in self._untils])

    def recall(self, kind: type[ContextT]) -> list[ContextT]:
        """Drop queued bodies whose context is of this kind: they are not to leave any more. Returns the contexts."""
        recalled = [isinstance(context, kind) for context in self._contexts]
        return self._keep([not each for each in recalled]) if any(recalled) else []

    def _keep(self, kept: list[bool]) -> list[Any]:
        """Drop the queued bodies that are not kept; returns their contexts."""
        dropped = [context for context, keep in zip(self._contexts, kept, strict=True) if not keep]
        size = sum(map(len, self._queue))
        self._queue = list(compress(self._queue, kept))
        self._contexts = list(compress(self._contexts, kept))
        self._untils = list(compress(self._untils, kept))
        self.waiting_bytes -= size - sum(map(len, self._queue))
        return dropped

    def begin(self) -> bytes:
        """Take all that is queued, to be written at once."""
        data = b"".join(self._queue)
        self._writing, self._contexts = self._contexts, []
        self._writing_bytes = len(data)
        self._queue, self._untils = [], []
        return data

    def written(self) -> list[Any]:
        """The stream has taken it. Returns the contexts."""
        frames, size = len(self._writing), self._writing_bytes
        contexts, self._writing, self._writing_bytes = known(self._writing), [], 0
        self.waiting_bytes -= size
        self.frames += frames
        self.bytes += size
        self._frame_counter.inc(frames)
        self._byte_counter.inc(size)
        return contexts

    def give_back(self) -> tuple[list[Any], list[Any]]:
        """The link has ended: the contexts of the bodies that were being written, and of those that were queued."""
        writing, queued = self._writing, self._contexts
        self._writing, self._contexts, self._untils, self._queue = [], [], [], []
        self.waiting_bytes = 0
        return writing, queued


def known(contexts: list[Any]) -> list[Any]:
    """The contexts without None."""
    return [context for context in contexts if context is not None]
