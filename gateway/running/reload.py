"""SIGHUP: the configuration's files are read again, and the settings that may change in a running process do.

These are the log's level, and the name of the clients that may submit. TLS files are looked at again under the same
names, also when the configuration has mistakes, as they are whenever a connection is made, and every minute. All other
settings were checked as a whole, and many are agreed with the other site: a change to them waits for a restart, which a
drain makes safe. They are named in the log, so that nobody thinks it is done. Files with a mistake change nothing.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec
from msgspec import Struct

from gateway import config, log
from gateway.errors import ConfigurationError
from gateway.network import papers

LEVEL = "node.log.level"
CLIENT_NAME = "node.submissions.tls.client_name"
NAMED_MAX = 8
"""Settings that one log line names at most."""

StructT = TypeVar("StructT", bound=Struct)
_log = log.get("reload")


class Reload:
    """Takes the changes since the start, or since the last time."""

    def __init__(self, configuration: config.Configuration, reread: Callable[[], config.Configuration]) -> None:
        self._running = configuration
        """The configuration that this process runs with."""
        self._reread = reread
        self.on_client_name: Callable[[str], None] | None = None
        """Takes the name of the clients that may submit; None: this process has no port for them."""

    def __call__(self) -> None:
        """Read the files, take what may change, and log what was taken and what was not."""
        papers.look_again()
        try:
            wanted = self._reread()
        except ConfigurationError as error:
            _log.error("configuration not taken: it has mistakes", count=len(error.mistakes), error=error.mistakes[0])
            return
        left = list(_different(self._running, wanted))
        log.set_level("info")  # these lines are written, whatever the level before and after
        for name in [name for name in (LEVEL, CLIENT_NAME) if name in left]:
            left.remove(name)
            self._running = _taken(self._running, wanted, name.split("."))
        submissions = self._running.node.submissions
        if self.on_client_name is not None and submissions is not None and submissions.tls is not None:
            self.on_client_name(submissions.tls.client_name)
        _log.info("configuration read again", detail=f"{LEVEL} is {self._running.node.log.level}")
        if left:
            named = ", ".join(left[:NAMED_MAX]) + (", …" if len(left) > NAMED_MAX else "")
            _log.warning("changed settings wait for a restart", count=len(left), detail=named)
        log.set_level(self._running.node.log.level)


def _taken(running: StructT, wanted: Struct, path: list[str]) -> StructT:
    """The running configuration with one setting, by its path, as it is wanted."""
    name, *below = path
    value = getattr(wanted, name)
    if below:
        value = _taken(getattr(running, name), value, below)
    return msgspec.structs.replace(running, **{name: value})


def _different(old: Struct, new: Struct, above: str = "") -> Iterator[str]:
    """The names of the settings that are not the same, without their values."""
    for field in msgspec.structs.fields(old):
        before, after = getattr(old, field.name), getattr(new, field.name)
        name = above + field.name
        if isinstance(before, Struct) and isinstance(after, Struct):
            yield from _different(before, after, name + ".")
        elif before != after:
            yield name
