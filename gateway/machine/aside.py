"""What blocks is done aside, in a thread. That no thread is to be had is an error like any other shortage."""

import threading
from collections.abc import Callable
from typing import TypeVar

import trio

from gateway.errors import Unavailable
from gateway.machine.shortage import NO_THREAD_WORDS, is_no_thread, no_thread

T = TypeVar("T")


async def aside(call: Callable[[], T], limiter: trio.CapacityLimiter) -> T:
    """Run it in one of trio's threads. Cancelled, it returns at once, and the call goes on by itself: whatever hangs in
    it keeps nobody from ending. Raises `OSError` also when no thread can be started.
    """
    try:
        return await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=limiter)
    except RuntimeError as error:
        if not is_no_thread(error):
            raise
        raise no_thread() from error


def begin_thread(work: Callable[[], object], name: str) -> None:
    """Start a thread of our own, which does not keep the process from ending. Raises `Unavailable` when there is none
    to be had.
    """
    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except RuntimeError as error:
        if not is_no_thread(error):
            raise
        raise Unavailable(f"{NO_THREAD_WORDS} for {name}") from error
