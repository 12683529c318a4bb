"""The first code of every command. From here on, Ctrl-C ends the command quietly with 130, also during imports.

Earlier, while Python itself starts, an interrupt prints a traceback. So this module imports next to nothing, and each
entry point calls it before it imports anything else of ours. It hands over to `console`.

Process 1 of a container gets only signals for which it has a handler. So this module sets one for SIGTERM, which then
ends a command as elsewhere (`signals` says what it does to a gateway). During Python's own start SIGTERM is lost: set
`init: true` for the container.
"""

import os
import signal


def command(module: str) -> int:
    """Run `main` of a module with the command line, and return the exit code."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # shells ignore it for commands behind `&`
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    from gateway.machine import console

    return console.command(module)


def fps_gateway() -> int:
    """The installed command."""
    return command("gateway.__main__")
