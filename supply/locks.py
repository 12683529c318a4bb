"""The locks: each package with its exact version and the hashes of its files."""

import re
from pathlib import Path

from msgspec import Struct

TOP = Path(__file__).parents[1]
SHIPPED, TOOLS = "requirements.lock", "requirements-dev.lock"
"""What an installation has; the same, and what builds and tests it."""
_PACKAGE = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^ ;\\]+)([^\n]*(?:\n[ \t]+[^\n]*)*)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class Locked(Struct, frozen=True, order=True):
    """A package at its version."""

    name: str
    """Normalised, as the registry compares names."""
    version: str
    sha256: tuple[str, ...] = ()
    """One of these is the hash of whichever file is installed."""


def normal(name: str) -> str:
    """A package's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parsed(text: str) -> tuple[Locked, ...]:
    """The packages of a lock, by name. Raises `ValueError` for one without a hash: what is it, then?"""
    found = sorted(
        Locked(normal(name), version, tuple(sorted(_HASH.findall(rest))))
        for name, version, rest in _PACKAGE.findall(text)
    )
    without = [package.name for package in found if not package.sha256]
    if without or not found:
        raise ValueError(f"no hash for {', '.join(without)}" if without else "no package in it")
    return tuple(found)


def read(name: str) -> tuple[Locked, ...]:
    """The packages of a lock of ours."""
    return parsed((TOP / name).read_text(encoding="utf-8"))
