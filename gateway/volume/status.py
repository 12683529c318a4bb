"""DRBD's status of one volume, in one shape for both versions. Pure: text in, `Status` out.

DRBD 9: `drbdsetup status --json RESOURCE` (drbd-utils, user/v9/drbdsetup.c: `*_status_json`). Any user may ask: the
kernel answers dumps without privileges (drbd_genl.h: no GENL_ADMIN_PERM). DRBD 8.4 knows no JSON; its `/proc/drbd`
(drbd_proc.c) is readable by all, has a row for each minor, no names and no quorum.
"""

import re
from typing import NamedTuple

import msgspec
from msgspec import Struct, field

from gateway.strict_json import Reader

UP_TO_DATE = "UpToDate"
PRIMARY = "Primary"
STANDALONE = "StandAlone"
"""DRBD does not even try to connect, until a person intervenes (`drbdadm adjust`)."""
CONNECTED = "Connected"
UNCONNECTED = frozenset(
    {"Unconfigured", STANDALONE, "Disconnecting", "Unconnected", "Timeout", "BrokenPipe", "NetworkFailure",
     "ProtocolError", "TearDown", "WFConnection", "WFReportParams"}
)  # fmt: skip
"""Connection states of 8.4 in which the peer is away; in all others it is there."""
PEER_84 = "peer"
"""The name of the peer, which `/proc/drbd` does not give."""


class UnreadableError(ValueError):
    """The text is no status of DRBD, or not about this volume."""


class Peer(NamedTuple):
    """The same volume on another server, as we know it."""

    name: str
    connection: str
    """DRBD's word; `Connected`, `Connecting`, `StandAlone`, …"""
    disk: str
    out_of_sync_bytes: int
    """Known to differ from ours."""

    @property
    def up_to_date(self) -> bool:
        """Whether it has all our data now. A peer that is gone does not count."""
        return self.connection == CONNECTED and self.disk == UP_TO_DATE


class Status(NamedTuple):
    """One volume, as this server knows it."""

    role: str
    disk: str
    """Of this server. `Diskless`: it was given up, and the other servers' disks are used."""
    quorum: bool | None
    """None: this version of DRBD knows no quorum."""
    suspended: bool
    """I/O waits: for a person, for data, or for quorum."""
    failing: bool
    """All I/O is failed: the volume was taken away from under its user."""
    peers: tuple[Peer, ...]

    @property
    def copies(self) -> int:
        """Servers that have all the data on their own disks now, this one included."""
        return (self.disk == UP_TO_DATE) + sum(peer.up_to_date for peer in self.peers)


# --- DRBD 9


class _PeerDevice(Struct):
    volume: int
    disk: str = field(name="peer-disk-state")
    out_of_sync_kib: int = field(name="out-of-sync", default=0)


class _Connection(Struct):
    name: str
    state: str = field(name="connection-state")
    devices: list[_PeerDevice] = field(name="peer_devices", default_factory=list)


class _Device(Struct):
    volume: int
    minor: int
    disk: str = field(name="disk-state")
    quorum: bool = True
    """Missing before DRBD 9.0.7, which had none."""


class _Resource(Struct):
    name: str
    role: str
    suspended: bool = False
    failing: bool = field(name="force-io-failures", default=False)
    devices: list[_Device] = field(default_factory=list)
    connections: list[_Connection] = field(default_factory=list)


_read = Reader(list[_Resource])
_NO_NUMBER = re.compile(rb":\s*-?(?:nan|inf)\b")
"""How older versions print a percentage of nothing: no JSON, and not used here."""


def of_json(report: bytes, resource: str, minor: int) -> Status:
    """Read `drbdsetup status --json`. Raises `UnreadableError`, which quotes only names and numbers."""
    try:
        found = [one for one in _read(_NO_NUMBER.sub(b": 0", report)) if one.name == resource]
    except msgspec.DecodeError as error:
        raise UnreadableError("the status is no JSON of DRBD's") from error
    if not found:
        raise UnreadableError(f"the status has no resource {resource}")
    (one, *_) = found
    device = next((device for device in one.devices if device.minor == minor), None)
    if device is None:
        raise UnreadableError(f"{resource} has no minor {minor}")
    peers = []
    for connection in one.connections:
        theirs = next((peer for peer in connection.devices if peer.volume == device.volume), None)
        disk, out_of_sync = ("DUnknown", 0) if theirs is None else (theirs.disk, theirs.out_of_sync_kib * 1024)
        peers.append(Peer(connection.name, connection.state, disk, out_of_sync))
    return Status(one.role, device.disk, device.quorum, one.suspended, one.failing, tuple(peers))


# --- DRBD 8.4

_VERSION = re.compile(r"version: (\d+)\.")
_ROW = re.compile(
    r"(?m)^ *(?P<minor>\d+): cs:(?P<connection>\w+)"
    r"(?: ro:(?P<role>\w+)/\w+ ds:(?P<disk>\w+)/(?P<peer_disk>\w+) +(?:[ABC] )?(?P<flags>[rs])\S*"
    r"(?P<counts>\n(?! *\d+:).*)?)?"
)
_OUT_OF_SYNC = re.compile(r" oos:(\d+)")


def major_of(proc: str) -> int:
    """DRBD's version by the first line of `/proc/drbd`. Raises `UnreadableError`."""
    found = _VERSION.match(proc)
    if found is None:
        raise UnreadableError("/proc/drbd does not begin with a version")
    return int(found[1])


def of_proc(proc: str, minor: int) -> Status:
    """Read `/proc/drbd` of DRBD 8.4. Raises `UnreadableError`."""
    found = next((row for row in _ROW.finditer(proc) if int(row["minor"]) == minor), None)
    if found is None or found["role"] is None:
        raise UnreadableError(f"/proc/drbd says nothing of minor {minor}")
    kib = _OUT_OF_SYNC.search(found["counts"] or "")
    connection = found["connection"] if found["connection"] in UNCONNECTED else CONNECTED
    peer = Peer(PEER_84, connection, found["peer_disk"], int(kib[1]) * 1024 if kib else 0)
    suspended = found["flags"] == "s"
    return Status(found["role"], found["disk"], quorum=None, suspended=suspended, failing=False, peers=(peer,))
