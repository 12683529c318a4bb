"""Runs blocking calls in a thread. When no thread can be started they fail, as in any other shortage."""

import threading
from collections.abc import Callable
from typing import TypeVar

import trio

from gateway.errors import Unavailable
from gateway.machine.shortage import NO_THREAD_WORDS, is_no_thread, no_thread

T = TypeVar("T")


async def aside(call: Callable[[], T], limiter: trio.CapacityLimiter) -> T:
    """Run the call in one of trio's threads. Cancelled, this returns at once, and the call goes on by itself: one that
    hangs does not keep the process from ending. Raises `OSError` also when no thread can be started.
    """
    try:
        return await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=limiter)
    except RuntimeError as error:
        if not is_no_thread(error):
            raise
        raise no_thread() from error


def begin_thread(work: Callable[[], object], name: str) -> None:
    """Start a thread of our own, which does not keep the process from ending. Raises `Unavailable` when none can be
    started.
    """
    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except RuntimeError as error:
        if not is_no_thread(error):
            raise
        raise Unavailable(f"{NO_THREAD_WORDS} for {name}") from error
