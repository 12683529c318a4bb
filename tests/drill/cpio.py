"""An archive as the kernel unpacks its first file system from (Documentation/driver-api/early-userspace, "newc")."""

import stat
from collections.abc import Mapping

_TRAILER = "TRAILER!!!"


def archive(files: Mapping[str, tuple[int, bytes]]) -> bytes:
    """`files`: path without a leading slash → mode (type and permissions) and content; folders are made for them.

    The target of a symbolic link is its content.
    """
    entries: dict[str, tuple[int, bytes]] = {}
    for path, entry in files.items():
        parts = path.split("/")
        for depth in range(1, len(parts)):
            entries.setdefault("/".join(parts[:depth]), (stat.S_IFDIR | 0o755, b""))
        entries[path] = entry
    packed = [_entry(number, path, *entry) for number, (path, entry) in enumerate(entries.items(), 1)]
    return b"".join((*packed, _entry(0, _TRAILER, 0, b"")))


def _entry(number: int, path: str, mode: int, content: bytes) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    #        ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
