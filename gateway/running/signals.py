"""What each signal does: the one place that says so.

    SIGTERM, SIGINT, SIGQUIT    drain; a second one of them ends at once. While the process starts, the first ends it:
                                nothing is in flight yet, and a start that is cut off is taken up by the next one
    SIGHUP                      read the configuration again, and take what can be changed while it runs (`Reload`);
                                what cannot is named, and waits for a restart. While the process starts: nothing
    SIGUSR1, SIGUSR2            nothing, said in a line: log rotation and habit send them
    SIGPIPE                     nothing: whoever reads our output may go, which costs lines and no payment
    SIGABRT                     ends at once, as a kill does: a supervisor's watchdog sends it. No core dump is left
                                where the limit says so (`LimitCORE=0`): it would hold customers' data

All other signals have the system's default effect. The workers of the tokens are in sessions of their own, so that no
key pressed at a terminal reaches them.
"""

import os
import signal
from collections.abc import Callable
from typing import Final

from gateway.exitcodes import ExitCode

ENDS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
RELOADS: Final = signal.SIGHUP
NOTHING: Final = (signal.SIGUSR1, signal.SIGUSR2)
HEARD: Final = (*ENDS, RELOADS, *NOTHING)
"""The signals that a running gateway hears."""


def while_starting(say: Callable[[str], object]) -> None:
    """Until the gateway hears signals itself, let them end this process or do nothing. That holds also for process 1 of
    a container, for which the kernel drops every signal that has not been asked for.

    `say` gets the signal's name before the end, with SIGTERM as asked (0), else interrupted (130).
    """

    def end(number: int, _frame: object) -> None:
        say(signal.Signals(number).name)
        os._exit(ExitCode.ENDED if number == signal.SIGTERM else ExitCode.INTERRUPTED)

    for number in ENDS:
        signal.signal(number, end)
    for number in (RELOADS, *NOTHING):
        signal.signal(number, signal.SIG_IGN)
