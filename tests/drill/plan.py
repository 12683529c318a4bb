"""What everything is called, where it is, how long it may take: emulation is some twenty times slower than hardware."""

from pathlib import Path
from typing import NamedTuple


class Address(NamedTuple):
    """A server's name and its two addresses."""

    name: str
    front: str
    """Towards hub, processor and the drill."""
    back: str
    """Towards the other server: DRBD has a network of its own."""


OUTSIDE = "10.77.0.1"
"""Hub and processor, on the bridge that the servers' fronts are on."""
SERVERS = (Address("server1", "10.77.0.11", "10.77.1.1"), Address("server2", "10.77.0.12", "10.77.1.2"))

DISKS = ("data1", "data2")
"""Serial numbers of a server's two disks, and their names below /dev/disk in the guest."""
DISK_BYTES = 64 << 20
"""Each; many times what a drill writes. A server that crashed is sent all of it again."""
ARRAY = "/dev/md0"
"""Both disks of a server, RAID-1: losing one of them is below DRBD and costs no copy of another server."""
RESOURCE, MINOR = "fps-sip", 11
DEVICE = f"/dev/drbd{MINOR}"
GROUP = "sip"
MOUNT = f"/var/lib/fps-gateway/{GROUP}"
"""Where `fps-volume` mounts the volume of this group."""
JOURNAL = f"{MOUNT}/journal"
BY_RESOURCE = f"/dev/drbd/by-res/{RESOURCE}/0"
"""The device by the name that udev gives it on a server, and the drill here, where there is no udev."""
REPORTED_ON = SERVERS[1].name
"""There the gateway is told what DRBD says, as in a container (`node.volume.report`); on the other server it asks."""
REPORT = f"/run/fps-volume/{GROUP}/status"
VOLUME_SCRIPT = "/usr/local/sbin/fps-volume"
FENCER = "/usr/local/lib/drill/fence-peer"
DEAD = "/run/fps-peer-is-dead"
"""Made by whoever has seen that the other server is off: without it, DRBD lets nobody be primary alone."""
FENCER_TEXT = f"""\
#!/bin/sh
# DRBD's question: is the other server off? 7: yes, for certain. Anything else: nobody knows, so nobody writes.
[ -e {DEAD} ] && exit 7
exit 1
"""
CODE = "/usr/local/lib/drill"
PACKAGES = "/usr/local/lib/drill-packages"
ETC = "/etc/fps-gateway"
GATEWAY_LOG = "/var/log/gateway.log"
OPS_PORT, SUBMIT_PORT = 9200, 9300

DEBIAN = (
    "linux-image-amd64", "drbd-utils", "udev", "e2fsprogs", "mdadm", "softhsm2", "python3", "iproute2", "busybox",
)  # fmt: skip
MODULES = (
    "crc32c_generic", "virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "ext4", "overlay", "raid1", "drbd",
)  # fmt: skip
MEMORY_MIB = 768

BOOT_WITHIN_S = 600.0
STEP_WITHIN_S = 240.0
"""One command in a guest."""
GATEWAY_WITHIN_S = 600.0
"""From its start until it is signed on at both sites."""
WELL_WITHIN_S = 600.0
"""Until servers have found each other and are in sync again."""
SETTLED_WITHIN_S = 600.0
"""Until every payment has its outcome, and is told."""

HERE = Path(__file__).parent
TOP = HERE.parent.parent
DRBD_COMMON = "global { usage-count no; }\n"
RESOURCE_FILE = TOP / "compose/drbd/two-nodes.res"
VOLUME_SOURCE = TOP / "compose/drbd/fps-volume"
