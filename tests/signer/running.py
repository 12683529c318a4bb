"""A worker process without a pool: frames in, frames out."""

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

from gateway.signer import messages, process
from hsm.layout import find_module


def start_of(name: str, folder: Path, **changes: Any) -> messages.Start:
    """A START for the token of this name."""
    fields = {
        "module": find_module(), "label": name, "pin_file": str(folder / "pins" / f"{name}.pin"),
        "algorithm": "aes-cmac", "retail_mechanism": 0, "keys": messages.held("fps-hub", "fps-own"),
        "start_within_s": 10.0, "batch_within_s": 1.0, **changes,
    }  # fmt: skip
    return messages.Start(**fields)


class Running:
    """A worker at the other end of a socket pair."""

    def __init__(self, folder: Path) -> None:
        ours, theirs = socket.socketpair()
        self.channel = ours
        self.channel.settimeout(20)
        self.process = subprocess.Popen(
            process.command(theirs.fileno()),
            pass_fds=(theirs.fileno(),),
            env={**os.environ, "SOFTHSM2_CONF": str(folder / "softhsm2.conf")},
        )
        theirs.close()

    def ask(self, frame: bytes) -> tuple[int, bytes]:
        """Send a frame and read the one that answers it."""
        self.channel.sendall(frame)
        return self.hear()

    def hear(self) -> tuple[int, bytes]:
        """Read a frame."""
        splitter = messages.Splitter()
        while not (found := splitter.feed(self.channel.recv(65536))):
            pass
        return found[0]

    def end(self) -> None:
        """Close its socket and wait for its end."""
        self.channel.close()
        assert self.process.wait(20) == 0
