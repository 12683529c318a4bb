"""Unwrapping in SoftHSM, one worker, frame by frame: the keys left in the token, and the refusals."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.cmac import CMAC

from gateway import config
from gateway.payments.work import Install
from gateway.signer import messages
from gateway.signer.keys import TokenKeys
from gateway.signer.mechanisms import by_number
from gateway.signer.messages import Held, Shown, Transport
from gateway.signer.outage import TokenOutage
from gateway.signer.tokens import MECHANISMS
from gateway.signer.unwrapping import Unwrapping
from hsm import reference
from hsm.layout import Layout, find_module
from loadtest.hub.keys import CheckMethod, check_value, wrap
from tests.signer.running import Running, start_of

pytestmark = pytest.mark.system

LOOK = """
import json, sys, pkcs11
from pkcs11 import Attribute as A, ObjectClass
module, pin_file = sys.argv[1:]
with pkcs11.lib(module).get_token(token_label="fps-1").open(user_pin=open(pin_file).read()) as session:
    found = session.get_objects({A.CLASS: ObjectClass.SECRET_KEY})
    wanted = [A.TOKEN, A.PRIVATE, A.SENSITIVE, A.EXTRACTABLE, A.SIGN, A.VERIFY, A.ENCRYPT, A.DECRYPT, A.WRAP, A.UNWRAP, A.DERIVE]
    print(json.dumps([[key.label, [each.name for each in wanted if key[each]]] for key in found]))
"""  # noqa: E501 (a program in a string)


class Token:
    """A token of its own and a worker on it."""

    def __init__(self, template: Path, folder: Path, algorithm: str) -> None:
        shutil.copytree(template, folder)
        self.layout = Layout(folder, find_module(), 3, 0, "fps", config.Mac())
        self.layout.conf.write_text(self.layout.conf_text())
        self.values = {label: bytes.fromhex(v) for label, v in json.loads(self.layout.keys_file.read_text()).items()}
        self.algorithm = algorithm
        self.transport = Transport("fps-transport", MECHANISMS["aes-key-wrap"])
        self.changes: dict[str, Any] = {}

    def start(self, *keys: Held) -> tuple[Running, int, bytes]:
        """A worker and its first words."""
        running = Running(self.layout.dir)
        start = start_of(
            "fps-1", self.layout.dir, algorithm=self.algorithm, keys=keys, transport=self.transport,
            install_within_s=5.0, **self.changes,
        )  # fmt: skip
        return running, *running.ask(messages.json_frame(messages.START, start))

    def shown(self, *keys: Held) -> Shown:
        """What a worker shows that is told to have these."""
        running, kind, body = self.start(*keys)
        running.end()
        assert kind == messages.HELLO, body
        return msgspec.json.decode(body, type=Shown)

    def outage(self, *keys: Held) -> str:
        """Why a worker cannot serve that is told to have these."""
        running, kind, body = self.start(*keys)
        running.end()
        assert kind == messages.FAULT
        return str(json.loads(body)["why"])

    def look(self) -> dict[str, list[list[str]]]:
        """What lies in the token: by label, the true attributes of each object."""
        looked = subprocess.run(
            [sys.executable, "-c", LOOK, self.layout.module, str(self.layout.pin_file("fps-1"))],
            check=True, capture_output=True, text=True, env={**os.environ, "SOFTHSM2_CONF": str(self.layout.conf)},
        )  # fmt: skip
        found: dict[str, list[list[str]]] = {}
        for label, attributes in json.loads(looked.stdout):
            found.setdefault(label, []).append(attributes)
        return found

    def make(self, value: bytes = b"", method: CheckMethod = "mac-zeros", **options: Any) -> tuple[Install, bytes]:
        """A key as the scheme sends it, and its value."""
        value = value or os.urandom(16)
        check = check_value("aes-cmac", value, 6, method)
        wrapped = wrap(self.values["fps-transport"], value, **options)
        return Install(f"fps-own.{check.lower()}", wrapped, check), value


@pytest.fixture
def token(provisioned: Callable[[str], Path], tmp_path: Path) -> Token:
    return Token(provisioned("aes-cmac"), tmp_path / "hsm", "aes-cmac")


def test_what_is_left_in_the_token(token: Token) -> None:
    """One object: permanent, sensitive, not extractable, and it may only sign. Again, the same one."""
    before = token.look()
    key, value = token.make()
    for _ in range(2):
        shown = token.shown(Held(key))
        assert shown.values == {key.label: reference.mac("aes-cmac", value, messages.CHECK_TEXT).hex()}
        assert shown.checks == {key.label: check_value("aes-cmac", value, 16)}
    assert token.look() == {**before, key.label: [["TOKEN", "PRIVATE", "SENSITIVE", "SIGN"]]}


def test_a_refused_key_leaves_nothing(token: Token) -> None:
    """Neither one of a wrong check value, nor one that does not unwrap."""
    before = token.look()
    key, _ = token.make()
    wrong = Install("fps-own.000000", key.wrapped, "000000")
    spoilt = Install("fps-own.ffffff", bytes(24), "FFFFFF")
    shown = token.shown(*messages.held("fps-own"), Held(wrong, needed=False), Held(spoilt, needed=False))
    assert shown.failures == {
        "fps-own.000000": f'wrong check value: "fps-own.000000" unwraps to a key of {key.check}',
        "fps-own.ffffff": '"fps-own.ffffff" cannot be unwrapped: GeneralError',
    }
    assert set(shown.values) == {"fps-own"}
    assert token.look() == before
    assert token.outage(Held(wrong)) == shown.failures["fps-own.000000"]


def test_an_operation_with_a_key_that_is_not_there_fails_alone(token: Token) -> None:
    """The others of its batch are done."""
    missing = Install("fps-own.ffffff", bytes(24), "FFFFFF")
    running, kind, _ = token.start(Held(missing, needed=False), *messages.held("fps-own"))
    assert kind == messages.HELLO
    _, body = running.ask(messages.batch_frame(7, [(1, b"", b"text"), (0, b"", b"text"), (1, b"", b"text")]))
    made = reference.mac("aes-cmac", token.values["fps-own"], b"text")
    assert messages.results(body) == (
        7, [(messages.OK, made), (messages.FAILED, messages.NO_MAC), (messages.OK, made)],
    )  # fmt: skip
    running.end()


def test_keys_change_while_it_serves(token: Token) -> None:
    """A batch names keys by their place in the last list."""
    running, _, _ = token.start(*messages.held("fps-hub", "fps-own"))
    key, value = token.make()
    kind, body = running.ask(messages.json_frame(messages.KEYS, (Held(key), *messages.held("fps-own"))))
    assert (kind, set(json.loads(body)["values"])) == (messages.HELLO, {key.label, "fps-own"})
    _, body = running.ask(messages.batch_frame(1, [(0, b"", b"text"), (1, b"", b"text")]))
    expected = [reference.mac("aes-cmac", each, b"text") for each in (value, token.values["fps-own"])]
    assert [made for _, made in messages.results(body)[1]] == expected
    kind, body = running.ask(messages.frame(messages.PROBE))
    assert (kind, json.loads(body)["checks"]) == (messages.HELLO, {})
    running.end()


def test_workers_that_are_told_a_key_at_the_same_moment_all_take_it(token: Token) -> None:
    """Gateways that share a token. A twin that another process is writing is seen half made: no reason to refuse a good
    key. However many objects come of it, all are the key.
    """
    workers = [Running(token.layout.dir) for _ in range(4)]
    base = messages.held("fps-hub", "fps-own")
    start = start_of("fps-1", token.layout.dir, install_within_s=5.0, transport=token.transport)
    for worker in workers:
        assert worker.ask(messages.json_frame(messages.START, start))[0] == messages.HELLO
    failures: list[str] = []
    for _ in range(15):
        key, value = token.make()
        frame = messages.json_frame(messages.KEYS, (*base, Held(key, needed=False)))
        gate = threading.Barrier(len(workers))

        def tell(worker: Running, frame: bytes = frame, gate: threading.Barrier = gate) -> Shown:
            gate.wait(20)
            kind, body = worker.ask(frame)
            assert kind == messages.HELLO, body
            return msgspec.json.decode(body, type=Shown)

        with ThreadPoolExecutor(len(workers)) as threads:
            for shown in threads.map(tell, workers):
                failures += shown.failures.values()
                made = reference.mac("aes-cmac", value, messages.CHECK_TEXT).hex()
                assert shown.values.get(key.label, made) == made
    for worker in workers:
        worker.end()
    assert failures == []
    assert token.shown(Held(key)).failures == {}


TWIN = """
import sys, pkcs11
from hsm.provision import KeyType, _template
module, pin_file, label, *values = sys.argv[1:]
with pkcs11.lib(module).get_token(token_label="fps-1").open(rw=True, user_pin=open(pin_file).read()) as session:
    for value in values:
        session.create_object(_template(KeyType.AES, label, bytes.fromhex(value)))
"""


def plant(token: Token, label: str, *values: bytes) -> None:
    """Put keys into the token, as a ceremony would."""
    pin_file = str(token.layout.pin_file("fps-1"))
    command = [sys.executable, "-c", TWIN, token.layout.module, pin_file, label, *(value.hex() for value in values)]
    subprocess.run(command, check=True, env={**os.environ, "SOFTHSM2_CONF": str(token.layout.conf)})


def test_twins_are_one_key_and_strangers_are_none(token: Token) -> None:
    """Objects of one label: the same value twice does, another value is refused."""
    key, value = token.make()
    plant(token, key.label, value, value)
    assert set(token.shown(Held(key)).values) == {key.label}
    plant(token, key.label, bytes(16))
    assert token.outage(Held(key)) == f'another key is labelled "{key.label}" already'
    assert token.outage(*messages.held(key.label)) == f'more than one secret key labelled "{key.label}"'


@pytest.mark.parametrize("whole", [0, 1])
def test_what_a_killed_process_left_half_made_is_nothing(token: Token, whole: int) -> None:
    """For ever: a key beside it works, with one that is whole already and without."""
    key, value = token.make()
    plant(token, key.label, b"", *[value] * whole)
    for _ in range(2):
        assert token.shown(Held(key)).values == {
            key.label: reference.mac("aes-cmac", value, messages.CHECK_TEXT).hex(),
        }  # fmt: skip
    assert len(token.look()[key.label]) == 2


def test_a_key_that_serves_may_come_under_another_transport_key(token: Token) -> None:
    """The new value is proved; one that cannot be is refused, and the key goes on."""
    key, value = token.make()
    running, _, _ = token.start(Held(key))
    made = reference.mac("aes-cmac", value, b"text")
    other = Install(key.label, wrap(bytes(32), value), key.check)
    kind, body = running.ask(messages.json_frame(messages.KEYS, (Held(other, needed=False),)))
    assert kind == messages.HELLO
    shown = msgspec.json.decode(body, type=Shown)
    assert shown.failures == {key.label: f'"{key.label}" cannot be unwrapped: GeneralError'}
    assert set(shown.values) == {key.label}
    _, body = running.ask(messages.batch_frame(1, [(0, b"", b"text")]))
    assert messages.results(body) == (1, [(messages.OK, made)])
    for needed in (False, True):
        _, body = running.ask(messages.json_frame(messages.KEYS, (Held(key, needed=needed),)))
        shown = msgspec.json.decode(body, type=Shown)
        assert (set(shown.values), shown.failures) == ({key.label}, {})
    running.end()


def test_a_key_that_is_there_outlives_its_transport_key(token: Token) -> None:
    """A new transport key does not unwrap what the old one wrapped: the check value shows that it is that key."""
    key, value = token.make()
    rewrapped = Install(key.label, wrap(bytes(32), value), key.check)
    assert "cannot be unwrapped" in token.outage(Held(rewrapped))
    token.shown(Held(key))
    assert set(token.shown(Held(rewrapped)).values) == {key.label}
    token.transport = Transport("gone", MECHANISMS["aes-key-wrap"])
    assert set(token.shown(Held(key)).values) == {key.label}
    assert token.outage(Held(token.make()[0])) == 'no transport key labelled "gone"'
    token.transport = Transport("fps-own", MECHANISMS["aes-key-wrap"])
    assert token.outage(Held(token.make()[0])) == 'the transport key "fps-own" may not unwrap'


def test_other_wrappings_and_check_values(token: Token) -> None:
    """RFC 5649 in place of RFC 3394, and a block of zeros enciphered in place of a MAC over zeros."""
    key, value = token.make(method="encrypt-zeros", padded=True)
    token.transport = Transport("fps-transport", MECHANISMS["aes-key-wrap-pad"], check_value="encrypt-zeros")
    assert token.shown(Held(key)).values == {key.label: reference.mac("aes-cmac", value, messages.CHECK_TEXT).hex()}
    assert token.look()[key.label] == [["TOKEN", "PRIVATE", "SENSITIVE", "SIGN"]]
    wrong = Install("fps-own.000000", key.wrapped, "000000")
    assert token.outage(Held(wrong)) == f'wrong check value: "fps-own.000000" unwraps to a key of {key.check}'
    imported = token.shown(*messages.held("fps-own"))
    assert imported.checks == {"fps-own": check_value("aes-cmac", token.values["fps-own"], 6, "encrypt-zeros")}


@pytest.mark.parametrize("length", [16, 24])
def test_retail_keys_come_in_band_where_the_token_has_a_mechanism(
    provisioned: Callable[[str], Path], tmp_path: Path, length: int
) -> None:
    """SoftHSM has none (DES3-CMAC stands for it): there a key cannot be put together from halves in the token."""
    token = Token(provisioned("des3-retail"), tmp_path / "hsm", "des3-retail")
    value = os.urandom(length)
    wrapped = wrap(token.values["fps-transport"], value)
    cmac = CMAC(TripleDES((value + value)[:24]))
    cmac.update(bytes(16))
    check = cmac.finalize()[:3].hex().upper()
    key = Install(f"fps-own.{check.lower()}", wrapped, check)
    why = "a key comes in band only where the token has a retail MAC mechanism of its own"
    assert token.outage(*messages.held("fps-own"), Held(key)) == why
    token.changes = {"retail_mechanism": 0x138}
    assert set(token.shown(Held(key)).values) == {key.label}


@pytest.mark.parametrize(
    ("wrapping", "vector", "length", "key_type"),
    [
        ("des3-ecb", b"", 16, "DES2"),
        ("des3-ecb", b"", 24, "DES3"),
        ("des3-cbc", bytes(8), 16, "DES2"),
        (0, b"", 32, "DES3"),
    ],
)
def test_a_vendors_wrapping_is_asked_for_by_its_number(
    wrapping: str | int, vector: bytes, length: int, key_type: str
) -> None:
    """SoftHSM knows no triple DES for wrapping: what reaches the token is looked at."""
    asked: list[Any] = []

    class Key:
        def unwrap_key(self, _class: int, key_type: Any, wrapped: bytes, **options: Any) -> None:
            asked.append((key_type.name, wrapped, int(options["mechanism"]), options["mechanism_param"]))

    number = MECHANISMS[wrapping] if isinstance(wrapping, str) else 0x80001234
    transport = Transport("fps-transport", number, vector)
    start = start_of("fps-1", Path(), algorithm="des3-retail", transport=transport)
    keys = TokenKeys(None, start.algorithm, start.retail_mechanism)
    Unwrapping(keys, start)._unwrap(Key(), Install("fps-own.x", bytes(length), "00"), {})
    assert asked == [(key_type, bytes(length), number, vector or None)]
    assert int(by_number(0x80001234)) == 0x80001234


def test_an_outage_is_its_words() -> None:
    """`hsm` prints it so."""
    assert str(TokenOutage("no-key", "why")) == "why"
