"""What a command of ours runs first: from here on Ctrl-C ends it quietly with 130, also while it imports.

What comes before is Python's own start, which says by a traceback where it was interrupted: so this imports next to
nothing, and each entry point calls it before it imports anything else of ours. `console` is what it hands over to.
"""

import os
import signal


def command(module: str) -> int:
    """Have `main` of a module do what the command line says, and return the exit code."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as shells have it behind `&`
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from gateway import console

    return console.command(module)


def fps_gateway() -> int:
    """The installed command."""
    return command("gateway.__main__")
