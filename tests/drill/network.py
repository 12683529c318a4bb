"""Two bridges in the drill's own network namespace: the front (hub, processor, control) and the back (DRBD)."""

import subprocess

from tests.drill.plan import OUTSIDE, SERVERS, Address
from tests.machines import roots

FRONT, BACK = "front", "back"


def tap(address: Address, bridge: str) -> str:
    """The name of a server's interface on a bridge, as seen from outside."""
    return f"{bridge}-{address.name[-1]}"


def make() -> None:
    """Raises CalledProcessError where this is not allowed, or there already."""
    _ip("link", "set", "lo", "up")
    for bridge in (FRONT, BACK):
        _ip("link", "add", bridge, "type", "bridge")
        _ip("link", "set", bridge, "up")
        for address in SERVERS:
            name = tap(address, bridge)
            _ip("tuntap", "add", name, "mode", "tap")
            _ip("link", "set", name, "master", bridge, "up")
    _ip("address", "add", f"{OUTSIDE}/24", "dev", FRONT)


def split() -> None:
    """The servers do not hear each other any more; everybody else goes on to hear both."""
    for address in SERVERS:
        _ip("link", "set", tap(address, BACK), "nomaster")


def heal() -> None:
    """Undo a split."""
    for address in SERVERS:
        _ip("link", "set", tap(address, BACK), "master", BACK)


def _ip(*arguments: str) -> None:
    subprocess.run([roots.command("ip", "iproute2"), *arguments], check=True)
