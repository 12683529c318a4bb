"""The mechanisms of a token that make a MAC, or a check value, under one key.

* `aes-cmac`: CKM_AES_CMAC, leftmost 64 bits.
* `hmac-sha256`: CKM_SHA256_HMAC, leftmost 64 bits.
* `des3-retail` (ANSI X9.19, ISO 9797-1 algorithm 3 with padding method 1): HSMs have a mechanism of their own for it,
  whose number is the vendor's (`Token.retail_mechanism`). PKCS#11 has none, nor has SoftHSM. There it is put together
  from two keys in the token, and no key value leaves it: all blocks but the last go through DES-CBC under the left half
  (held as the triple-DES key K1‖K1‖K1, labelled LABEL-left), and the last through triple DES under K1‖K2. Both keys
  then need ENCRYPT usage and act as an encryption oracle for every process that is logged in: good for development and
  for HSMs without the mechanism, second best otherwise.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pkcs11
from pkcs11 import KeyType, Mechanism

from gateway.signer import messages, slots
from gateway.signer.messages import MAC_BYTES
from gateway.signer.outage import TokenOutage

LEFT = "-left"
"""Added to the label of a retail MAC key, it names the key of its left half."""
KEY_TYPES = {
    "aes-cmac": (KeyType.AES,),
    "hmac-sha256": (KeyType.GENERIC_SECRET, KeyType.SHA256_HMAC),
    "des3-retail": (KeyType.DES2, KeyType.DES3),
}
_ENCIPHERING = {
    KeyType.AES: (Mechanism.AES_ECB, 16), KeyType.DES2: (Mechanism.DES3_ECB, 8), KeyType.DES3: (Mechanism.DES3_ECB, 8),
}  # fmt: skip
"""The mechanism that enciphers a block of zeros, and the block's length."""

Mac = Callable[[bytes], bytes]
"""Makes the MAC of a text."""


@contextlib.contextmanager
def as_outage(what: str) -> Iterator[None]:
    """Turn an error of the token into an outage, in words."""
    try:
        yield
    except pkcs11.PKCS11Error as error:
        raise TokenOutage("failing", f"{what}: {slots.named(error)}") from error


def single_mac(key: Any, algorithm: str, retail_mechanism: int) -> Mac:
    """MACs by one mechanism of the token."""
    if algorithm == "aes-cmac":
        return _signer(key, Mechanism.AES_CMAC)
    if algorithm == "hmac-sha256":
        return _signer(key, Mechanism.SHA256_HMAC)
    if not retail_mechanism:
        raise TokenOutage("no-key", "a key comes in band only where the token has a retail MAC mechanism of its own")
    return vendor_retail(key, retail_mechanism)


def vendor_retail(key: Any, number: int) -> Mac:
    """Retail MACs by the vendor's mechanism of this number."""
    mechanism = by_number(number)
    try:
        # the general form takes the length to make (CK_MAC_GENERAL_PARAMS, a CK_ULONG)
        return _signer(key, mechanism, MAC_BYTES.to_bytes(8, sys.byteorder))
    except pkcs11.MechanismParamInvalid:
        return _signer(key, mechanism)


def composed_retail(left: Any, whole: Any) -> Mac:
    """Retail MACs out of two keys: see the top of the file."""
    try:
        chain, last = left.encrypt, whole.encrypt
    except AttributeError:
        raise TokenOutage("no-key", f'the keys "{whole.label}" and "{whole.label}{LEFT}" need ENCRYPT usage') from None

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


def enciphered_zeros(key: Any) -> bytes:
    """A block of zeros under this key."""
    if key.key_type not in _ENCIPHERING:
        raise TokenOutage("no-key", "a key of this kind enciphers no zeros: its check value must be the MAC of zeros")
    mechanism, length = _ENCIPHERING[key.key_type]
    enciphered: bytes = key.encrypt(bytes(length), mechanism=mechanism)
    return enciphered


def by_number(number: int) -> Mechanism:
    """A mechanism that the library may have no name for: it wants a member of its enumeration, and uses its number."""
    with contextlib.suppress(ValueError):
        return Mechanism(number)
    mechanism = int.__new__(Mechanism, number)
    mechanism._value_ = number
    mechanism._name_ = f"VENDOR_{number:#x}"
    return mechanism


def _signer(key: Any, mechanism: Mechanism, parameter: bytes | None = None) -> Mac:
    try:
        sign = key.sign
    except AttributeError:
        raise TokenOutage("no-key", f'the key "{key.label}" may not sign') from None

    def mac(data: bytes) -> bytes:
        made: bytes = sign(data, mechanism=mechanism, mechanism_param=parameter, buffer_size=64)
        return made[:MAC_BYTES]

    if len(mac(messages.CHECK_TEXT)) != MAC_BYTES:
        raise TokenOutage("failing", f"mechanism {int(mechanism):#x} makes fewer than {MAC_BYTES} bytes")
    return mac
