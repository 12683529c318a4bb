"""The exit codes, for systemd and for people. This is the one place that says what each means.

0, 1, 2 and 130 mean what they mean to shells and Python; the others are those of sysexits.h. For a unit file:
`RestartPreventExitStatus=2 74 78 130` (starting again cannot help, or it was told to end), and restart after anything
else.
"""

from enum import IntEnum

from gateway.errors import ConfigurationError, JournalFault, JournalFull, Refusal, Unavailable
from gateway.machine.shortage import is_shortage


class ExitCode(IntEnum):
    """An exit code of the process."""

    ENDED = 0
    """Ended as asked: everything in flight was finished and recorded."""
    BUG = 1
    """A bug of ours: a broken invariant, an exception that nobody expected. The log's last line says which."""
    USAGE = 2
    """The command line makes no sense. Nothing was started."""
    NOT_FOUND = 66
    """`journal show` looked at every record, and none matches. A gateway never ends with this code."""
    UNAVAILABLE = 69
    """Something that starting needs is away (an address in use, room on the disk), or the process is short of what it
    needs to go on (descriptors, threads, memory). Starting again later may help."""
    JOURNAL = 74
    """The journal cannot be trusted: a sync failed, a record is damaged. Starting again cannot help."""
    REFUSED = 75
    """Refused to start now: another process holds the journal's lock, its volume is not mounted here or not ours to
    write, or a newer gateway wrote it (the line says which versions). Nothing was changed. Starting again helps when
    that is over, or by that gateway."""
    CONFIGURATION = 78
    """The configuration holds mistakes, all of them printed; or Python leaves assertions out. Nothing was started."""
    INTERRUPTED = 130
    """It was told to end, and ended before everything in flight was finished: the drain took too long, or a second
    signal came. Nothing durable is lost. It is not started again by itself: it was ended on purpose."""


_CODES: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (JournalFull, ExitCode.UNAVAILABLE),
    (JournalFault, ExitCode.JOURNAL),
    (ConfigurationError, ExitCode.CONFIGURATION),
    (Refusal, ExitCode.REFUSED),
    (Unavailable, ExitCode.UNAVAILABLE),
    (KeyboardInterrupt, ExitCode.INTERRUPTED),
)
"""By error; the first that fits counts. Any other error is a bug, unless it is a shortage."""
_WORST_FIRST = (
    ExitCode.BUG,
    ExitCode.JOURNAL,
    ExitCode.CONFIGURATION,
    ExitCode.REFUSED,
    ExitCode.UNAVAILABLE,
    ExitCode.INTERRUPTED,
)


def exit_code(error: BaseException) -> ExitCode:
    """Return the exit code for the error that ended the process. Of a group, the worst counts, in the order above."""
    if isinstance(error, BaseExceptionGroup):
        found = {exit_code(inner) for inner in error.exceptions}
        return next(code for code in _WORST_FIRST if code in found)
    other = ExitCode.UNAVAILABLE if is_shortage(error) else ExitCode.BUG
    return next((code for kind, code in _CODES if isinstance(error, kind)), other)
