"""Makes development tokens step by step. A step that was done is not done again, so a second run changes nothing.

Key values are written to the key file, and PINs to their files, before any token gets them. So the next run completes
one that was interrupted. A mismatch (another algorithm's keys, another value, a PIN that the token refuses) is refused
with its place, and nothing is overwritten.
"""

import ctypes
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pkcs11
from pkcs11 import Attribute, KeyType, ObjectClass, TokenFlag

from gateway.errors import Refusal
from gateway.signer import slots
from gateway.signer.messages import Start, held
from gateway.signer.outage import TokenOutage
from gateway.signer.pin import NoPin, read_pin
from gateway.signer.token import OpenToken
from hsm import reference
from hsm.layout import Layout

PIN_DIGITS = 12
"""Digits of a random PIN; SoftHSM takes 4 to 255."""
LABEL_BYTES = 32
"""CK_TOKEN_INFO.label, padded with spaces."""

_KEY_TYPES = {
    "aes-cmac": KeyType.AES,
    "hmac-sha256": KeyType.GENERIC_SECRET,
    "des3-retail": KeyType.DES3,
}

Say = Callable[[str], None]


class KeysFrom(NamedTuple):
    """The key file of another site, or of another payment group."""

    path: Path
    scheme_only: bool = False
    """Take the scheme's keys, and not the seal key, which is each group's own."""


def provision(layout: Layout, say: Say, keys_from: KeysFrom | None = None) -> int:
    """Make everything that is missing, `say` each thing done, and return their number. Raises `Refusal`."""
    os.umask(0o077)
    done: list[str] = []

    def did(what: str) -> None:
        done.append(what)
        say(what)

    for path in (layout.dir, layout.token_dir, layout.dir / "pins"):
        if not path.is_dir():
            path.mkdir(mode=0o700, parents=True)
            did(f"made {path}")
    if not layout.ignore.exists():
        _write(layout.ignore, "# keys and PINs: nothing in this directory is for git\n*\n")
        did(f"wrote {layout.ignore}")
    if not layout.conf.exists() or layout.conf.read_text() != layout.conf_text():
        _write(layout.conf, layout.conf_text())
        did(f"wrote {layout.conf}")
    values = _key_values(layout, keys_from, did)
    for name in layout.names:
        for role in ("so-pin", "pin"):
            if not layout.pin_file(name, role).exists():
                _write(layout.pin_file(name, role), "".join(secrets.choice("0123456789") for _ in range(PIN_DIGITS)))
                did(f"wrote {layout.pin_file(name, role)}")
    library = _library(layout)
    for name in layout.names:
        _token(layout, library, name, did)
        _keys(layout, library, name, _wanted(layout, values), did)
        _compare(layout, name, values)
    return len(done)


def _key_values(layout: Layout, keys_from: KeysFrom | None, did: Say) -> dict[str, bytes]:
    """The values of the key file, completed with new random ones, or with those of another key file."""
    known = _read_values(layout.keys_file) if layout.keys_file.exists() else {}
    given = _read_values(keys_from.path) if keys_from else {}
    own = {layout.mac.seal_key} if keys_from and keys_from.scheme_only else set()
    values = {}
    for label, length in layout.lengths.items():
        taken = None if label in own else given.get(label)
        if keys_from and taken is not None and known.get(label, taken) != taken:
            raise Refusal(f'{layout.keys_file}: "{label}" is another key than in {keys_from.path}')
        value = known.get(label) or taken
        if value is None:
            if keys_from and label not in own:
                raise Refusal(f'{keys_from.path}: holds no key "{label}"')
            value = secrets.token_bytes(length)
        if len(value) != length:
            wanting = "a transport key" if label == layout.transport_key else layout.mac.algorithm
            raise Refusal(f'"{label}" has {len(value)} bytes, {wanting} wants {length}: use another --dir')
        values[label] = value
    missing = [label for label in values if label not in known]
    if missing:
        _write(layout.keys_file, json.dumps({label: value.hex() for label, value in {**known, **values}.items()}))
        did(f"wrote {layout.keys_file}: {', '.join(missing)}")
    return values


def _read_values(path: Path) -> dict[str, bytes]:
    try:
        return {
            label: bytes.fromhex(value) for label, value in json.loads(path.read_text(encoding="utf-8-sig")).items()
        }
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise Refusal(f"{path}: not a key file: {type(error).__name__}") from error


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all, readable by its owner only."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    part.replace(path)


def _library(layout: Layout) -> Any:
    # SoftHSM reads this when it is loaded; this process serves one directory only
    os.environ["SOFTHSM2_CONF"] = str(layout.conf)
    try:
        return pkcs11.lib(layout.module)
    except pkcs11.PKCS11Error as error:
        raise Refusal(f"{layout.module}: cannot be loaded: {type(error).__name__}") from error


def _token(layout: Layout, library: Any, name: str, did: Say) -> None:
    """Make sure that the token exists and has both PINs."""
    so_pin = _pin(layout, name, "so-pin")
    if _find(library, name) is None:
        seen = slots.walk(library, name).tokens
        free = next((token.slot for token in seen if not token.flags & TokenFlag.TOKEN_INITIALIZED), None)
        if free is None:
            raise Refusal("SoftHSM offers no free slot")
        # python-pkcs11 has no C_InitToken, and softhsm2-util takes PINs on its command line, where every user sees them
        status = ctypes.CDLL(layout.module).C_InitToken(
            ctypes.c_ulong(free.slot_id), so_pin.encode(), ctypes.c_ulong(len(so_pin)), name.encode().ljust(LABEL_BYTES)
        )
        if status:
            raise Refusal(f"{name}: C_InitToken says {status:#x}")
        library.reinitialize()
        did(f"{name}: made the token")
    token = _find(library, name)
    if token is None:
        raise Refusal(f"{name}: the token was made, and cannot be found")
    if not token.flags & TokenFlag.USER_PIN_INITIALIZED:
        try:
            with token.open(rw=True, so_pin=so_pin) as session:
                session.init_pin(_pin(layout, name))
        except pkcs11.PKCS11Error as error:
            raise Refusal(f"{name}: the PIN cannot be set: {type(error).__name__}") from error
        did(f"{name}: set the PIN")


def _pin(layout: Layout, name: str, role: str = "pin") -> str:
    path = layout.pin_file(name, role)
    try:
        return read_pin(path)
    except NoPin as error:
        raise Refusal(f"{path}: {error}") from error


def _find(library: Any, name: str) -> Any:
    found = [token for token in slots.walk(library, name).tokens if token.label == name]
    if len(found) > 1:
        raise Refusal(f"{len(found)} tokens are labelled {name}: remove all but one")
    return found[0] if found else None


class Wanted(NamedTuple):
    """A key as a token must hold it."""

    label: str
    value: bytes
    key_type: KeyType
    may: Attribute
    """Its only usage."""
    what: str
    """Its purpose, in words."""


def _wanted(layout: Layout, values: dict[str, bytes]) -> list[Wanted]:
    algorithm = layout.mac.algorithm
    may = Attribute.ENCRYPT if algorithm == "des3-retail" else Attribute.SIGN
    macs = layout.parts({label: values[label] for label in layout.labels})
    transport = layout.transport_key
    return [
        *[Wanted(label, value, _KEY_TYPES[algorithm], may, algorithm) for label, value in macs.items()],
        Wanted(transport, values[transport], KeyType.AES, Attribute.UNWRAP, "transport"),
    ]


def _keys(layout: Layout, library: Any, name: str, wanted: list[Wanted], did: Say) -> None:
    """Make sure that the token holds each key, of the right type and usage."""
    try:
        with _find(library, name).open(rw=True, user_pin=_pin(layout, name)) as session:
            for each in wanted:
                label = each.label
                found = list(session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: label}))
                if not found:
                    session.create_object(_template(each.key_type, label, each.value, may=each.may))
                    did(f'{name}: imported "{label}"')
                elif len(found) > 1:
                    raise Refusal(f'{name}: {len(found)} keys are labelled "{label}": remove all but one')
                elif found[0].key_type != each.key_type:
                    raise Refusal(f'{name}: "{label}" is not a key for {each.what}: use another --dir')
                elif found[0][Attribute.EXTRACTABLE] or not found[0][Attribute.SENSITIVE]:
                    raise Refusal(f'{name}: "{label}" can be read out: remove it')
    except pkcs11.PKCS11Error as error:
        raise Refusal(f"{name}: {type(error).__name__}") from error


def _template(key_type: KeyType, label: str, value: bytes, *, may: Attribute = Attribute.SIGN) -> dict[Attribute, Any]:
    usages = (
        Attribute.SIGN, Attribute.VERIFY, Attribute.ENCRYPT, Attribute.DECRYPT, Attribute.WRAP, Attribute.UNWRAP,
        Attribute.DERIVE,
    )  # fmt: skip
    return {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: key_type,
        Attribute.LABEL: label,
        Attribute.VALUE: value,
        Attribute.TOKEN: True,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        # CKA_MODIFIABLE stays true: SoftHSM copies no key that is not, and a session copy is twice as fast
        **{usage: usage is may for usage in usages},
    }


def check_values(layout: Layout, name: str, text: bytes) -> dict[str, str]:
    """The MACs of `text` in this token, by the gateway's own worker code. Raises `TokenOutage`."""
    os.environ["SOFTHSM2_CONF"] = str(layout.conf)
    start = Start(
        module=layout.module,
        label=name,
        pin_file=str(layout.pin_file(name)),
        algorithm=layout.mac.algorithm,
        retail_mechanism=0,
        keys=held(*layout.labels),
        start_within_s=0,
        batch_within_s=0,
    )
    token = OpenToken(start)
    try:
        return token.macs_of(text)
    finally:
        token.close()


def transport_check(layout: Layout, name: str) -> str:
    """The transport key's check value (a block of zeros enciphered, six digits), or why there is none, in words.

    The key may only unwrap, so it cannot make one: the token shows it by itself (CKA_CHECK_VALUE), or not.
    """
    try:
        token = _find(_library(layout), name)
        if token is None:
            return "no such token"
        with token.open(user_pin=_pin(layout, name)) as session:
            wanted = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: layout.transport_key}
            found = list(session.get_objects(wanted))
            if len(found) != 1:
                return "more than one" if found else "missing"
            value: bytes = found[0][Attribute.CHECK_VALUE]
    except (pkcs11.PKCS11Error, Refusal) as error:
        return f"unknown ({type(error).__name__})"
    return value.hex().upper() or "there, and shows no check value"


def _compare(layout: Layout, name: str, values: dict[str, bytes]) -> None:
    """Make sure that the token's keys are those of the key file."""
    text = b"is it the same key?"
    try:
        shown = check_values(layout, name, text)
    except TokenOutage as error:
        raise Refusal(f"{name}: {error}") from error
    for label, value in values.items():
        if label == layout.transport_key:
            check = transport_check(layout, name)
            right = check.startswith("there") or check == reference.enciphered_zeros(value)[:3].hex().upper()
        else:
            right = shown[label] == reference.mac(layout.mac.algorithm, value, text).hex()
        if not right:
            raise Refusal(f'{name}: "{label}" is another key than in {layout.keys_file}')
