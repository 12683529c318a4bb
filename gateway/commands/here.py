"""Checks that this machine has what a configuration needs: `fps-gateway config check --here`.

Run it as the gateway's user and with its credentials: a directory that root can write to may be closed to the gateway.
It changes nothing. It asks the tokens as `hsm check` does, so it tries each PIN once; a token whose file gives no PIN
is not tried.
"""

import os
import stat
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import trio

from gateway import config
from gateway.commands import hsm as hsm_command
from gateway.disk import RealDisk, room
from gateway.errors import GatewayError
from gateway.journal.opening import existing
from gateway.network import papers
from gateway.signer import process
from gateway.signer.survey import Report, survey

SEGMENTS_MIN = 3
"""Segments that a start needs room for: the current one, the next one, and one that cannot be deleted yet."""
FILES_MIN = 16
"""Files that a start needs: these segments, the manifest, a cursor for each follower, and files that replace others."""

OpenWorker = Callable[[config.Token], Awaitable[process.Worker]]


def lacks(configuration: config.Configuration, *, open_worker: OpenWorker = process.start) -> Iterator[str]:
    """Everything that is missing or wrong on this machine, with its setting. Other code checks the files alone."""
    node = configuration.node
    yield from _of_directory(node.journal)
    now = datetime.now(UTC)
    for place, tls in papers.uses_of(node):
        yield from papers.ending(tls, place, now)
    yield from hsm_command.matters(trio.run(_survey, configuration, open_worker))


async def _survey(configuration: config.Configuration, open_worker: OpenWorker) -> Report:
    return await survey(configuration.node.token, configuration.pair, open_worker=open_worker)


def _of_directory(settings: config.JournalSettings) -> Iterator[str]:
    """Check kind, owner and room of the journal's directory, and that it holds a journal."""
    key, path = "node.journal.dir", Path(settings.dir)
    try:
        found = path.stat()
    except FileNotFoundError:
        return  # the notes say so
    except OSError as error:
        yield f"{key}: {path}: {error.strerror}"
        return
    if not stat.S_ISDIR(found.st_mode):
        yield f"{key}: {path} is not a directory"
        return
    if found.st_uid != os.geteuid():
        yield f"{key}: belongs to user {found.st_uid}, and this is user {os.geteuid()}: run this as the gateway's user"
    elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield f"{key}: may not be written to"
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield f"{key}: is open to others (mode {stat.S_IMODE(found.st_mode):04o}): customers' data is in it"
    yield from _of_room(settings)
    if not settings.begin_if_none:
        try:
            existing(RealDisk(), settings.dir)
        except (OSError, GatewayError) as error:
            yield str(error)


def _of_room(settings: config.JournalSettings) -> Iterator[str]:
    """Check the free bytes and inodes."""
    key, path = "node.journal.dir", Path(settings.dir)
    free, needed_bytes = room(path), SEGMENTS_MIN * settings.segment_bytes
    if free.bytes < needed_bytes:
        yield f"{key}: {free.bytes} bytes are free, and it needs {needed_bytes}: {SEGMENTS_MIN} segments"
    if free.files < FILES_MIN:
        yield f"{key}: {free.files} inodes are free, and it needs {FILES_MIN}: a file takes one, whatever the bytes"
