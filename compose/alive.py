"""The health check of a gateway's container: `alive.py SOCKET` ends with 0 when the gateway's process is alive.

It asks `/live`, not `/ready`: a gateway that waits for its hub, or for a disk, is healthy and must be left alone. The
alerts look at `/ready`. Standard library only, and little of it: this starts every few seconds.
"""

import socket
import sys

WITHIN_S = 3.0


def main(path: str) -> int:
    """Ask `/live`, and return the exit code."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(WITHIN_S)
            connection.connect(path)
            connection.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return 0 if connection.recv(64).startswith(b"HTTP/1.1 200") else 1
    except OSError:
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
