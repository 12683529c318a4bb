"""A shortage of this process or of its machine: no descriptor, thread, process or memory can be had just now.

It is neither a fault of the file or the peer that was to be opened, nor a bug: nothing was done yet, and the same may
work later. So it is tried again, and logged. Only this file tells a shortage from a fault. Where a shortage can come,
and what then happens:

    the journal's next segment      the descriptor of the last full one is kept for it; without that, tried again each
                                    second, unready meanwhile (`no_next`), like a full disk
    manifest, directory, lock       open from the start
    a cursor                        tried again each second; an older one costs reading again
    a follower's read               tried again after a pause; a line for each episode
    the needs of a start            the start ends with 69: the process is started again
    a link to the hub, a question,  as if the other end were away: tried again after the usual pause, and no address is
    a notice, the sibling, a peer   blamed. Without a thread to look at TLS files, the known ones are used
    a name that is looked up        the addresses that were known last are used
    a token's worker                as after a crash: tried again after the breaker's pause
    the door, the ops server        the next connection waits, or is turned away (`descriptors`); logged now and then
    DRBD's program                  its state is unknown, as when it does not answer
    TLS files that were renewed     the earlier ones stay in use; looked at again within a minute
    the supervisor                  its socket is open from the start

A write or a sync of a promise that fails for want of memory is a failure of the disk all the same: the content of the
disk is unknown.
"""

import errno
from typing import Final

ERRNOS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS})
"""A fork or a thread fails with EAGAIN; code that reads and writes without waiting has dealt with its own before."""
NO_THREAD: Final = "can't start new thread"
"""Python's words: it has no error class for this."""
NO_THREAD_WORDS: Final = "no thread can be started"


def is_shortage(error: BaseException | None) -> bool:
    """Whether this error, or its cause, is a shortage. In a group each must be."""
    if error is None:
        return False
    if isinstance(error, BaseExceptionGroup):
        return all(is_shortage(inner) for inner in error.exceptions)
    if isinstance(error, MemoryError) or is_no_thread(error):
        return True
    if not isinstance(error, OSError):
        return False
    # an error that sums up others has no number (trio's, of a dial)
    return is_shortage(error.__cause__) if error.errno is None else error.errno in ERRNOS


def is_no_thread(error: BaseException) -> bool:
    """Whether no thread could be started."""
    if isinstance(error, OSError):
        return error.strerror == NO_THREAD_WORDS
    return isinstance(error, RuntimeError) and str(error) == NO_THREAD


def no_thread() -> OSError:
    """The same as an error of the system."""
    return OSError(errno.EAGAIN, NO_THREAD_WORDS)
