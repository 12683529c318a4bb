"""A shortage of this process or of its machine: no descriptor, thread, process or memory is to be had just now.

It is no failure of what was to be opened or begun, and no bug: nothing was done yet, and the same may be done later. So
it is tried again, and said. This is the one place that tells a shortage from a fault. Where one can come, and what then
happens:

    the journal's next segment      the descriptor of the last full one is kept for it; without that tried again each
                                    second, unready meanwhile (`no_next`), like a full disk
    manifest, directory, lock       open from the start
    a cursor                        tried again each second; an older one costs reading again
    a follower's read               tried again after a pause; a line for each episode
    whatever a start needs          ends with 69: the process is started again
    a link to the hub, a question,  like whoever is away: tried again after the pause that holds for that, and no
    a notice, the sibling, a peer   address is blamed. With no thread to look at TLS files in, those known are used
    a name that is looked up        the addresses known last
    a token's worker                like one that crashed: tried again after the breaker's pause
    the door, the ops server        the next connection waits, or is turned away (`descriptors`); said now and then
    DRBD's program                  its state is unknown, as when it does not answer
    TLS files that were renewed     those before stay in use; looked at again within a minute
    the supervisor                  its socket is open from the start

A write or a sync of what was promised that fails for want of memory is a failure of the disk all the same: nobody knows
what is on it.
"""

import errno
from typing import Final

ERRNOS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS})
"""EAGAIN is what a fork or a thread gets; whoever reads and writes without waiting has dealt with its own before."""
NO_THREAD: Final = "can't start new thread"
"""Python's words, which has no error of its own for it."""
NO_THREAD_WORDS: Final = "no thread can be started"


def is_shortage(error: BaseException | None) -> bool:
    """Whether this, or what caused it, is one. Of a group each must be."""
    if error is None:
        return False
    if isinstance(error, BaseExceptionGroup):
        return all(is_shortage(inner) for inner in error.exceptions)
    if isinstance(error, MemoryError) or is_no_thread(error):
        return True
    if not isinstance(error, OSError):
        return False
    # one that sums up others has no number (trio's, of a dial)
    return is_shortage(error.__cause__) if error.errno is None else error.errno in ERRNOS


def is_no_thread(error: BaseException) -> bool:
    """Whether no thread could be started."""
    if isinstance(error, OSError):
        return error.strerror == NO_THREAD_WORDS
    return isinstance(error, RuntimeError) and str(error) == NO_THREAD


def no_thread() -> OSError:
    """The same in the words of the system, for those who know its errors."""
    return OSError(errno.EAGAIN, NO_THREAD_WORDS)
