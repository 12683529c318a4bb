"""Makes a finding smaller, in place, as long as it stays one: `.venv/bin/python -m tests.fuzz.shrink TARGET FILE`."""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("tests.fuzz.shrink"))

import time
import traceback
from pathlib import Path

from tests.fuzz.quiet import hush
from tests.fuzz.target import Target, target_of

WITHIN_S = 20.0


def finding(target: Target, data: bytes) -> tuple[str, ...]:
    """What is wrong, as far as it names a finding: the error and the last lines of ours; empty when nothing is."""
    try:
        target.run(data)
    except BaseException as error:  # noqa: BLE001  whatever it is, it is the finding
        frames = traceback.extract_tb(error.__traceback__)[-2:]
        return (error.__class__.__name__, *(f"{frame.filename}:{frame.lineno}" for frame in frames))
    return ()


def shrunk(target: Target, data: bytes, within_s: float = WITHIN_S) -> bytes:
    """Leave out what can be left out."""
    wanted, until_s = finding(target, data), time.monotonic() + within_s
    size = len(data) // 2
    while wanted and size:
        at = 0
        while at < len(data) and time.monotonic() < until_s:
            less = data[:at] + data[at + size :]
            if finding(target, less) == wanted:
                data = less
            else:
                at += size
        size //= 2
    return data


def main(arguments: list[str]) -> int:
    """Write the smaller one over the file."""
    if len(arguments) != 2:
        sys.stderr.write("usage: .venv/bin/python -m tests.fuzz.shrink TARGET FILE\n")
        return 2
    hush()
    name, path = arguments
    file = Path(path)
    file.write_bytes(shrunk(target_of(name), file.read_bytes()))
    return 0
