"""What the drill knows without a virtual machine; and, when `FPS_DRILL_BOOT=1` asks for it, that one boots."""

import os
import re
import stat
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.config import file as config_file
from loadtest.runs.banks import BANKS, Bank
from tests.drill import cpio, images, plan, settings
from tests.drill.world import WORLD


def test_the_drill_and_its_resource_file_agree() -> None:
    """Names, addresses, disk and the answer to DRBD's question stand in both."""
    text = plan.RESOURCE_FILE.read_text()
    for server in plan.SERVERS:
        assert re.search(rf"on {server.name} {{\s+address {server.back}:", text), server
    for words in (f"resource {plan.RESOURCE} ", f"device {plan.DEVICE} minor {plan.MINOR};", f"disk {plan.ARRAY};"):
        assert words in text
    assert f'fence-peer "{plan.FENCER}";' in text
    assert f"[ -e {plan.DEAD} ] && exit 7" in plan.FENCER_TEXT


def test_a_kernel_module_is_loaded_after_all_that_it_needs() -> None:
    depends = "k/one-half.ko: k/two.ko k/three.ko\nk/two.ko: k/three.ko\nk/three.ko:\n"
    assert images.load_order(depends, ("two", "one_half")) == ["k/three.ko", "k/two.ko", "k/one-half.ko"]
    with pytest.raises(KeyError):
        images.load_order(depends, ("four",))


def test_the_packages_of_a_lock_are_read() -> None:
    names = images.locked((plan.TOP / "requirements.lock").read_text())
    assert {"trio", "msgspec", "python-pkcs11"} <= set(names)
    assert "pytest" not in names


def unpacked(packed: bytes) -> list[tuple[str, int, bytes]]:
    """Path, mode and content of each entry, read as the kernel's documentation says it reads them."""
    entries: list[tuple[str, int, bytes]] = []
    at = 0
    while True:
        assert at % 4 == 0
        assert packed[at : at + 6] == b"070701"
        fields = [int(packed[at + 6 + 8 * number : at + 14 + 8 * number], 16) for number in range(13)]
        name = packed[at + 110 : at + 110 + fields[11]]
        assert name.endswith(b"\0")
        begin = at + 110 + fields[11] + -(110 + fields[11]) % 4
        at = begin + fields[6] + -fields[6] % 4
        if name == b"TRAILER!!!\0":
            assert at == len(packed)
            return entries
        entries.append((name[:-1].decode(), fields[1], packed[begin : begin + fields[6]]))


def test_an_archive_has_each_folder_before_what_is_in_it() -> None:
    file = stat.S_IFREG | 0o644
    packed = cpio.archive({"init": (file | 0o111, b"#!/bin/sh\n"), "a/b/one": (file, b"123"), "a/two": (file, b"")})
    assert unpacked(packed) == [
        ("init", file | 0o111, b"#!/bin/sh\n"),
        ("a", stat.S_IFDIR | 0o755, b""),
        ("a/b", stat.S_IFDIR | 0o755, b""),
        ("a/b/one", file, b"123"),
        ("a/two", file, b""),
    ]


def test_the_configuration_in_a_guest_is_a_good_one(tmp_path: Path) -> None:
    """Made from what a world writes, with its tokens: the gateway takes it."""
    bank = Bank(BANKS[0], tmp_path, WORLD, first=True)
    tokens = tmp_path / "hsm"
    bank._tokens["sip"] = (
        f'[[node.token]]\nname = "a"\nlabel = "a"\nmodule = "libsofthsm2.so"\npin_file = "{tokens}/pins/a"\n'
        f'environment = {{ SOFTHSM2_CONF = "{tokens}/softhsm2.conf" }}\n'
    )
    (gateway,) = bank.gateways
    gateway.write_configuration({"a": 9301, "b": 9302})
    outside = tomllib.loads(gateway.configuration.read_text())
    inside = tmp_path / "inside.toml"
    inside.write_text(settings.inside(outside, str(tokens)))
    read = config_file.load(inside)
    assert [(hub.host, hub.port) for hub in read.node.hub] == [(plan.OUTSIDE, 9301), (plan.OUTSIDE, 9302)]
    assert read.node.processor.url == f"http://{plan.OUTSIDE}:{bank.processor_port}"
    assert read.node.journal.dir == plan.JOURNAL
    assert read.node.volume is not None
    assert (read.node.volume.resource, read.node.volume.device) == (plan.RESOURCE, ""), "udev's name of it"
    assert read.node.token[0].pin_file == f"{plan.ETC}/hsm/pins/a"
    assert read.node.token[0].environment == {"SOFTHSM2_CONF": f"{plan.ETC}/hsm/softhsm2.conf"}


@pytest.mark.system
@pytest.mark.skipif("FPS_DRILL_BOOT" not in os.environ, reason="takes minutes: FPS_DRILL_BOOT=1 asks for it")
def test_a_drill_ends_when_it_is_interrupted_and_leaves_nothing(tmp_path: Path) -> None:
    """Two real guests boot; SIGTERM when one is there ends everything, and the exit code says so."""
    command = [sys.executable, "-m", "tests.drill", "--dir", str(tmp_path)]
    with subprocess.Popen(command, cwd=plan.TOP, stdout=subprocess.PIPE, text=True) as drill:
        assert drill.stdout is not None
        try:
            assert any("is up" in line for line in drill.stdout), "a guest boots"
        finally:
            drill.terminate()
        rest = drill.stdout.read()
    assert drill.returncode == 130, rest
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            assert str(tmp_path) not in path.read_text(), "a process is left"
