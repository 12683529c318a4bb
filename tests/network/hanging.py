"""Runs a command in a world whose resolver never answers: `.venv/bin/python -m tests.network.hanging COMMAND…`

A mount namespace of its own has an /etc/resolv.conf that names a loopback address where a socket takes questions and
says nothing. Everything else is as outside: the network, the files, the process id. Exit code 77: this machine has no
such namespaces.
"""

import ctypes
import os
import socket
import sys
import tempfile
from pathlib import Path

CANNOT = 77
_NEWNS, _BIND, _REC, _PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Replace this process by the command; returns only when that cannot be, with the exit code."""
    answers_nothing = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    pid = os.getpid()
    # an address of this process: tests side by side have one each
    address = f"127.53.{pid >> 8 & 255}.{pid & 255}"
    try:
        answers_nothing.bind((address, 53))
    except OSError:
        return CANNOT
    if _libc.unshare(_NEWNS) or _libc.mount(None, b"/", None, _REC | _PRIVATE, None):
        return CANNOT
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory, "resolv.conf")
        # a resolver that is tried for so long hangs, to whoever has seconds
        config.write_text(f"nameserver {address}\noptions timeout:30 attempts:2\n")
        if _libc.mount(str(config).encode(), b"/etc/resolv.conf", None, _BIND, None):
            return CANNOT
    answers_nothing.set_inheritable(True)
    return os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - what the test says


if __name__ == "__main__":
    sys.exit(main())
