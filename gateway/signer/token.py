"""A session in one token: the keys that the pool told it to have, and their MACs.

The parts: `login` opens the session, `mechanisms` makes MACs, `keys` finds the keys, `unwrapping` installs those that
come in band.
"""

import contextlib
import hmac

import pkcs11

from gateway.payments.work import Install
from gateway.signer import messages, slots
from gateway.signer.keys import TokenKeys
from gateway.signer.login import open_session
from gateway.signer.mechanisms import Mac
from gateway.signer.messages import FAILED, NO_MAC, OK, WRONG, Held, Shown, Start
from gateway.signer.outage import TokenOutage
from gateway.signer.unwrapping import Unwrapping

_BAD_DATA = (pkcs11.DataInvalid, pkcs11.DataLenRange)
"""The token refuses this one message, and is well."""


class OpenToken:
    """A session in the token and its keys. Raises `TokenOutage` when they cannot be had."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._session = open_session(start)
        self._keys = TokenKeys(self._session, start.algorithm, start.retail_mechanism)
        self._unwrapping = Unwrapping(self._keys, start)
        self._held: tuple[Held, ...] = ()
        self._macs: list[Mac] = []
        """In the order of `_held`: a batch names a key by its index there."""
        self._made: dict[str, Mac] = {}
        """By label."""
        self._proved: dict[str, Install] = {}
        """By label: with the value that unwraps to it."""
        self._failures: dict[str, str] = {}
        self._hold(start.keys, start.start_within_s)

    def hold(self, keys: tuple[Held, ...]) -> None:
        """Have these keys from now on, installing those that came in band and are not there yet.

        Raises `TokenOutage` when a needed key cannot be had. A key that is not needed, and brings another value for a
        key that is there, leaves that key as it is when it cannot be had.
        """
        self._hold(keys, self._start.install_within_s)

    def _hold(self, keys: tuple[Held, ...], within_s: float) -> None:
        self._keys.allow(within_s)
        labels = {each.key.label for each in keys}
        for label in [label for label in self._made if label not in labels]:
            del self._made[label]
            self._proved.pop(label, None)
            self._keys.drop_copies(label)
        self._held, self._failures = keys, {}
        self._macs = [self._have(each) for each in keys]

    def _have(self, each: Held) -> Mac:
        label = each.key.label
        try:
            if each.key.wrapped and self._proved.get(label) != each.key:
                self._unwrapping.install(each)
                self._proved[label] = each.key
            if label not in self._made:
                if not each.key.wrapped:
                    self._unwrapping.refuse_transport(label)
                self._made[label] = self._keys.mac_of(label, copy=True, twins=bool(each.key.wrapped))
        except TokenOutage as error:
            if each.needed:
                raise
            self._failures[label] = error.outage.why
        return self._made.get(label, _missing)

    def show(self) -> Shown:
        """The keys that are in the token now."""
        self._keys.allow(self._start.batch_within_s)
        values: dict[str, str] = {}
        failures = dict(self._failures)
        for each in self._held:
            if each.key.label not in self._made:
                continue
            try:
                mac = self._keys.mac_of(each.key.label, copy=False, twins=bool(each.key.wrapped))
                values[each.key.label] = mac(messages.CHECK_TEXT).hex()
            except TokenOutage as error:
                if each.needed:
                    raise
                failures[each.key.label] = error.outage.why
        return Shown(values, failures)

    def show_with_checks(self) -> Shown:
        """The same with check values, which take longer and do not change while the key is the same."""
        shown = self.show()
        checks = {label: self._unwrapping.known_check(label) for label in shown.values}
        failures = dict(shown.failures)
        if self._start.transport_shown:
            label = self._start.transport.label
            try:
                checks[label] = self._unwrapping.transport_check()
            except TokenOutage as error:
                failures[label] = error.outage.why
        return Shown(shown.values, failures, {label: check for label, check in checks.items() if check})

    def macs_of(self, text: bytes) -> dict[str, str]:
        """By label: the MAC of a text under each key, in hex. For provisioning. Raises `TokenOutage`."""
        held = [(each.key.label, bool(each.key.wrapped)) for each in self._held]
        return {label: self._keys.mac_of(label, copy=False, twins=twins)(text).hex() for label, twins in held}

    def work(self, body: bytes) -> tuple[bytes, TokenOutage | None]:
        """Do a batch. Returns its RESULT frame, and why the token cannot go on, if so; operations left undone are
        FAILED.
        """
        number, operations = messages.operations(body)
        macs, results = self._macs, []
        outage = None
        for key, expected, data in operations:
            try:
                made = macs[key](data)
            except _BAD_DATA:
                results.append((FAILED, NO_MAC))
            except pkcs11.PKCS11Error as error:
                outage = TokenOutage("failing", f"the token failed in service: {slots.named(error)}")
                break
            else:
                if not expected:
                    results.append((OK, made))
                else:
                    results.append((OK if hmac.compare_digest(made, expected) else WRONG, NO_MAC))
        results += [(FAILED, NO_MAC)] * (len(operations) - len(results))
        return messages.result_frame(number, results), outage

    def close(self) -> None:
        """Log out, so that the token does not count this session for ever. An error says that it was gone already."""
        with contextlib.suppress(pkcs11.PKCS11Error):
            self._session.close()


def _missing(_data: bytes) -> bytes:
    """Stands for a key that is not there."""
    raise pkcs11.DataInvalid
