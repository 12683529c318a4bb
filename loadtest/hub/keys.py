"""MACs in software, so that the hub's side needs no token: the same keys that the participant's HSM holds.

The key file is what `.venv/bin/python -m hsm provision` writes for development: JSON, label → hex. The hub signs with
`fps-hub`, the participant with `fps-own`; new keys travel under `fps-transport`. A MAC is 64 bits: 16 upper-case hex
characters (docs/protocol.md section 7).
"""

import hashlib
import hmac
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.keywrap import aes_key_wrap, aes_key_wrap_with_padding

Algorithm = Literal["aes-cmac", "hmac-sha256", "des3-retail"]
CheckMethod = Literal["mac-zeros", "encrypt-zeros"]
Mac = Callable[[bytes], bytes]
"""Covered bytes in, 16 upper-case hex characters out."""

MAC_BYTES = 16
"""Characters of DE128."""


def read_keys(path: str | Path) -> dict[str, bytes]:
    """The keys of a development key file. Raises OSError or ValueError, without the content."""
    try:
        raw = msgspec.json.decode(Path(path).read_bytes(), type=dict[str, str])
        return {label: bytes.fromhex(text) for label, text in raw.items()}
    except (ValueError, msgspec.MsgspecError) as error:
        raise ValueError(f"{path}: not a JSON object of label and hex") from error


def wrap(transport: bytes, key: bytes, *, padded: bool = False) -> bytes:
    """A key as it travels in DE125 (RFC 3394, or padded, RFC 5649); both have whole AES-sized lengths.

    Raises ValueError when one has not.
    """
    return aes_key_wrap_with_padding(transport, key) if padded else aes_key_wrap(transport, key)


def check_value(algorithm: Algorithm, key: bytes, digits: int = 6, method: CheckMethod = "mac-zeros") -> str:
    """So many upper-case hex digits of the MAC over 16 zero bytes, or of a block of zeros enciphered."""
    if method == "mac-zeros":
        return mac_of(algorithm, key)(bytes(16)).decode()[:digits]
    if algorithm == "hmac-sha256":
        raise ValueError("a key for HMAC enciphers nothing")
    if algorithm == "des3-retail":
        cipher: Cipher[modes.ECB] = _triple_des(key)
    else:
        cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 (one block of zeros: what a check value is)
    enciphered = cipher.encryptor().update(bytes(8 if algorithm == "des3-retail" else 16))
    return enciphered.hex().upper()[:digits]


def _triple_des(key: bytes) -> Cipher[modes.ECB]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as below
        from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES

        return Cipher(TripleDES(key), modes.ECB())  # noqa: S305 (as above)


def mac_of(algorithm: Algorithm, key: bytes) -> Mac:
    """A function that makes MACs with this key. Raises ValueError when the key does not fit the algorithm."""
    if algorithm == "aes-cmac":
        return _aes_cmac(key)
    if algorithm == "hmac-sha256":
        return _hmac_sha256(key)
    return _des3_retail(key)


def _aes_cmac(key: bytes) -> Mac:
    # copying a CMAC that has its key schedule halves the cost of making one
    fresh = CMAC(algorithms.AES(key))

    def mac(covered: bytes) -> bytes:
        one = fresh.copy()
        one.update(covered)
        return one.finalize()[:8].hex().upper().encode()

    return mac


def _hmac_sha256(key: bytes) -> Mac:
    def mac(covered: bytes) -> bytes:
        return hmac.digest(key, covered, hashlib.sha256)[:8].hex().upper().encode()

    return mac


def _des3_retail(key: bytes) -> Mac:
    """ISO 9797-1 algorithm 3, padding method 1 (zeros): DES-CBC under the first key, the last block under both."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # DES is deprecated everywhere but in the schemes that prescribe it
        from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES

    if len(key) not in {16, 24}:
        raise ValueError("a retail MAC needs a key of 16 or 24 bytes")
    first, second = key[:8], key[8:16]

    def des(one_key: bytes, data: bytes, *, encrypt: bool, mode: modes.CBC | modes.ECB) -> bytes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cipher = Cipher(TripleDES(one_key * 3), mode)
        context = cipher.encryptor() if encrypt else cipher.decryptor()
        return context.update(data) + context.finalize()

    def mac(covered: bytes) -> bytes:
        padded = covered + bytes(-len(covered) % 8 if covered else 8)
        last = des(first, padded, encrypt=True, mode=modes.CBC(bytes(8)))[-8:]
        middle = des(second, last, encrypt=False, mode=modes.ECB())  # noqa: S305 - one block: what the standard prescribes
        return des(first, middle, encrypt=True, mode=modes.ECB()).hex().upper().encode()  # noqa: S305 - as above

    return mac
