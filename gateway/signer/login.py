"""A worker's session in its token: the library, the token of that label, the PIN.

A login that fails says whether the PIN may be the reason, because a wrong PIN is never tried twice.
"""

from pathlib import Path
from typing import Any

import pkcs11

from gateway.signer import slots
from gateway.signer.messages import Start
from gateway.signer.outage import TokenOutage
from gateway.signer.pin import NoPin, read_pin

_WRONG_PINS = (
    pkcs11.TokenFlag.USER_PIN_COUNT_LOW | pkcs11.TokenFlag.USER_PIN_FINAL_TRY | pkcs11.TokenFlag.USER_PIN_LOCKED
)


def open_session(start: Start) -> Any:
    """A session, logged in, that may not write. Raises `TokenOutage`."""
    try:
        pin = read_pin(start.pin_file)
    except NoPin as error:
        raise TokenOutage("no-pin", str(error)) from error
    try:
        library = pkcs11.lib(start.module)
    except pkcs11.PKCS11Error as error:
        if not Path(start.module).is_file():
            raise TokenOutage("no-module", f"module not found: {start.module}") from error
        if "while loading" in str(error):
            # python-pkcs11 says this when the system's loader refuses
            raise TokenOutage("no-module", f"module cannot be loaded: {start.module}") from error
        raise TokenOutage("failing", f"the library does not start: {slots.named(error)}") from error
    token = _find(library, start.label)
    try:
        return token.open(user_pin=pin)
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange) as error:
        raise TokenOutage("wrong-pin", "wrong PIN") from error
    except (pkcs11.PinLocked, pkcs11.PinExpired, pkcs11.UserPinNotInitialized) as error:
        raise TokenOutage("wrong-pin", f"the PIN is not accepted: {type(error).__name__}") from error
    except pkcs11.PKCS11Error as error:
        if _counts_wrong_pins(token):
            why = f"the PIN may be wrong: {slots.named(error)}, and the token counts wrong PINs"
            raise TokenOutage("wrong-pin", why) from error
        raise TokenOutage("failing", f"the token cannot be opened: {slots.named(error)}") from error


def _find(library: Any, label: str) -> Any:
    """The token of this label, whatever is wrong with others. Raises `TokenOutage` when there is none, and when there
    are two: only people know which of them was meant.
    """
    try:
        seen = slots.walk(library, label)
    except pkcs11.PKCS11Error as error:
        raise TokenOutage("failing", f"the library does not list its slots: {slots.named(error)}") from error
    found = [token for token in seen.tokens if token.label == label]
    # a token that is not initialised may have kept a label
    found = [token for token in found if token.flags & pkcs11.TokenFlag.TOKEN_INITIALIZED] or found
    if len(found) > 1:
        where = ", ".join(str(token.slot.slot_id) for token in found)
        raise TokenOutage("no-token", f'more than one token has the label "{label}" (slots {where}): none is used')
    if not found:
        # the token may be in a slot that cannot be asked: "failing" is tried again
        others = "; ".join(f"slot {number} cannot be asked: {why}" for number, why in seen.troubles.items())
        why = f'no such token: label "{label}"'
        raise TokenOutage("failing" if others else "no-token", f"{why}; {others}" if others else why)
    return found[0]


def _counts_wrong_pins(token: Any) -> bool:
    """Whether the token reports a wrong PIN. A login that fails by a vendor's error may mean that, and each further try
    brings the token nearer to being locked.
    """
    try:
        return bool(token.slot.get_token().flags & _WRONG_PINS)
    except pkcs11.PKCS11Error:
        return False
