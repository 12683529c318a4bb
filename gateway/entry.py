"""The first code of every command. From here on Ctrl-C ends the command quietly with 130, also while it imports.

Before this, Python itself starts, and an interrupt prints a traceback. So this module imports next to nothing, and each
entry point calls it before it imports anything else of ours. It hands over to `console`.

The kernel sends process 1 of a container no signal that it has not asked for. So SIGTERM is asked for here, and ends a
command as elsewhere (`signals` says what it does to a gateway). During Python's own start it is lost: `init: true` in a
container helps.
"""

import os
import signal


def command(module: str) -> int:
    """Run `main` of a module with the command line, and return the exit code."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as shells have it behind `&`
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    from gateway.machine import console

    return console.command(module)


def fps_gateway() -> int:
    """The installed command."""
    return command("gateway.__main__")
