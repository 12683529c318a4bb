"""The inputs that are kept: a few small ones for each target that together reach what all that were found reach."""

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import gateway
from tests.fuzz.target import Target

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
FINDINGS = HERE / "findings"
FILES_MAX = 24
"""For one target."""
BYTES_MAX = 4000
"""Of one file."""
_GATEWAY = str(Path(gateway.__file__).parent)

Arc = tuple[str, int, int]


def files(target: str, folder: Path = CORPUS) -> list[Path]:
    """What is kept for a target."""
    return sorted((folder / target).glob("*"))


def name_of(data: bytes) -> str:
    """The file name of an input."""
    return hashlib.sha256(data).hexdigest()[:16]


def save(target: str, data: bytes, folder: Path) -> Path:
    """Keep an input."""
    file = folder / target / name_of(data)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def arcs_of(target: Target, data: bytes) -> set[Arc]:
    """Which line of the gateway follows which when this runs."""
    arcs: set[Arc] = set()

    def local(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            name, line = frame.f_code.co_filename, frame.f_lineno
            arcs.add((name, before.get(name, 0), line))
            before[name] = line
        return local

    def enter(frame: FrameType, _event: str, _arg: Any) -> Any:
        return local if frame.f_code.co_filename.startswith(_GATEWAY) else None

    before: dict[str, int] = {}
    sys.settrace(enter)
    try:
        target.run(data)
    except BaseException:  # noqa: BLE001  a finding is kept elsewhere
        return set()
    finally:
        sys.settrace(None)
    return arcs


def chosen(target: Target, inputs: Iterable[bytes]) -> list[bytes]:
    """Those that reach the most, the small ones first."""
    reached = {data: arcs_of(target, data) for data in sorted(set(inputs), key=len) if len(data) <= BYTES_MAX}
    kept, known = list[bytes](), set[Arc]()
    while reached and len(kept) < FILES_MAX:
        best = max(reached, key=lambda data: len(reached[data] - known))
        if not reached[best] - known:
            break
        known |= reached.pop(best)
        kept.append(best)
    return kept


def keep(name: str, target: Target, found: Iterable[bytes]) -> int:
    """Put the corpus of a target together anew, out of itself, the samples, and what was found. Returns its files."""
    old = files(name)
    kept = chosen(target, [*(file.read_bytes() for file in old), *target.samples(), *found])
    names = {save(name, data, CORPUS) for data in kept}
    for file in old:
        if file not in names:
            file.unlink()
    return len(names)
