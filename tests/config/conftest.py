"""Loads a text as the configuration."""

from pathlib import Path

import pytest

from gateway import config
from gateway.config import file as config_file
from tests.config.good import Load


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a text as fps.toml."""
    monkeypatch.chdir(tmp_path)

    def load_text(text: str) -> config.Configuration:
        Path("fps.toml").write_text(text, encoding="utf-8")
        return config_file.load("fps.toml")

    return load_text
