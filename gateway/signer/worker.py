"""The process that serves one token: one thread, one session, batches in, results out. Knows nothing of payments.

Started by `process` as `python -m gateway.signer.worker FD`, FD being its end of a socket pair. What it needs to know
comes over that socket; the PIN it reads itself, from the token's PIN file. It ends when the socket closes, so that no
worker outlives its gateway, and it ends itself when a call into the token hangs for much longer than the pool would
wait. It ignores SIGINT and SIGTERM, which a terminal or a supervisor sends to the whole process group: the gateway
still needs its MACs while it drains.

What a MAC is computed with:

* `aes-cmac`: CKM_AES_CMAC, leftmost 64 bits.
* `hmac-sha256`: CKM_SHA256_HMAC, leftmost 64 bits.
* `des3-retail` (ANSI X9.19, ISO 9797-1 algorithm 3 with padding method 1): HSMs have a mechanism of their own for it,
  whose number is the vendor's (`Token.retail_mechanism`). PKCS#11 has none, nor has SoftHSM. There it is put together
  from two keys in the token, and no key value leaves it: all blocks but the last go through DES-CBC under the left half
  (held as the triple-DES key K1‖K1‖K1, labelled LABEL-left), and the last through triple DES under K1‖K2. Both keys
  then need ENCRYPT usage and act as an encryption oracle for whoever is logged in: good for development and for HSMs
  without the mechanism, second best otherwise.

A session object of SoftHSM lives in its memory, one of the token in files that it looks at for each operation. So the
worker asks the token for a session copy of each key. The token may refuse (CKA_COPYABLE or CKA_MODIFIABLE false); then
it works with the original. Probes always use the original: a key that was destroyed in the token is used no longer than
until the next probe.
"""

import contextlib
import gc
import hmac
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from gateway.signer import messages
from gateway.signer.messages import FAILED, MAC_BYTES, NO_MAC, OK, WRONG, Fault, Start

PIN_BYTES_MAX = 256
"""PKCS#11 knows no limit; HSMs stop far below this. A longer file is no PIN file."""
LEFT = "-left"
"""What follows the label of a retail MAC key to name the key of its left half."""

Mac = Callable[[bytes], bytes]

_BAD_DATA = (pkcs11.DataInvalid, pkcs11.DataLenRange)
"""The token refuses this one message, and is well."""
_KEY_TYPES = {
    "aes-cmac": (KeyType.AES,),
    "hmac-sha256": (KeyType.GENERIC_SECRET, KeyType.SHA256_HMAC),
    "des3-retail": (KeyType.DES2, KeyType.DES3),
}


class TokenFault(Exception):
    """The token does not serve; `fault` says why."""

    def __init__(self, state: str, why: str) -> None:
        super().__init__(why)
        self.fault = Fault(state, why)


class OpenToken:
    """A session in the token and its keys. Raises `TokenFault` when there is none to be had."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._session = _open_session(start)
        self._macs = [self._mac_of(label, copy=True) for label in start.keys]

    def check_values(self, text: bytes = messages.CHECK_TEXT) -> dict[str, str]:
        """The check value of each key as it is in the token now: the MAC of a known text, in hex."""
        return {label: self._mac_of(label, copy=False)(text).hex() for label in self._start.keys}

    def work(self, body: bytes) -> tuple[bytes, TokenFault | None]:
        """Do a batch. Returns its RESULT frame, and why the token cannot go on, if so; what it did not do is FAILED."""
        number, operations = messages.operations(body)
        macs, results = self._macs, []
        fault = None
        for key, expected, data in operations:
            try:
                made = macs[key](data)
            except _BAD_DATA:
                results.append((FAILED, NO_MAC))
            except pkcs11.PKCS11Error as error:
                fault = TokenFault("failing", f"the token failed in service: {type(error).__name__}")
                break
            else:
                if not expected:
                    results.append((OK, made))
                else:
                    results.append((OK if hmac.compare_digest(made, expected) else WRONG, NO_MAC))
        results += [(FAILED, NO_MAC)] * (len(operations) - len(results))
        return messages.result_frame(number, results), fault

    def close(self) -> None:
        """Log out, so that the token does not count this session for ever. Errors say that there was none any more."""
        with contextlib.suppress(pkcs11.PKCS11Error):
            self._session.close()

    def _mac_of(self, label: str, *, copy: bool) -> Mac:
        algorithm = self._start.algorithm
        key = self._key(label, copy=copy)
        try:
            if algorithm == "aes-cmac":
                return _signer(key, Mechanism.AES_CMAC)
            if algorithm == "hmac-sha256":
                return _signer(key, Mechanism.SHA256_HMAC)
            if self._start.retail_mechanism:
                return _vendor_retail(key, self._start.retail_mechanism)
            return _composed_retail(self._key(label + LEFT, copy=copy), key)
        except pkcs11.PKCS11Error as error:
            raise TokenFault("failing", f'{algorithm} under "{label}" fails: {type(error).__name__}') from error

    def _key(self, label: str, *, copy: bool) -> Any:
        try:
            # our own copies have the same label, and are no token objects
            wanted = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: label, Attribute.TOKEN: True}
            found = list(self._session.get_objects(wanted))
            if len(found) != 1:
                what = "more than one" if found else "no"
                raise TokenFault("no-key", f'{what} secret key labelled "{label}"')
            key = found[0]
            if key.key_type not in _KEY_TYPES[self._start.algorithm]:
                raise TokenFault("no-key", f'the key "{label}" is not one for {self._start.algorithm}')
            if copy:
                with contextlib.suppress(pkcs11.PKCS11Error):
                    return key.copy({Attribute.TOKEN: False})
        except pkcs11.PKCS11Error as error:
            raise TokenFault("failing", f'the key "{label}" cannot be read: {type(error).__name__}') from error
        return key


def _open_session(start: Start) -> Any:
    pin = _read_pin(start.pin_file)
    try:
        library = pkcs11.lib(start.module)
    except pkcs11.PKCS11Error as error:
        if not Path(start.module).is_file():
            raise TokenFault("no-module", f"module not found: {start.module}") from error
        if type(error) is pkcs11.PKCS11Error:
            # what python-pkcs11 raises when the system's loader refuses
            raise TokenFault("no-module", f"module cannot be loaded: {start.module}") from error
        raise TokenFault("failing", f"the library does not start: {type(error).__name__}") from error
    try:
        return library.get_token(token_label=start.label).open(user_pin=pin)
    except pkcs11.NoSuchToken as error:
        raise TokenFault("no-token", f'no such token: label "{start.label}"') from error
    except pkcs11.MultipleTokensReturned as error:
        raise TokenFault("no-token", f'more than one token has the label "{start.label}"') from error
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange) as error:
        raise TokenFault("wrong-pin", "wrong PIN") from error
    except (pkcs11.PinLocked, pkcs11.PinExpired, pkcs11.UserPinNotInitialized) as error:
        raise TokenFault("wrong-pin", f"the PIN is not accepted: {type(error).__name__}") from error
    except pkcs11.PKCS11Error as error:
        raise TokenFault("failing", f"the token cannot be opened: {type(error).__name__}") from error


def _read_pin(name: str) -> str:
    path = Path(os.path.expandvars(name))
    try:
        with path.open("rb") as file:
            raw = file.read(PIN_BYTES_MAX + 1)
        pin = raw.decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TokenFault("no-pin", f"the PIN file cannot be read: {type(error).__name__}") from error
    if not pin or len(raw) > PIN_BYTES_MAX:
        raise TokenFault("no-pin", "the PIN file holds no PIN")
    return pin


def _signer(key: Any, mechanism: Mechanism, parameter: bytes | None = None) -> Mac:
    try:
        sign = key.sign
    except AttributeError:
        raise TokenFault("no-key", f'the key "{key.label}" may not sign') from None

    def mac(data: bytes) -> bytes:
        made: bytes = sign(data, mechanism=mechanism, mechanism_param=parameter, buffer_size=64)
        return made[:MAC_BYTES]

    if len(mac(messages.CHECK_TEXT)) != MAC_BYTES:
        raise TokenFault("failing", f"mechanism {int(mechanism):#x} makes fewer than {MAC_BYTES} bytes")
    return mac


def _vendor_retail(key: Any, number: int) -> Mac:
    # a mechanism that the library has no name for: it wants a member of its enumeration, and uses it as a number
    mechanism = int.__new__(Mechanism, number)
    mechanism._value_ = number
    mechanism._name_ = f"VENDOR_{number:#x}"
    try:
        # the general form takes the length to make (CK_MAC_GENERAL_PARAMS, a CK_ULONG)
        return _signer(key, mechanism, MAC_BYTES.to_bytes(8, sys.byteorder))
    except pkcs11.MechanismParamInvalid:
        return _signer(key, mechanism)


def _composed_retail(left: Any, whole: Any) -> Mac:
    try:
        chain, last = left.encrypt, whole.encrypt
    except AttributeError:
        raise TokenFault("no-key", f'the keys "{whole.label}" and "{whole.label}{LEFT}" need ENCRYPT usage') from None

    def mac(data: bytes) -> bytes:
        padded = data + bytes(-len(data) % 8) if data else bytes(8)
        vector = bytes(8)
        if len(padded) > 8:
            vector = chain(padded[:-8], mechanism=Mechanism.DES3_CBC, mechanism_param=vector, buffer_size=len(padded))[
                -8:
            ]
        made: bytes = last(padded[-8:], mechanism=Mechanism.DES3_CBC, mechanism_param=vector, buffer_size=64)
        return made

    mac(messages.CHECK_TEXT)
    return mac


def serve(channel: socket.socket) -> None:
    """Answer until the other end closes. Raises `OSError` or `AssertionError` when the other end is not a pool."""
    with channel.makefile("rb") as stream:
        kind, body = _read(stream)
        if not kind:
            return
        assert kind == messages.START, "the first frame is not START"
        start = msgspec.json.decode(body, type=Start)
        watchdog_s = 2 * start.batch_within_s + 1.0
        try:
            # a call that hangs in C hears no signal handler of ours: the default action of SIGALRM ends the process
            signal.setitimer(signal.ITIMER_REAL, start.start_within_s + 1.0)
            token = OpenToken(start)
            try:
                channel.sendall(messages.json_frame(messages.HELLO, token.check_values()))
                gc.collect()
                gc.freeze()
                _answer(channel, stream, token, watchdog_s)
            finally:
                signal.setitimer(signal.ITIMER_REAL, watchdog_s)
                token.close()
        except TokenFault as error:
            channel.sendall(messages.json_frame(messages.FAULT, error.fault))


def _answer(channel: socket.socket, stream: BinaryIO, token: OpenToken, watchdog_s: float) -> None:
    while True:
        signal.setitimer(signal.ITIMER_REAL, 0)
        kind, body = _read(stream)
        signal.setitimer(signal.ITIMER_REAL, watchdog_s)
        if kind == messages.BATCH:
            result, fault = token.work(body)
            channel.sendall(result)
            if fault is not None:
                raise fault
        elif kind == messages.PROBE:
            channel.sendall(messages.json_frame(messages.HELLO, token.check_values()))
        else:
            assert not kind, "a frame that no pool sends"
            return


def _read(stream: BinaryIO) -> tuple[int, bytes]:
    """The next frame; kind 0 when the other end has closed."""
    head = stream.read(messages.HEAD.size)
    if len(head) < messages.HEAD.size:
        return 0, b""
    length, kind = messages.HEAD.unpack(head)
    assert 1 <= length <= messages.FRAME_BYTES_MAX, "a frame of impossible length"
    body = stream.read(length - 1)
    return (kind, body) if len(body) == length - 1 else (0, b"")


def main() -> None:
    """The process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel = socket.socket(fileno=int(sys.argv[1]))
    # the pool is gone: nobody is left to tell
    with channel, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        serve(channel)


if __name__ == "__main__":
    main()
