"""The hub's software MACs are those of the ceremony's reference; its key file is the one that provisioning makes."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsm import reference
from hsm.layout import KEY_BYTES, KEYS_FILE
from loadtest import world
from loadtest.keys import Algorithm, mac_of, read_keys


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
