"""`fps-gateway journal init`: begin the journal of a gateway that has never had one, in its configured directory.

This is a command of its own so that a start never does it. An empty journal remembers no payment: on the wrong server,
or beside a volume that is not mounted, the gateway would forget in silence all that it had promised. The command checks
the volume as a start does.
"""

import sys
from collections.abc import Sequence

import trio

from gateway import config, log
from gateway.config import file as config_file
from gateway.disk import RealDisk
from gateway.errors import ConfigurationError, GatewayError
from gateway.exitcodes import ExitCode, exit_code
from gateway.journal.opening import begin_empty
from gateway.machine import harmless
from gateway.volume.drbd import Drbd, RealDrbd
from gateway.volume.watch import begin_for


def run(files: Sequence[str]) -> int:
    """Begin the journal that the files name; return the exit code."""
    writer = log.configure("error", "console", log.Writer(sys.stderr.buffer))
    disk = RealDisk()
    try:
        return begin(config_file.load(*files).node, disk, RealDrbd())
    except ConfigurationError as error:
        return config_file.say(error)
    finally:
        disk.release()
        writer.close()


def begin(node: config.Node, disk: RealDisk, drbd: Drbd) -> int:
    """Check the volume, then make the journal. Print what was done or why not, and return the exit code."""
    directory = node.journal.dir
    try:
        trio.run(begin_for, node, drbd)
        begin_empty(disk, directory)
    except GatewayError as error:
        sys.stderr.write(f"fps-gateway journal: {harmless.line(error)}\n")
        return exit_code(error)
    except OSError as error:
        sys.stderr.write(f"fps-gateway journal: {harmless.line(f'{directory}: {log.describe(error)}')}\n")
        return ExitCode.UNAVAILABLE
    sys.stdout.write(f"{harmless.line(directory)}: an empty journal, for {node.name}\n")
    return ExitCode.ENDED
