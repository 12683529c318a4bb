"""Keys that come in band: unwrapped in the token, under the transport key, and proved by their check values.

The value of such a key is nowhere else. It is first a session object. Only when that shows the right check value does
it become a permanent key, sensitive and not extractable, that may only sign. When the same key comes again, it is found
by its label and compared. Nothing is ever removed from a token here: another gateway may need it still.
"""

import contextlib
from typing import Any

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from gateway.payments.work import Install
from gateway.signer import messages, slots
from gateway.signer.keys import TokenKeys, find
from gateway.signer.mechanisms import KEY_TYPES, as_outage, by_number, enciphered_zeros
from gateway.signer.messages import Held, Start
from gateway.signer.outage import TokenOutage

ZEROS = bytes(16)
"""The text under which a check value is computed."""
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
"""The attributes of every key that comes in band; it may sign, and nothing else."""


class Unwrapping:
    """Installs keys in one token, and says their check values. Its methods raise `TokenOutage`."""

    def __init__(self, keys: TokenKeys, start: Start) -> None:
        self._keys = keys
        self._algorithm = start.algorithm
        self._by = start.transport

    def install(self, each: Held) -> None:
        """Have the key in the token, for ever; nothing to do when it is there and is the same."""
        with as_outage(f'the key "{each.key.label}" cannot be installed'):
            # a session of its own, because ours may not write; it is logged in as we are
            session = self._keys.session.token.open(rw=True)
            try:
                self._install_by(session, each.key, proved_before=each.needed)
            finally:
                session.close()

    def known_check(self, label: str) -> str:
        """The check value of a key that is there, as far as the token gives it."""
        try:
            if self._by.check_value == "mac-zeros":
                return self._keys.mac_of(label, copy=False, twins=True)(ZEROS).hex().upper()
            value: bytes = self._keys.key(label, copy=False, twins=True)[Attribute.CHECK_VALUE]
            return value.hex().upper()
        except (TokenOutage, pkcs11.PKCS11Error):
            return ""

    def transport_check(self) -> str:
        """The transport key's check value, as the token shows it by itself: a key that may only unwrap cannot be asked
        to make one. Empty when the token shows none.
        """
        with as_outage(f'the transport key "{self._by.label}" cannot be read'):
            transport = self._transport(self._keys.session)
            try:
                value: bytes = transport[Attribute.CHECK_VALUE]
            except pkcs11.AttributeTypeInvalid:
                return ""
            return value.hex().upper()

    def refuse_transport(self, label: str) -> None:
        """Refuse a key of the ceremony that is the transport key: as far as the token shows what tells them apart."""
        with contextlib.suppress(pkcs11.PKCS11Error):
            # the type first: SoftHSM makes the check value of another type in another way
            key, transports = self._keys.key(label, copy=False), find(self._keys.session, self._by.label)
            types = [each.key_type for each in (key, *transports)]
            checks = {bytes(each[Attribute.CHECK_VALUE]) for each in (key, *transports)}
            if len(types) == 2 and types[0] == types[1] and len(checks) == 1 and checks != {b""}:
                raise self._same(label)

    def _refuse_transport(self, transport: Any, key: Install) -> None:
        """The same for a key that came in band: zeros that it enciphers are those that the transport key would."""
        usage = {Attribute.SIGN: False, Attribute.ENCRYPT: True}
        try:
            shown = bytes(transport[Attribute.CHECK_VALUE])
            enciphered = enciphered_zeros(self._unwrap(transport, key, usage, transport.key_type))
        except (TokenOutage, pkcs11.PKCS11Error):
            return  # this token does not tell
        if shown and enciphered.startswith(shown):
            raise self._same(key.label)

    def _same(self, label: str) -> TokenOutage:
        return TokenOutage("same-keys", f'"{self._by.label}" (which unwraps new keys) and "{label}" are the same key')

    def _install_by(self, session: Any, key: Install, *, proved_before: bool) -> None:
        try:
            there = self._keys.working(session, key.label)
        except TokenOutage:
            there = []  # none that works: there may be one in a moment
        try:
            transport = self._transport(session)
            trial = self._unwrap(transport, key, {Attribute.SIGN: True})
            self._prove(transport, trial, key)
        except TokenOutage:
            # the transport key has changed since then: a key that was proved once is known by its check value
            if proved_before and there and self.known_check(key.label).startswith(key.check):
                return
            raise
        self._refuse_transport(transport, key)
        mac = self._keys.mac_with(trial)(messages.CHECK_TEXT)
        if any(self._keys.mac_with(each)(messages.CHECK_TEXT) != mac for each in there):
            raise TokenOutage("no-key", f'another key is labelled "{key.label}" already')
        if not there:
            self._unwrap(transport, key, {Attribute.SIGN: True, Attribute.LABEL: key.label, Attribute.TOKEN: True})

    def _transport(self, session: Any) -> Any:
        label = self._by.label
        found = find(session, label)
        if len(found) != 1:
            what = "more than one" if found else "no"
            raise TokenOutage("no-key", f'{what} transport key labelled "{label}"')
        if not hasattr(found[0], "unwrap_key"):
            raise TokenOutage("no-key", f'the transport key "{label}" may not unwrap')
        return found[0]

    def _unwrap(
        self, transport: Any, key: Install, template: dict[Attribute, Any], key_type: KeyType | None = None
    ) -> Any:
        """Unwrapped in the token: a session object, unless the template says otherwise."""
        try:
            return transport.unwrap_key(
                ObjectClass.SECRET_KEY,
                key_type or self._key_type(key),
                key.wrapped,
                mechanism=by_number(self._by.mechanism),
                mechanism_param=self._by.vector or None,
                template={**_NEW_KEY, **template},
            )
        except pkcs11.PKCS11Error as error:
            raise TokenOutage("no-key", f'"{key.label}" cannot be unwrapped: {slots.named(error)}') from error

    def _key_type(self, key: Install) -> KeyType:
        if self._algorithm != "des3-retail":
            return KEY_TYPES[self._algorithm][0]
        overhead = 0 if self._by.vector or self._by.mechanism == Mechanism.DES3_ECB else 8
        return KeyType.DES2 if len(key.wrapped) - overhead <= 16 else KeyType.DES3

    def _prove(self, transport: Any, trial: Any, key: Install) -> None:
        """Refuse a key that has another check value."""
        if self._by.check_value == "mac-zeros":
            check = self._keys.mac_with(trial)(ZEROS)
        else:
            usage = {Attribute.SIGN: False, Attribute.ENCRYPT: True}
            check = enciphered_zeros(self._unwrap(transport, key, usage))
        if not check.hex().upper().startswith(key.check):
            shown = check.hex().upper()[: len(key.check)]
            raise TokenOutage("no-key", f'wrong check value: "{key.label}" unwraps to a key of {shown}')
