"""What SIGHUP does: the configuration's files are read again, and what may change while the process runs changes.

That is the log's level. TLS files are not named anew but looked at again, also when the configuration has mistakes; as
whenever a connection is made, and every minute. Everything else was checked as a whole, and much of it is agreed
with the other site: it waits for a restart, which a drain makes safe, and is named so that nobody takes it for done.
Files with a mistake change nothing.
"""

from collections.abc import Callable, Iterator

import msgspec
from msgspec import Struct

from gateway import config, log
from gateway.errors import ConfigurationError
from gateway.network import papers

LEVEL = "node.log.level"
NAMED_MAX = 8
"""Settings that one line names."""

_log = log.get("reload")


class Reload:
    """Takes what has changed since the start, or since the last time."""

    def __init__(self, configuration: config.Configuration, reread: Callable[[], config.Configuration]) -> None:
        self._running = configuration
        """What this process runs with."""
        self._reread = reread

    def __call__(self) -> None:
        """Read, take, and say what was taken and what was not."""
        papers.look_again()
        try:
            wanted = self._reread()
        except ConfigurationError as error:
            _log.error("configuration not taken: it has mistakes", count=len(error.mistakes), error=error.mistakes[0])
            return
        left = list(_different(self._running, wanted))
        log.set_level("info")  # what is said of this is heard, whatever is heard before and after
        if LEVEL in left:
            left.remove(LEVEL)
            logging = msgspec.structs.replace(self._running.node.log, level=wanted.node.log.level)
            node = msgspec.structs.replace(self._running.node, log=logging)
            self._running = msgspec.structs.replace(self._running, node=node)
        _log.info("configuration read again", detail=f"{LEVEL} is {self._running.node.log.level}")
        if left:
            named = ", ".join(left[:NAMED_MAX]) + (", …" if len(left) > NAMED_MAX else "")
            _log.warning("changed settings wait for a restart", count=len(left), detail=named)
        log.set_level(self._running.node.log.level)


def _different(old: Struct, new: Struct, above: str = "") -> Iterator[str]:
    """The names of the settings that are not the same, without their values."""
    for field in msgspec.structs.fields(old):
        before, after = getattr(old, field.name), getattr(new, field.name)
        name = above + field.name
        if isinstance(before, Struct) and isinstance(after, Struct):
            yield from _different(before, after, name + ".")
        elif before != after:
            yield name
