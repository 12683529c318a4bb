"""The hub's software MACs are those of the ceremony's reference; its key file is the one that provisioning makes."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsm import reference
from hsm.layout import KEY_BYTES, KEYS_FILE
from loadtest.hub.keys import Algorithm, check_value, mac_of, read_keys, wrap
from loadtest.runs import world


@pytest.mark.parametrize("algorithm", ["aes-cmac", "hmac-sha256", "des3-retail"])
@given(data=st.binary(max_size=100), seed=st.binary(min_size=32, max_size=32))
def test_each_algorithm_is_the_references(algorithm: Algorithm, data: bytes, seed: bytes) -> None:
    """Two implementations of each MAC agree on any bytes, padded or not."""
    key = seed[: KEY_BYTES[algorithm]]
    assert mac_of(algorithm, key)(data) == reference.mac(algorithm, key, data).hex().upper().encode()


def test_a_retail_key_of_another_length_is_refused() -> None:
    """Rather than authenticating with half a key."""
    with pytest.raises(ValueError, match="16 or 24 bytes"):
        mac_of("des3-retail", bytes(8))


def test_a_key_is_wrapped_as_the_standards_examples_are() -> None:
    """RFC 3394 section 4.3 and RFC 5649 section 6. That tokens unwrap them: tests/signer/test_installs.py."""
    transport = bytes(range(32))
    assert wrap(transport, bytes.fromhex("00112233445566778899AABBCCDDEEFF")).hex().upper() == (
        "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7"
    )
    transport = bytes.fromhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
    wrapped = wrap(transport, bytes.fromhex("c37b7e6492584340bed12207808941155068f738"), padded=True)
    assert wrapped.hex() == "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"


def test_check_values() -> None:
    """The leftmost digits of what the reference makes; a block of zeros under AES: FIPS 197's key of zeros."""
    key = bytes(range(16))
    assert check_value("aes-cmac", key) == reference.mac("aes-cmac", key, bytes(16))[:3].hex().upper()
    assert check_value("aes-cmac", bytes(16), 8, "encrypt-zeros") == "66E94BD4"
    assert check_value("des3-retail", bytes(16), 6, "encrypt-zeros") == "8CA64D"
    with pytest.raises(ValueError, match="enciphers nothing"):
        check_value("hmac-sha256", bytes(32), 6, "encrypt-zeros")


def test_the_key_file_is_read_and_a_bad_one_is_refused_without_its_content(tmp_path: Path) -> None:
    """What it holds is secret even when it makes no sense."""
    assert world.KEYS_FILE == KEYS_FILE
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps({"fps-hub": "00ff"}))
    bad.write_text(json.dumps({"fps-hub": "no-such-hex-SECRET"}))
    assert read_keys(good) == {"fps-hub": b"\x00\xff"}
    with pytest.raises(ValueError, match="label and hex") as error:
        read_keys(bad)
    assert "SECRET" not in str(error.value)
