"""A session in one token: its keys, their MACs, and keys that are unwrapped in it.

With `slots`, which finds the token, the only module that knows pkcs11.

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

A key that comes in band is unwrapped in the token, under the transport key, and its value is nowhere else. It is first
a session object, and only when that shows the right check value does it become a permanent key, sensitive and not
extractable, that may only sign. The same key again is found by its label and compared. Two gateways that share a token
may unwrap one key into it at the same time: both objects are the same key then, and any of them does. One that another
process is writing this very moment is seen half made (SoftHSM writes in steps), and stays so for ever when that process
is killed. So what does not work is looked at again for a short while, and then counts as little as if it were not
there. Nothing is ever removed from a token here: another gateway may need it still.
"""

import contextlib
import hmac
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from gateway.payments.work import Install
from gateway.signer import messages, slots
from gateway.signer.messages import FAILED, MAC_BYTES, NO_MAC, OK, WRONG, Fault, Held, Shown, Start
from gateway.signer.pin import NoPin, read_pin

LEFT = "-left"
"""What follows the label of a retail MAC key to name the key of its left half."""
ZEROS = bytes(16)
"""What a check value is computed over."""

Mac = Callable[[bytes], bytes]

_BAD_DATA = (pkcs11.DataInvalid, pkcs11.DataLenRange)
"""The token refuses this one message, and is well."""
_WRONG_PINS = (
    pkcs11.TokenFlag.USER_PIN_COUNT_LOW | pkcs11.TokenFlag.USER_PIN_FINAL_TRY | pkcs11.TokenFlag.USER_PIN_LOCKED
)
_KEY_TYPES = {
    "aes-cmac": (KeyType.AES,),
    "hmac-sha256": (KeyType.GENERIC_SECRET, KeyType.SHA256_HMAC),
    "des3-retail": (KeyType.DES2, KeyType.DES3),
}
TWINS_MAX = 8
"""Objects of one label that are compared: as many gateways may have unwrapped the same key at the same time."""
HALVES_MAX = 64
"""Objects of one label that are looked at: among them may be some that a killed process left half made."""
LOOK_EVERY_S = 0.02
"""How often a key that is half made is looked at again."""
LOOK_MAX_S = 0.5
"""For how long at most, and for no more than a part (`LOOK_PART`) of what the pool allows for its question. Making one
takes milliseconds."""
LOOK_PART = 0.25
_ENCIPHERING = {
    KeyType.AES: (Mechanism.AES_ECB, 16), KeyType.DES2: (Mechanism.DES3_ECB, 8), KeyType.DES3: (Mechanism.DES3_ECB, 8),
}  # fmt: skip
"""How a block of zeros is enciphered, and its length."""


_Found = TypeVar("_Found")


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
        self._held: tuple[Held, ...] = ()
        self._macs: list[Mac] = []
        """In the order of `_held`: what a batch names by its index."""
        self._made: dict[str, Mac] = {}
        self._proved: dict[str, Install] = {}
        """By label: with the value that unwraps to it."""
        self._copies: dict[str, list[Any]] = {}
        self._failures: dict[str, str] = {}
        self._look_until_s = 0.0
        self._hold(start.keys, start.start_within_s)

    def hold(self, keys: tuple[Held, ...]) -> None:
        """Have these keys from now on, installing those that came in band and are not there yet.

        Raises `TokenFault` when one that is needed cannot be had. One that is not, and comes with another value for a
        key that is there, leaves that key as it is when it cannot be had.
        """
        self._hold(keys, self._start.install_within_s)

    def _hold(self, keys: tuple[Held, ...], within_s: float) -> None:
        self._look_for(within_s)
        labels = {each.key.label for each in keys}
        for label in [label for label in self._made if label not in labels]:
            del self._made[label]
            self._proved.pop(label, None)
            for copy in self._copies.pop(label, []):
                with contextlib.suppress(pkcs11.PKCS11Error):
                    copy.destroy()
        self._held, self._failures = keys, {}
        self._macs = [self._have(each) for each in keys]

    def _have(self, each: Held) -> Mac:
        label = each.key.label
        try:
            if each.key.wrapped and self._proved.get(label) != each.key:
                self._install(each)
                self._proved[label] = each.key
            if label not in self._made:
                self._made[label] = self._mac_of(label, copy=True, twins=bool(each.key.wrapped))
        except TokenFault as error:
            if each.needed:
                raise
            self._failures[label] = error.fault.why
        return self._made.get(label, _missing)

    def show(self) -> Shown:
        """What is in the token now."""
        self._look_for(self._start.batch_within_s)
        values: dict[str, str] = {}
        failures = dict(self._failures)
        for each in self._held:
            if each.key.label not in self._made:
                continue
            try:
                mac = self._mac_of(each.key.label, copy=False, twins=bool(each.key.wrapped))
                values[each.key.label] = mac(messages.CHECK_TEXT).hex()
            except TokenFault as error:
                if each.needed:
                    raise
                failures[each.key.label] = error.fault.why
        return Shown(values, failures)

    def macs_of(self, text: bytes) -> dict[str, str]:
        """By label: the MAC of a text under each key, in hex. For who makes tokens. Raises `TokenFault`."""
        held = [(each.key.label, bool(each.key.wrapped)) for each in self._held]
        return {label: self._mac_of(label, copy=False, twins=twins)(text).hex() for label, twins in held}

    def show_with_checks(self) -> Shown:
        """The same with check values, which take longer and do not change while the key is the same."""
        shown = self.show()
        checks = {label: self._known_check(label) for label in shown.values}
        failures = dict(shown.failures)
        if self._start.transport_shown:
            label = self._start.transport.label
            try:
                checks[label] = self._transport_check()
            except TokenFault as error:
                failures[label] = error.fault.why
        return Shown(shown.values, failures, {label: check for label, check in checks.items() if check})

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
                fault = TokenFault("failing", f"the token failed in service: {slots.named(error)}")
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

    # --- keys in the token

    def _mac_of(self, label: str, *, copy: bool, twins: bool) -> Mac:
        if not twins:
            return self._mac_now(label, copy=copy, twins=False)
        return self._patiently(lambda: self._mac_now(label, copy=copy, twins=True))

    def _look_for(self, within_s: float) -> None:
        """From now on the pool waits for so long."""
        self._look_until_s = time.monotonic() + min(LOOK_MAX_S, LOOK_PART * within_s)

    def _patiently(self, look: Callable[[], _Found]) -> _Found:
        """What may be half made. Raises `TokenFault` when it is so for longer than we may look."""
        while True:
            try:
                return look()
            except TokenFault:
                if time.monotonic() >= self._look_until_s:
                    raise
            time.sleep(LOOK_EVERY_S)

    def _mac_now(self, label: str, *, copy: bool, twins: bool) -> Mac:
        found = self._key(label, copy=copy, twins=twins)
        with _as_fault(f'{self._start.algorithm} under "{label}" fails'):
            if self._start.algorithm == "des3-retail" and not self._start.retail_mechanism:
                return _composed_retail(self._key(label + LEFT, copy=copy), found)
            return self._mac_with(found)

    def _mac_with(self, key: Any) -> Mac:
        """MACs by one mechanism of the token."""
        if self._start.algorithm == "aes-cmac":
            return _signer(key, Mechanism.AES_CMAC)
        if self._start.algorithm == "hmac-sha256":
            return _signer(key, Mechanism.SHA256_HMAC)
        if not self._start.retail_mechanism:
            raise TokenFault("no-key", "a key comes in band only where the token has a retail MAC mechanism of its own")
        return _vendor_retail(key, self._start.retail_mechanism)

    def _key(self, label: str, *, copy: bool, twins: bool = False) -> Any:
        """The key of this label; `twins`: there may be several that are the same."""
        with _as_fault(f'the key "{label}" cannot be read'):
            found = self._twins(self._session, label) if twins else self._find(self._session, label)
            if not found or (len(found) > 1 and not twins):
                what = "more than one" if found else "no"
                raise TokenFault("no-key", f'{what} secret key labelled "{label}"')
            key = found[0]
            if any(each.key_type not in _KEY_TYPES[self._start.algorithm] for each in found):
                raise TokenFault("no-key", f'the key "{label}" is not one for {self._start.algorithm}')
            if len(found) > 1 and len({self._mac_with(each)(messages.CHECK_TEXT) for each in found}) > 1:
                raise TokenFault("no-key", f'different secret keys are labelled "{label}"')
            if copy:
                with contextlib.suppress(pkcs11.PKCS11Error):
                    key = key.copy({Attribute.TOKEN: False})
                    self._copies.setdefault(label, []).append(key)
        return key

    def _twins(self, session: Any, label: str) -> list[Any]:
        """The keys of this label that work. Raises `TokenFault` when there are some and none does."""
        found: list[Any] = []
        trouble: pkcs11.PKCS11Error | TokenFault | None = None
        with _as_fault(f'the key "{label}" cannot be read'):
            for each in self._find(session, label)[:HALVES_MAX]:
                try:
                    self._mac_with(each)
                except (pkcs11.PKCS11Error, TokenFault) as error:
                    trouble = error
                else:
                    found.append(each)
            if trouble is not None and not found:
                raise trouble
        return found[:TWINS_MAX]

    @staticmethod
    def _find(session: Any, label: str) -> list[Any]:
        # our own copies have the same label, and are no token objects
        wanted = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: label, Attribute.TOKEN: True}
        return list(session.get_objects(wanted))

    # --- keys that come in band

    def _install(self, each: Held) -> None:
        """Have the key in the token, for ever; nothing to do when it is there and is the same."""
        with _as_fault(f'the key "{each.key.label}" cannot be installed'):
            # a session of its own, because this one may not write; it is logged in as we are
            session = self._session.token.open(rw=True)
            try:
                self._install_by(session, each.key, proved_before=each.needed)
            finally:
                session.close()

    def _install_by(self, session: Any, key: Install, *, proved_before: bool) -> None:
        try:
            there = self._patiently(lambda: self._twins(session, key.label))
        except TokenFault:
            there = []  # none that works: there may be one now
        try:
            transport = self._transport(session)
            trial = self._unwrap(transport, key, {Attribute.SIGN: True})
            self._prove(transport, trial, key)
        except TokenFault:
            # the transport key has changed since then: what was proved once is shown to be that by its check value
            if proved_before and there and self._known_check(key.label).startswith(key.check):
                return
            raise
        mac = self._mac_with(trial)(messages.CHECK_TEXT)
        if any(self._mac_with(each)(messages.CHECK_TEXT) != mac for each in there):
            raise TokenFault("no-key", f'another key is labelled "{key.label}" already')
        if not there:
            self._unwrap(transport, key, {Attribute.SIGN: True, Attribute.LABEL: key.label, Attribute.TOKEN: True})

    def _transport(self, session: Any) -> Any:
        label = self._start.transport.label
        found = self._find(session, label)
        if len(found) != 1:
            what = "more than one" if found else "no"
            raise TokenFault("no-key", f'{what} transport key labelled "{label}"')
        if not hasattr(found[0], "unwrap_key"):
            raise TokenFault("no-key", f'the transport key "{label}" may not unwrap')
        return found[0]

    def _transport_check(self) -> str:
        """What the token says by itself: a key that may only unwrap cannot be asked to make one. Empty: nothing."""
        label = self._start.transport.label
        with _as_fault(f'the transport key "{label}" cannot be read'):
            transport = self._transport(self._session)
            try:
                value: bytes = transport[Attribute.CHECK_VALUE]
            except pkcs11.AttributeTypeInvalid:
                return ""
            return value.hex().upper()

    def _unwrap(self, transport: Any, key: Install, template: dict[Attribute, Any]) -> Any:
        """Unwrapped in the token: a session object, unless the template says otherwise."""
        by = self._start.transport
        try:
            return transport.unwrap_key(
                ObjectClass.SECRET_KEY,
                self._key_type(key),
                key.wrapped,
                mechanism=_by_number(by.mechanism),
                mechanism_param=by.vector or None,
                template={**_NEW_KEY, **template},
            )
        except pkcs11.PKCS11Error as error:
            raise TokenFault("no-key", f'"{key.label}" cannot be unwrapped: {slots.named(error)}') from error

    def _key_type(self, key: Install) -> KeyType:
        if self._start.algorithm != "des3-retail":
            return _KEY_TYPES[self._start.algorithm][0]
        overhead = 0 if self._start.transport.vector or self._start.transport.mechanism == Mechanism.DES3_ECB else 8
        return KeyType.DES2 if len(key.wrapped) - overhead <= 16 else KeyType.DES3

    def _prove(self, transport: Any, trial: Any, key: Install) -> None:
        """Raises `TokenFault` when the key's check value is another one."""
        if self._start.transport.check_value == "mac-zeros":
            check = self._mac_with(trial)(ZEROS)
        else:
            usage = {Attribute.SIGN: False, Attribute.ENCRYPT: True}
            check = _enciphered_zeros(self._unwrap(transport, key, usage))
        if not check.hex().upper().startswith(key.check):
            shown = check.hex().upper()[: len(key.check)]
            raise TokenFault("no-key", f'wrong check value: "{key.label}" unwraps to a key of {shown}')

    def _known_check(self, label: str) -> str:
        """The check value of a key that is there, as far as the token gives it."""
        try:
            if self._start.transport.check_value == "mac-zeros":
                return self._mac_of(label, copy=False, twins=True)(ZEROS).hex().upper()
            value: bytes = self._key(label, copy=False, twins=True)[Attribute.CHECK_VALUE]
            return value.hex().upper()
        except (TokenFault, pkcs11.PKCS11Error):
            return ""


_NEW_KEY = {
    Attribute.TOKEN: False,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    **dict.fromkeys(
        (Attribute.ENCRYPT, Attribute.DECRYPT, Attribute.VERIFY, Attribute.WRAP, Attribute.UNWRAP, Attribute.DERIVE),
        False,
    ),
}
"""What every key is that comes in band; it may sign, and nothing else."""


def _missing(_data: bytes) -> bytes:
    """In the place of a key that is not there."""
    raise pkcs11.DataInvalid


@contextlib.contextmanager
def _as_fault(what: str) -> Iterator[None]:
    """What the token refuses is a fault, in words."""
    try:
        yield
    except pkcs11.PKCS11Error as error:
        raise TokenFault("failing", f"{what}: {slots.named(error)}") from error


def _enciphered_zeros(key: Any) -> bytes:
    if key.key_type not in _ENCIPHERING:
        raise TokenFault("no-key", "a key of this kind enciphers no zeros: its check value must be the MAC of zeros")
    mechanism, length = _ENCIPHERING[key.key_type]
    enciphered: bytes = key.encrypt(bytes(length), mechanism=mechanism)
    return enciphered


def _by_number(number: int) -> Mechanism:
    """A mechanism that the library may have no name for: it wants a member of its enumeration, and uses its number."""
    with contextlib.suppress(ValueError):
        return Mechanism(number)
    mechanism = int.__new__(Mechanism, number)
    mechanism._value_ = number
    mechanism._name_ = f"VENDOR_{number:#x}"
    return mechanism


def _open_session(start: Start) -> Any:
    try:
        pin = read_pin(start.pin_file)
    except NoPin as error:
        raise TokenFault("no-pin", str(error)) from error
    try:
        library = pkcs11.lib(start.module)
    except pkcs11.PKCS11Error as error:
        if not Path(start.module).is_file():
            raise TokenFault("no-module", f"module not found: {start.module}") from error
        if "while loading" in str(error):
            # what python-pkcs11 raises when the system's loader refuses
            raise TokenFault("no-module", f"module cannot be loaded: {start.module}") from error
        raise TokenFault("failing", f"the library does not start: {slots.named(error)}") from error
    token = find(library, start.label)
    try:
        return token.open(user_pin=pin)
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange) as error:
        raise TokenFault("wrong-pin", "wrong PIN") from error
    except (pkcs11.PinLocked, pkcs11.PinExpired, pkcs11.UserPinNotInitialized) as error:
        raise TokenFault("wrong-pin", f"the PIN is not accepted: {type(error).__name__}") from error
    except pkcs11.PKCS11Error as error:
        if _counts_wrong_pins(token):
            why = f"the PIN may be wrong: {slots.named(error)}, and the token counts wrong PINs"
            raise TokenFault("wrong-pin", why) from error
        raise TokenFault("failing", f"the token cannot be opened: {slots.named(error)}") from error


def find(library: Any, label: str) -> Any:
    """The token of this label, whatever is wrong with others. Raises `TokenFault` when it is not to be had, or when
    there are two: which of them was meant only people know.
    """
    try:
        seen = slots.walk(library, label)
    except pkcs11.PKCS11Error as error:
        raise TokenFault("failing", f"the library does not list its slots: {slots.named(error)}") from error
    found = [token for token in seen.tokens if token.label == label]
    # one that nobody has initialised may have kept a label
    found = [token for token in found if token.flags & pkcs11.TokenFlag.TOKEN_INITIALIZED] or found
    if len(found) > 1:
        where = ", ".join(str(token.slot.slot_id) for token in found)
        raise TokenFault("no-token", f'more than one token has the label "{label}" (slots {where}): none is used')
    if not found:
        # where a slot cannot be asked, its token may be the one, and is looked for again
        others = "; ".join(f"slot {number} cannot be asked: {why}" for number, why in seen.troubles.items())
        why = f'no such token: label "{label}"'
        raise TokenFault("failing" if others else "no-token", f"{why}; {others}" if others else why)
    return found[0]


def _counts_wrong_pins(token: Any) -> bool:
    """Whether the token says that a PIN was wrong: where a login fails by a vendor's error, that may be what it means,
    and each further try brings the token nearer to being locked.
    """
    try:
        return bool(token.slot.get_token().flags & _WRONG_PINS)
    except pkcs11.PKCS11Error:
        return False


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
    mechanism = _by_number(number)
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
