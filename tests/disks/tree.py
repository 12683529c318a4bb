"""Files in memory that lose what was not synced when power is lost: contents by the sector, and names, too.

What a file holds is a `Blob`, as in the fake disk: one idea of what a power cut does, in the simulation and under real
processes. A directory has the names that it shows and those that its last sync left.
"""

import errno
import os
import random
import stat
from collections.abc import Iterator

from tests.disks.fuse import Attributes
from tests.fakes.disk import Blob

ROOT = 1


def error(number: int) -> OSError:
    """The error of the system with this number."""
    return OSError(number, os.strerror(number))


class Node:
    """A file, a directory or a symbolic link."""

    def __init__(self, number: int, mode: int, target: str = "") -> None:
        self.number = number
        self.mode = mode
        self.target = target
        self.blob = Blob()
        self.names: dict[str, Node] = {}
        self.durable: dict[str, Node] = {}
        """The names as the last sync left them."""

    @property
    def attributes(self) -> Attributes:
        """What `stat` says."""
        return Attributes(self.number, self.mode, len(self.blob.content) or len(self.target))


class Tree:
    """A `fuse.Files` in memory."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.lies = False
        """A sync says yes and makes nothing durable."""
        self._root = Node(ROOT, stat.S_IFDIR | 0o755)
        self._nodes = {ROOT: self._root}
        self._last = ROOT

    # --- what the kernel asks for

    def lookup(self, node: int, name: str) -> Attributes:
        """A name in a directory."""
        found = self._nodes[node].names.get(name)
        if found is None:
            raise error(errno.ENOENT)
        self._nodes[found.number] = found
        return found.attributes

    def attributes(self, node: int) -> Attributes:
        """Of a node."""
        return self._nodes[node].attributes

    def change(self, node: int, size: int | None, mode: int | None) -> Attributes:
        """Truncate, chmod."""
        it = self._nodes[node]
        if size is not None:
            self._find_room(size - len(it.blob.content))
            it.blob.resize(size)
        if mode is not None:
            it.mode = stat.S_IFMT(it.mode) | stat.S_IMODE(mode)
        return it.attributes

    def make(self, node: int, name: str, mode: int, target: str = "") -> Attributes:
        """A new file, directory or symbolic link in a directory; the mode says which."""
        names = self._nodes[node].names
        if name in names:
            raise error(errno.EEXIST)
        self._last += 1
        names[name] = self._nodes[self._last] = made = Node(self._last, mode, target)
        return made.attributes

    def target(self, node: int) -> str:
        """Where a symbolic link leads."""
        return self._nodes[node].target

    def remove(self, node: int, name: str) -> None:
        """Take a name out of a directory. What is open stays readable: nodes are kept until power is lost."""
        if self._nodes[node].names[name].names:
            raise error(errno.ENOTEMPTY)
        del self._nodes[node].names[name]

    def rename(self, node: int, name: str, to_node: int, to_name: str) -> None:
        """Move a name, over what has the new one already."""
        self._nodes[to_node].names[to_name] = self._nodes[node].names.pop(name)

    def read(self, node: int, offset: int, size: int) -> bytes:
        """Of a file."""
        return bytes(self._nodes[node].blob.content[offset : offset + size])

    def write(self, node: int, offset: int, data: bytes) -> int:
        """Into a file: as much of it as finds room, as a disk does that is just filling up."""
        blob = self._nodes[node].blob
        free = self.capacity_bytes - self.used_bytes()
        data = data[: max(0, len(blob.content) - offset) + free]
        if not data:
            raise error(errno.ENOSPC)
        blob.write(offset, data)
        return len(data)

    def allocate(self, node: int, size: int) -> None:
        """Make a file at least so large."""
        blob = self._nodes[node].blob
        if size > len(blob.content):
            self._find_room(size - len(blob.content))
            blob.resize(size)

    def sync(self, node: int) -> None:
        """Of a file or directory."""
        it = self._nodes[node]
        if not self.lies:
            it.blob.sync()
            it.durable = dict(it.names)

    def sync_failed(self, node: int) -> None:
        """A sync of a file or directory that ends with an error."""
        self._nodes[node].blob.sync_failed()

    def names(self, node: int) -> Iterator[tuple[str, Attributes]]:
        """What is in a directory."""
        return ((name, it.attributes) for name, it in sorted(self._nodes[node].names.items()))

    def space(self) -> tuple[int, int]:
        """All and free bytes."""
        return self.capacity_bytes, max(0, self.capacity_bytes - self.used_bytes())

    # --- what a test asks for

    def used_bytes(self) -> int:
        """In all files."""
        return sum(len(it.blob.content) for it in _below(self._root))

    def name_of(self, node: int) -> str:
        """What it is called in its directory; empty for the root, and for what has no name any more."""
        parents = [it for it in self._nodes.values() if it.names]
        return next((name for it in parents for name, child in it.names.items() if child.number == node), "")

    def power_lost(self, chance: random.Random | None) -> None:
        """Keep what was synced; of the rest each name and each sector by chance, or without `chance` nothing."""
        self._settle(self._root, chance)
        self._nodes = {it.number: it for it in (self._root, *_below(self._root))}

    def _settle(self, it: Node, chance: random.Random | None) -> None:
        kept = dict(it.durable)
        for name in sorted({*it.names, *it.durable}):
            now = it.names.get(name)
            if chance is not None and now is not it.durable.get(name) and chance.random() < 0.5:
                if now is None:
                    del kept[name]
                else:
                    kept[name] = now
        it.names, it.durable = kept, dict(kept)
        it.blob.settle(chance)
        for _, child in sorted(kept.items()):
            self._settle(child, chance)

    def _find_room(self, more_bytes: int) -> None:
        if more_bytes > self.space()[1]:
            raise error(errno.ENOSPC)


def _below(it: Node) -> Iterator[Node]:
    for child in it.names.values():
        yield child
        yield from _below(child)
