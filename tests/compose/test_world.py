"""What `make world` does without an engine."""

import os
import tempfile
from pathlib import Path

import pytest

from compose.world import MADE, remove_left


def test_what_a_killed_run_has_made_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = tmp_path / f"{MADE}{2**31}-abc"
    kept = [tmp_path / f"{MADE}{os.getpid()}-abc", tmp_path / f"{MADE}abc", tmp_path / "other"]
    for place in (gone, *kept):
        (place / "dc-a" / "secrets").mkdir(parents=True)
    remove_left()
    assert sorted(tmp_path.iterdir()) == sorted(kept)
