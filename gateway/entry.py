"""What a command of ours runs first: from here on Ctrl-C ends it quietly with 130, also while it imports.

What comes before is Python's own start, which says by a traceback where it was interrupted: so this imports next to
nothing, and each entry point calls it before it imports anything else of ours. `console` is what it hands over to.

Process 1 of a container is sent no signal that it has not asked for: there SIGTERM ends a command as elsewhere, from
here on (`signals` says what a gateway makes of it). In Python's own start it is lost: `init: true` is for that.
"""

import os
import signal


def command(module: str) -> int:
    """Have `main` of a module do what the command line says, and return the exit code."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as shells have it behind `&`
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    from gateway.machine import console

    return console.command(module)


def fps_gateway() -> int:
    """The installed command."""
    return command("gateway.__main__")
