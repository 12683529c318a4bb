"""DRBD as a test wants it: what it says, that it says nothing, or that it cannot be asked.

`tests/volume/test_drbd.py` holds it to what `RealDrbd` does.
"""

import errno
import os

import trio

from gateway.errors import Unavailable
from gateway.volume.status import Peer, Status

NUMBER = os.makedev(147, 11)
OTHERS = ("server-2", "server-3")


def well(*, role: str = "Primary", disk: str = "UpToDate", quorum: bool | None = True, suspended: bool = False,
         failing: bool = False, peers: tuple[Peer, ...] | None = None) -> Status:  # fmt: skip
    """Three copies, or what is said otherwise."""
    peers = tuple(Peer(name, "Connected", "UpToDate", 0) for name in OTHERS) if peers is None else peers
    return Status(role, disk, quorum, suspended, failing, peers)


def without(*names: str, connection: str = "Connecting") -> Status:
    """The servers of these names are gone."""
    peers = (
        Peer(name, *((connection, "DUnknown") if name in names else ("Connected", "UpToDate")), 0) for name in OTHERS
    )
    return well(peers=tuple(peers))


class FakeDrbd:
    """A machine's."""

    def __init__(self) -> None:
        self.below = self.number = NUMBER
        """What the journal's directory lies on, and what the device is."""
        self.missing = False
        """Whether the device is."""
        self.unreadable = False
        """Whether the file system below the journal can be looked at."""
        self.says: Status | str = well()
        """A text: why it cannot be asked."""
        self.hangs = False
        self.asked = 0

    def device_below(self, directory: str) -> int:
        if self.unreadable:
            raise OSError(errno.EIO, os.strerror(errno.EIO), directory)
        return self.below

    def number_of(self, device: str) -> int:
        if self.missing:
            raise FileNotFoundError(2, os.strerror(2), device)
        return self.number

    async def status(self, resource: str, minor: int) -> Status:
        self.asked += 1
        await trio.lowlevel.checkpoint()
        if self.hangs:
            await trio.sleep_forever()
        if isinstance(self.says, str):
            raise Unavailable(self.says)
        return self.says
