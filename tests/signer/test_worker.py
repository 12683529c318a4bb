"""The worker process itself: the MACs that it makes, the keys that it shows, and its end."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pkcs11
import pytest
import trio
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.cmac import CMAC

from gateway import config
from gateway.payments.work import MacJob as Job
from gateway.signer import messages, process
from gateway.signer.mechanisms import vendor_retail
from hsm import reference
from hsm.layout import Layout, find_module
from tests.signer.running import Running, start_of

pytestmark = pytest.mark.system
LENGTHS = [*range(1, 34), 64, 100, 452, 1000, 4096, 30000]


@pytest.fixture
def kind() -> str:
    return "softhsm"


@pytest.fixture(params=["aes-cmac", "hmac-sha256", "des3-retail"])
def algorithm(request: pytest.FixtureRequest) -> config.Mac:
    return config.Mac(algorithm=request.param)


async def test_a_token_makes_what_the_definition_says(world: Any) -> None:
    """Each algorithm, data of every length modulo the block and up to some KiB, against an independent computation."""
    signer = await world.start()
    deadline_s = trio.current_time() + 10
    keys = signer._tokens.wanted.needed
    jobs = [Job(key, os.urandom(length), deadline_s=deadline_s) for length in LENGTHS for key in keys]
    signer.submit(jobs)
    await world.all_done(jobs)
    assert [len(job.data) for job in jobs if not world.right(job)] == []


def test_the_retail_mac_reference_is_the_published_one() -> None:
    """ISO 9797-1 algorithm 3, padding method 1, the standard's own example: key and text of its annex."""
    key = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
    text = b"Now is the time for all "
    assert reference.retail_mac(key, text).hex().upper() == "A1C72E74EA3FA9B6"


@pytest.fixture
def folder(provisioned: Callable[[str], Path]) -> Path:
    return provisioned("aes-cmac")


@pytest.fixture
def running(folder: Path) -> Any:
    worker = Running(folder)
    yield worker
    worker.channel.close()
    assert worker.process.wait(20) == 0


def test_it_ends_when_its_socket_closes(running: Running, folder: Path) -> None:
    """However its gateway ended, no worker is left over (the fixture waits for the end)."""
    assert running.ask(messages.json_frame(messages.START, start_of("fps-1", folder)))[0] == messages.HELLO


@pytest.mark.parametrize(("options", "code"), [([], 0), (["-O"], 78)], ids=["environment", "option"])
def test_it_never_works_without_assertions(options: list[str], code: int) -> None:
    """It hears no environment that takes them out; a command line that does is refused, in words for the pool."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        python, *arguments = process.command(theirs.fileno())
        ours.shutdown(socket.SHUT_WR)  # nobody asks anything: it has nothing to do, and ends
        done = subprocess.run(
            [python, *options, *arguments], pass_fds=(theirs.fileno(),), env={**os.environ, "PYTHONOPTIMIZE": "2"},
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == code
    assert (b"assertions" in done.stderr) == bool(code)


def test_it_ignores_the_signals_of_a_terminal(running: Running, folder: Path) -> None:
    """Ctrl-C and a stopping supervisor reach the whole process group; the gateway still needs MACs while it drains."""
    running.ask(messages.json_frame(messages.START, start_of("fps-1", folder)))
    running.process.send_signal(signal.SIGINT)
    running.process.send_signal(signal.SIGTERM)
    assert running.ask(messages.batch_frame(1, [(0, b"", b"text")]))[0] == messages.RESULT
    assert running.ask(messages.frame(messages.PROBE))[0] == messages.HELLO


def test_the_pin_shows_nowhere(running: Running, folder: Path) -> None:
    """Neither in the arguments nor in the environment of the process."""
    running.ask(messages.json_frame(messages.START, start_of("fps-1", folder)))
    pin = (folder / "pins" / "fps-1.pin").read_bytes()
    for name in ("cmdline", "environ"):
        assert pin not in Path(f"/proc/{running.process.pid}/{name}").read_bytes()


def test_a_pin_file_may_be_a_credential_and_end_with_a_newline(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """`$CREDENTIALS_DIRECTORY` is where systemd puts credentials; editors end files with a newline."""
    (tmp_path / "pin").write_text((folder / "pins" / "fps-2.pin").read_text() + "\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    worker = Running(folder)
    start = start_of("fps-2", folder, pin_file="$CREDENTIALS_DIRECTORY/pin")
    assert worker.ask(messages.json_frame(messages.START, start))[0] == messages.HELLO
    worker.channel.close()
    assert worker.process.wait(20) == 0


@pytest.mark.parametrize(
    ("changes", "state", "why"),
    [
        ({"label": "nobody"}, "no-token", 'no such token: label "nobody"'),
        ({"keys": messages.held("fps-hub", "gone")}, "no-key", 'no secret key labelled "gone"'),
        ({"module": "/nowhere/lib.so"}, "no-module", "module not found: /nowhere/lib.so"),
        ({"module": "/etc/hostname"}, "no-module", "module cannot be loaded: /etc/hostname"),
        ({"pin_file": "/nowhere/pin"}, "no-pin", "the PIN file cannot be read: FileNotFoundError"),
        ({"pin_file": "/dev/null"}, "no-pin", "the PIN file holds no PIN"),
        ({"algorithm": "hmac-sha256"}, "no-key", 'the key "fps-hub" is not one for hmac-sha256'),
    ],
)
def test_it_says_in_words_why_it_cannot_serve(
    running: Running, folder: Path, changes: dict[str, Any], state: str, why: str
) -> None:
    """And then ends."""
    kind, body = running.ask(messages.json_frame(messages.START, start_of("fps-1", folder, **changes)))
    assert (kind, json.loads(body)) == (messages.FAULT, {"state": state, "why": why})


VENDOR = """
import sys, pkcs11
from hsm.provision import KeyType, _template
module, pin_file, value = sys.argv[1:]
with pkcs11.lib(module).get_token(token_label="fps-1").open(rw=True, user_pin=open(pin_file).read()) as session:
    session.create_object(_template(KeyType.DES3, "sign-only", bytes.fromhex(value)))
"""


def test_a_vendors_mechanism_is_asked_for_by_its_number(provisioned: Callable[[str], Path], tmp_path: Path) -> None:
    """The number reaches the token and its result comes back. SoftHSM has no X9.19: DES3-CMAC stands for it."""
    shutil.copytree(provisioned("des3-retail"), tmp_path / "hsm")
    layout = Layout(tmp_path / "hsm", find_module(), 3, 0, "fps", config.Mac())
    layout.conf.write_text(layout.conf_text())
    value = os.urandom(24)
    command = [sys.executable, "-c", VENDOR, layout.module, str(layout.pin_file("fps-1")), value.hex()]
    subprocess.run(command, check=True, env={**os.environ, "SOFTHSM2_CONF": str(layout.conf)})
    worker = Running(layout.dir)
    start = start_of(
        "fps-1", layout.dir, algorithm="des3-retail", retail_mechanism=0x138, keys=messages.held("sign-only")
    )
    kind, body = worker.ask(messages.json_frame(messages.START, start))
    cmac = CMAC(TripleDES(value))
    cmac.update(messages.CHECK_TEXT)
    assert (kind, json.loads(body)["values"]) == (messages.HELLO, {"sign-only": cmac.finalize().hex()})
    worker.channel.close()
    assert worker.process.wait(20) == 0
    unknown = Running(layout.dir)
    start = start_of(
        "fps-1", layout.dir, algorithm="des3-retail", retail_mechanism=0x80000135, keys=messages.held("sign-only")
    )
    kind, body = unknown.ask(messages.json_frame(messages.START, start))
    why = 'des3-retail under "sign-only" fails: MechanismInvalid'
    assert (kind, json.loads(body)) == (messages.FAULT, {"state": "failing", "why": why})
    assert unknown.process.wait(20) == 0
    unknown.channel.close()


@pytest.mark.parametrize("takes_length", [True, False])
def test_a_vendors_mechanism_is_told_the_length_if_it_takes_one(*, takes_length: bool) -> None:
    """The general form of X9.19 wants CK_MAC_GENERAL_PARAMS, the plain form refuses it."""
    asked = []

    class Key:
        def sign(self, data: bytes, *, mechanism: int, mechanism_param: bytes | None, buffer_size: int) -> bytes:
            if mechanism_param is not None and not takes_length:
                raise pkcs11.MechanismParamInvalid
            asked.append((int(mechanism), mechanism_param))
            return bytes(8)

    assert vendor_retail(Key(), 0x80000150)(b"text") == bytes(8)
    assert set(asked) == {(0x80000150, (8).to_bytes(8, sys.byteorder) if takes_length else None)}


async def test_a_batch_larger_than_the_sockets_buffer_goes_through(folder: Path) -> None:
    """What cannot be written at once waits, and is written when the worker reads."""
    layout = Layout(folder, find_module(), 3, 0, "fps", config.Mac())
    worker = await process.start(layout.settings()[0])
    data = [os.urandom(60000) for _ in range(15)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.pump)
        worker.send(messages.json_frame(messages.START, start_of("fps-1", folder)))
        for number in range(4):
            worker.send(messages.batch_frame(number, [(1, b"", each) for each in data]))
        frames: list[tuple[int, bytes]] = []
        with trio.fail_after(20):
            while len(frames) < 5:
                frames += await worker.receive()
        nursery.cancel_scope.cancel()
    key = bytes.fromhex(json.loads(layout.keys_file.read_text())["fps-own"])
    wanted = [(messages.OK, reference.mac("aes-cmac", key, each)) for each in data]
    assert [messages.results(body) for _, body in frames[1:]] == [(number, wanted) for number in range(4)]
    assert await worker.end(kill=False) == "ended with status 0"
