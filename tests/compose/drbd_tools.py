"""DRBD's own tools over the resource files, on a server of any name: what `test_drbd_files` and `test_runbook` run."""

import subprocess
import sys
from pathlib import Path

import gateway

FILES = Path(gateway.__file__).parent.parent / "compose" / "drbd"
SERVERS = ("fps-a1", "fps-a2", "fps-a3")
SECRET = "0123456789abcdefABCDEF"  # noqa: S105 - of no volume
Done = subprocess.CompletedProcess[str]


def on(host: str, *command: str) -> Done:
    """Run a command on a server of this name: in a UTS name space of its own."""
    # not `hostname`, which a small Debian has not
    script = "import os, socket, sys; socket.sethostname(sys.argv[1]); os.execvp(sys.argv[2], sys.argv[2:])"
    command = ("unshare", "--uts", sys.executable, "-c", script, host, *command)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def rendered(into: Path, servers: Path = FILES / "servers.toml", secret: str = SECRET) -> Done:
    """What `render.py` says."""
    (into / "secret").write_text(secret + "\n", encoding="utf-8", newline="")
    command = [sys.executable, str(FILES / "render.py"), str(servers), str(into / "secret"), str(into)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
