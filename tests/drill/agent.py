"""The first process of a guest: sets the machine up, then does what the drill asks for over TCP. Standard library only.

One JSON line a connection each way: `{"do": NAME, …}` → `{…}`, or `{"error": why}`. It decides nothing: which step
follows which is the drill's matter, as it would be a person's at a terminal. Nobody but the drill is in its network.

    run      argv, within_s → code, said: a command, to its end
    start    argv, environment, output: a process that goes on; there is one at a time
    end      signal, within_s → code: of the process that was started
    running  → code: None while the process that was started runs
    put      path, text: write a file
    here     nothing: it is up
    off      end this machine, what was written is synced
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

PORT = 7000
RELAYED = (9200, 9300)
"""Ports on the loopback of the guest that are reachable from outside as well: the gateway's ops server and its door."""
READ_BYTES = 65536
REQUEST_BYTES_MAX = 1 << 20

_started: dict[str, subprocess.Popen[bytes]] = {}


def main() -> None:
    """Until the machine is off. Its command line in the kernel's says who it is."""
    words = dict(word.partition("=")[::2] for word in Path("/proc/cmdline").read_text().split())
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    socket.sethostname(words["drill.name"])
    for target, kind in (("/run", "tmpfs"), ("/tmp", "tmpfs"), ("/dev/shm", "tmpfs")):  # noqa: S108 - a guest's own
        Path(target).mkdir(exist_ok=True)
        _sh("mount", "-t", kind, kind, target)
    for directory in ("/run/lock", "/var/lib/drbd", "/var/run/drbd"):
        Path(directory).mkdir(parents=True, exist_ok=True)
    _name_disks()
    _sh("ip", "link", "set", "lo", "up")
    for interface, address in (("eth0", words["drill.front"]), ("eth1", words["drill.back"])):
        _sh("ip", "address", "add", f"{address}/24", "dev", interface)
        _sh("ip", "link", "set", interface, "up")
    for port in RELAYED:
        threading.Thread(target=_listen, args=(words["drill.front"], port, _relay, port), daemon=True).start()
    threading.Thread(target=_listen, args=(words["drill.front"], PORT, _serve), daemon=True).start()
    print("agent: ready", flush=True)
    while True:
        # the first process inherits what others leave behind; those that were started here have somebody who waits
        signal.pause()


def _sh(*command: str) -> None:
    subprocess.run(command, check=True)


def _name_disks() -> None:
    """/dev/disk/NAME for each disk, by the serial that the machine gave it: nobody else names them here."""
    Path("/dev/disk").mkdir(exist_ok=True)
    for block in Path("/sys/block").glob("vd*"):
        name = (block / "serial").read_text().strip()
        if name:
            (Path("/dev/disk") / name).symlink_to(f"/dev/{block.name}")


def _listen(host: str, port: int, handle: Any, *arguments: Any) -> None:
    with socket.create_server((host, port), backlog=128) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=handle, args=(connection, *arguments), daemon=True).start()


# --- the relay


def _relay(outer: socket.socket, port: int) -> None:
    """Between a connection from outside and a port on loopback, until both have said all."""
    with outer:
        try:
            inner = socket.create_connection(("127.0.0.1", port), timeout=10)
        except OSError:
            return
        with inner:
            inner.settimeout(None)
            other = threading.Thread(target=_pump, args=(inner, outer), daemon=True)
            other.start()
            _pump(outer, inner)
            other.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(READ_BYTES):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


# --- what the drill asks for


def _serve(connection: socket.socket) -> None:
    with connection, connection.makefile("rwb") as stream:
        try:
            asked = json.loads(stream.readline(REQUEST_BYTES_MAX))
            said = _DO[asked.pop("do")](**asked)
        except Exception as error:  # noqa: BLE001 - whatever it is, the drill must hear of it
            said = {"error": f"{type(error).__name__}: {error}"}
        try:
            stream.write(json.dumps(said).encode() + b"\n")
            stream.flush()
        except OSError:
            print("agent: nobody listens any more", file=sys.stderr, flush=True)


def _run(argv: list[str], within_s: float) -> dict[str, Any]:
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"code": -1, "said": f"not done after {within_s:g} s"}
    return {"code": done.returncode, "said": done.stdout.decode(errors="replace")}


def _start(argv: list[str], environment: dict[str, str], output: str) -> dict[str, Any]:
    with Path(output).open("ab") as file:
        _started["it"] = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env={**os.environ, **environment}
        )
    return {"pid": _started["it"].pid}


def _end(number: int, within_s: float) -> dict[str, Any]:
    process = _started["it"]
    process.send_signal(number)
    try:
        return {"code": process.wait(within_s)}
    except subprocess.TimeoutExpired:
        return {"code": None}


def _running() -> dict[str, Any]:
    return {"code": _started["it"].poll()}


def _put(path: str, text: str) -> dict[str, Any]:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return {}


def _off() -> dict[str, Any]:
    os.sync()
    threading.Timer(0.2, _power_off).start()
    return {}


def _power_off() -> None:
    subprocess.run(["busybox", "poweroff", "-f"], check=False)


def _here() -> dict[str, Any]:
    return {}


_DO: dict[str, Callable[..., dict[str, Any]]] = {
    "run": _run, "start": _start, "end": _end, "running": _running, "put": _put, "here": _here, "off": _off,
}  # fmt: skip

if __name__ == "__main__":
    main()
