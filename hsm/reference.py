"""The MACs of the protocol in software, from a key's value: for provisioning, and for the tests as an oracle.

The gateway itself never has a key's value: its keys are in tokens.
"""

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

MAC_BYTES = 8


def mac(algorithm: str, key: bytes, data: bytes) -> bytes:
    """The 64-bit MAC; `algorithm` is one of `gateway.config.Mac.algorithm`."""
    if algorithm == "aes-cmac":
        cmac = CMAC(AES(key))
        cmac.update(data)
        return cmac.finalize()[:MAC_BYTES]
    if algorithm == "hmac-sha256":
        hmac = HMAC(key, SHA256())
        hmac.update(data)
        return hmac.finalize()[:MAC_BYTES]
    assert algorithm == "des3-retail", algorithm
    return retail_mac(key, data)


def enciphered_zeros(key: bytes) -> bytes:
    """A block of zeros under an AES key: its left part is the check value of a key that makes no MACs."""
    context = Cipher(AES(key), modes.ECB()).encryptor()  # noqa: S305 (one block)
    return context.update(bytes(16)) + context.finalize()


def retail_mac(key: bytes, data: bytes) -> bytes:
    """ANSI X9.19, ISO 9797-1 algorithm 3 with padding method 1, as defined: single DES, block by block.

    DES-CBC under the left half over every block; the last one then deciphered under the right half and enciphered
    under the left again.
    """
    left, right = key[:8], key[8:16]
    padded = data + bytes(-len(data) % 8) if data else bytes(8)
    chained = bytes(8)
    for at in range(0, len(padded), 8):
        mixed = bytes(a ^ b for a, b in zip(chained, padded[at : at + 8], strict=True))
        chained = _des(left, mixed, encipher=True)
    return _des(left, _des(right, chained, encipher=False), encipher=True)


def _des(key: bytes, block: bytes, *, encipher: bool) -> bytes:
    """Single DES: triple DES under the same key three times."""
    cipher = Cipher(TripleDES(key * 3), modes.ECB())  # noqa: S305 (one block of a construction of its own)
    context = cipher.encryptor() if encipher else cipher.decryptor()
    return context.update(block) + context.finalize()
