"""A real mount that fails on order: `.venv/bin/python -m tests.disks.faulty MOUNT_POINT CAPACITY_BYTES`.

A process of its own: whoever uses a mount waits for it, and must not be who serves it. Orders come on standard input, a
JSON object a line, each answered by one on standard output; the first line out says that it is mounted. The end of the
input unmounts: so does, however it ended, the end of whoever started this. `mounts.Faulty` is the other end.

What can be told apart are kinds of operations: read, write, sync (a file's), dirsync, create, allocate, remove, rename.
"""

import errno
import os
import random
import select
import sys
from typing import Any

import msgspec

from tests.disks.fuse import Mount, Op, Request, replies, serve
from tests.disks.tree import Tree, error

SOURCE = "fps-faulty"
"""What `mount` shows it as."""
KINDS: dict[int, str] = {
    Op.READ: "read",
    Op.WRITE: "write",
    Op.FSYNC: "sync",
    Op.FSYNCDIR: "dirsync",
    Op.CREATE: "create",
    Op.FALLOCATE: "allocate",
    Op.UNLINK: "remove",
    Op.RENAME: "rename",
    Op.RENAME2: "rename",
}


class Fault(msgspec.Struct):
    """What happens to an operation of this kind."""

    kind: str
    """Empty: every kind."""
    number: int = errno.EIO
    """The error it ends with."""
    name: str = ""
    """Only of files with this in their name."""
    after: int = 0
    """How many still go well."""
    times: int = -1
    """How many fail; -1: all from then on."""

    def strikes(self, kind: str, name: str) -> bool:
        """Whether it is this operation's turn."""
        if (self.kind and kind != self.kind) or self.name not in name or not self.times:
            return False
        if self.after:
            self.after -= 1
            return False
        self.times -= 1
        return True


class Faulty:
    """A tree, its mount, and what was ordered."""

    def __init__(self, at: str, capacity_bytes: int) -> None:
        self.tree = Tree(capacity_bytes)
        self.counts: dict[str, int] = {}
        self.mount = Mount(at, SOURCE)
        self._fault: Fault | None = None
        self._hang: Fault | None = None
        self._cut: Fault | None = None
        self._dead = False
        """Power is lost: nothing is answered until it is back."""
        self._held: list[Request] = []
        """What hangs."""

    # --- the kernel

    def serve(self) -> None:
        """Take one request and answer it, or not."""
        request = self.mount.receive()
        if request is None or not replies(request) or self._dead:
            return
        kind = KINDS.get(request.op, "")
        name = self.tree.name_of(request.node) if kind in {"read", "write", "sync"} else ""
        if kind and self._hang is not None and self._hang.strikes(kind, name):
            self._held.append(request)
            return
        cut = bool(kind and self._cut is not None and self._cut.strikes(kind, name))
        # what is not durable yet is in doubt, this operation included: half of the time it was not even begun
        if cut and request.unique // 2 % 2:
            self._dead = True
            return
        body = self._answer(request, kind, name)
        if cut:
            self._dead = True
            return
        self.mount.reply(request.unique, body)

    def _answer(self, request: Request, kind: str, name: str) -> bytes | OSError:
        if kind:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            if self._fault is not None and self._fault.strikes(kind, name):
                if kind == "sync":
                    self.tree.sync_failed(request.node)
                return error(self._fault.number)
        try:
            return serve(self.tree, request)
        except OSError as failed:
            return failed

    # --- the test

    def order(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do what a test wants."""
        do = order.pop("do")
        if do == "fail":
            self._fault = Fault(**order)
        elif do == "hang":
            self._hang = Fault(**order)
        elif do == "cut":
            self._cut = Fault(**order) if order else None
            self._dead = not order
        elif do == "heal":
            self._heal()
        elif do == "boot":
            self._boot(order["seed"])
        elif do == "lie":
            self.tree.lies = order["lies"]
        elif do == "capacity":
            self.tree.capacity_bytes = order["bytes"]
        return {"dead": self._dead, "held": len(self._held), "counts": self.counts, "used": self.tree.used_bytes()}

    def _heal(self) -> None:
        """Whatever hangs is done now, in its order."""
        self._fault = self._hang = None
        held, self._held = self._held, []
        for request in held:
            self.mount.reply(request.unique, self._answer(request, KINDS.get(request.op, ""), ""))

    def _boot(self, seed: int | None) -> None:
        """The kernel of before is gone with all that it had; mount what survived."""
        self.mount.close()
        self._fault = self._hang = self._cut = None
        self._held, self._dead = [], False
        self.tree.power_lost(None if seed is None else random.Random(seed))  # noqa: S311  a seed that replays
        self.mount = Mount(self.mount.at, SOURCE)


def main() -> None:
    """Mount, and serve both ends until the input ends."""
    at, capacity_bytes = sys.argv[1:]
    try:
        faulty = Faulty(at, int(capacity_bytes))
    except OSError as failed:
        say({"error": failed.strerror})
        return
    say({"mounted": at})
    lines = b""
    try:
        while True:
            readable, _, _ = select.select([0, faulty.mount.fd], [], [])
            if faulty.mount.fd in readable:
                faulty.serve()
            if 0 in readable:
                chunk = os.read(0, 65536)
                if not chunk:
                    return
                *whole, lines = (lines + chunk).split(b"\n")
                for line in whole:
                    say(faulty.order(msgspec.json.decode(line)))
    finally:
        faulty.mount.close()


def say(what: dict[str, Any]) -> None:
    """A line out."""
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
