"""The MAC keys in a token, found by their labels.

A session object of SoftHSM lives in its memory, a token object in files that SoftHSM looks at for each operation. So
the worker asks the token for a session copy of each key. The token may refuse (CKA_COPYABLE or CKA_MODIFIABLE false);
then the worker uses the original. Probes always use the original: a key that was destroyed in the token is used no
longer than until the next probe.

Two gateways that share a token may unwrap one key into it at the same time: both objects are then the same key
(twins), and either serves. SoftHSM writes an object in steps, so one that another process is writing at this moment is
seen half made. It stays so for ever when that process is killed. So an object that does not work is looked at again
for a short while, and is then ignored.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pkcs11
from pkcs11 import Attribute, ObjectClass

from gateway.signer import mechanisms, messages
from gateway.signer.mechanisms import KEY_TYPES, LEFT, Mac, as_outage
from gateway.signer.outage import TokenOutage

TWINS_MAX = 8
"""Objects of one label that are compared: as many gateways may have unwrapped the same key at the same time."""
HALVES_MAX = 64
"""Objects of one label that are looked at: killed processes may have left some of them half made."""
LOOK_EVERY_S = 0.02
"""How often a key that is half made is looked at again."""
LOOK_MAX_S = 0.5
"""For how long at most, and for no more than a part (`LOOK_PART`) of the time that the pool allows for its question.
Making a key takes milliseconds."""
LOOK_PART = 0.25

_Found = TypeVar("_Found")


class TokenKeys:
    """The keys of one token, as one session sees them. Its methods raise `TokenOutage`."""

    def __init__(self, session: Any, algorithm: str, retail_mechanism: int) -> None:
        self.session = session
        self._algorithm = algorithm
        self._retail_mechanism = retail_mechanism
        self._copies: dict[str, list[Any]] = {}
        self._look_until_s = 0.0

    def allow(self, within_s: float) -> None:
        """The pool waits this long for the answer to its present question."""
        self._look_until_s = time.monotonic() + min(LOOK_MAX_S, LOOK_PART * within_s)

    def mac_of(self, label: str, *, copy: bool, twins: bool) -> Mac:
        """Makes MACs under the key of this label. `twins`: several objects may be that key, some of them half made."""
        if not twins:
            return self._mac_now(label, copy=copy, twins=False)
        return self._patiently(lambda: self._mac_now(label, copy=copy, twins=True))

    def mac_with(self, key: Any) -> Mac:
        """Makes MACs under this key, by one mechanism of the token."""
        return mechanisms.single_mac(key, self._algorithm, self._retail_mechanism)

    def key(self, label: str, *, copy: bool, twins: bool = False) -> Any:
        """The key of this label; `twins`: several objects may be that key."""
        with as_outage(f'the key "{label}" cannot be read'):
            found = self._working(self.session, label) if twins else find(self.session, label)
            if not found or (len(found) > 1 and not twins):
                what = "more than one" if found else "no"
                raise TokenOutage("no-key", f'{what} secret key labelled "{label}"')
            key = found[0]
            if any(each.key_type not in KEY_TYPES[self._algorithm] for each in found):
                raise TokenOutage("no-key", f'the key "{label}" is not one for {self._algorithm}')
            if len(found) > 1 and len({self.mac_with(each)(messages.CHECK_TEXT) for each in found}) > 1:
                raise TokenOutage("no-key", f'different secret keys are labelled "{label}"')
            if copy:
                with contextlib.suppress(pkcs11.PKCS11Error):
                    key = key.copy({Attribute.TOKEN: False})
                    self._copies.setdefault(label, []).append(key)
        return key

    def working(self, session: Any, label: str) -> list[Any]:
        """The keys of this label that work. Raises when there are some, and none works for as long as we may look."""
        return self._patiently(lambda: self._working(session, label))

    def drop_copies(self, label: str) -> None:
        """The key of this label is used no more."""
        for copy in self._copies.pop(label, []):
            with contextlib.suppress(pkcs11.PKCS11Error):
                copy.destroy()

    def _mac_now(self, label: str, *, copy: bool, twins: bool) -> Mac:
        found = self.key(label, copy=copy, twins=twins)
        with as_outage(f'{self._algorithm} under "{label}" fails'):
            if self._algorithm == "des3-retail" and not self._retail_mechanism:
                return mechanisms.composed_retail(self.key(label + LEFT, copy=copy), found)
            return self.mac_with(found)

    def _working(self, session: Any, label: str) -> list[Any]:
        found: list[Any] = []
        trouble: pkcs11.PKCS11Error | TokenOutage | None = None
        with as_outage(f'the key "{label}" cannot be read'):
            for each in find(session, label)[:HALVES_MAX]:
                try:
                    self.mac_with(each)
                except (pkcs11.PKCS11Error, TokenOutage) as error:
                    trouble = error
                else:
                    found.append(each)
            if trouble is not None and not found:
                raise trouble
        return found[:TWINS_MAX]

    def _patiently(self, look: Callable[[], _Found]) -> _Found:
        """Look again at a key that may be half made. Raises when it still is after as long as we may look."""
        while True:
            try:
                return look()
            except TokenOutage:
                if time.monotonic() >= self._look_until_s:
                    raise
            time.sleep(LOOK_EVERY_S)


def find(session: Any, label: str) -> list[Any]:
    """The secret keys of this label in the token. Our own copies have the same label, and are no token objects."""
    wanted = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: label, Attribute.TOKEN: True}
    return list(session.get_objects(wanted))
