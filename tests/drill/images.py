"""The images that guests boot from: kernel, first file system and system once, kept; a small one per run.

A guest's root is an overlay: memory over the drill's own image over the system's. So every boot is a fresh machine,
and what outlives it lies on its data disks alone.
"""

import compileall
import hashlib
import re
import shutil
import stat
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from tests.drill import cpio
from tests.drill.plan import CODE, DEBIAN, FENCER, HERE, MODULES, PACKAGES, TOP
from tests.machines import roots

RECIPE = "1"
"""Changed when the same packages would make another system."""
SLACK_BYTES = 64 << 20
"""What a file system needs beside its files."""
_EXECUTABLE = stat.S_IFREG | 0o755


class System(NamedTuple):
    """What all guests boot from."""

    kernel: Path
    first: Path
    """The first file system (initramfs)."""
    image: Path
    """The root below everything."""


def system() -> System:
    """Debian with the gateway's locked packages, made once. Raises `roots.Missing`, or CalledProcessError."""
    root = roots.root(*DEBIAN)
    lock = TOP / "requirements.lock"
    first = (HERE / "init.sh").read_bytes()
    made_of = b"\n".join((RECIPE.encode(), root.name.encode(), lock.read_bytes(), first, " ".join(MODULES).encode()))
    place = roots.cache("drill") / hashlib.blake2b(made_of, digest_size=8).hexdigest()
    with roots.made_once(place) as making:
        if making is not None:
            _make(making, root, lock, first)
    return System(place / "kernel", place / "first", place / "system.img")


def _make(making: Path, root: Path, lock: Path, first: bytes) -> None:
    kernel = next(iter(sorted((root / "boot").glob("vmlinuz-*"))))
    shutil.copy2(kernel, making / "kernel")
    (making / "first").write_bytes(cpio.archive(_first_files(root, kernel.name.removeprefix("vmlinuz-"), first)))
    tree = making / "tree"
    # the same files under new names, not copies: nobody writes into them
    subprocess.run(["cp", "-al", str(root), str(tree)], check=True)
    shutil.rmtree(tree / "boot")
    for package in locked(lock.read_text(encoding="utf-8")):
        _copy_package(package, tree / PACKAGES.lstrip("/"))
    image(tree, making / "system.img")
    shutil.rmtree(tree)


def locked(lock: str) -> list[str]:
    """The packages that a lock pins, by name."""
    return re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==", lock, re.MULTILINE)


def _copy_package(name: str, into: Path) -> None:
    """An installed package as this interpreter has it: the guest's is Debian's as well. Raises PackageNotFoundError."""
    for file in metadata.files(name) or ():
        source = Path(str(file.locate()))
        if ".." not in file.parts and source.is_file():  # commands lie elsewhere, and nobody calls them
            at = into / file
            at.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, at)


def _first_files(root: Path, release: str, init: bytes) -> dict[str, tuple[int, bytes]]:
    """What the first file system holds: busybox with its libraries, modules in the order of loading, init."""
    files = {"init": (_EXECUTABLE, init), "bin/busybox": (_EXECUTABLE, (root / "bin/busybox").read_bytes())}
    listed = subprocess.run(
        ["chroot", str(root), "ldd", "/bin/busybox"], capture_output=True, text=True, check=True
    ).stdout
    for word in listed.split():
        if word.startswith("/"):
            files[word.lstrip("/")] = (_EXECUTABLE, _within(root, word).read_bytes())
    folder = root / "usr/lib/modules" / release
    order = load_order((folder / "modules.dep").read_text(), MODULES)
    for path in order:
        files[f"modules/{Path(path).name}"] = (_EXECUTABLE, (folder / path).read_bytes())
    names = "".join(f"{Path(path).name}\n" for path in order)
    files["modules/order"] = (stat.S_IFREG | 0o644, names.encode())
    return files


def _within(root: Path, path: str) -> Path:
    """Where a path of the root really lies: its links are seen from inside, where / is the root."""
    at = root / path.lstrip("/")
    while at.is_symlink():
        target = at.readlink()
        at = root / target.relative_to("/") if target.is_absolute() else at.parent / target
    return at


def load_order(depends: str, wanted: tuple[str, ...]) -> list[str]:
    """Paths of these kernel modules and of all that they need, each after what it needs.

    `depends` is modules.dep: `PATH: PATH…`, what is needed first being named last. Raises KeyError for an unknown one.
    """
    lines = [line.partition(":") for line in depends.splitlines()]
    needs = {path: rest.split() for path, _, rest in lines}
    by_name = {Path(path).stem.replace("-", "_"): path for path in needs}
    order: list[str] = []
    for name in wanted:
        path = by_name[name]
        order += [one for one in (*reversed(needs[path]), path) if one not in order]
    return order


def node(directory: Path, into: Path, files: Mapping[str, str | Path]) -> None:
    """An image for both servers: the gateway's code, the agent, and `files` (path in the guest → text or what to copy).

    `directory` is scratch space of the caller's.
    """
    if directory.exists():
        shutil.rmtree(directory)
    code = directory / CODE.lstrip("/")
    shutil.copytree(TOP / "gateway", code / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(HERE / "agent.py", code / "agent.py")
    compileall.compile_dir(str(code), quiet=1, stripdir=str(code), prependdir=CODE)
    for path, what in files.items():
        at = directory / path.lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, str):
            at.write_text(what, encoding="utf-8")
        elif what.is_dir():
            shutil.copytree(what, at)
        else:
            shutil.copy2(what, at)
        if path == FENCER:
            at.chmod(0o755)
    image(directory, into)


def image(tree: Path, into: Path) -> None:
    """An ext4 image of a folder, owned by root."""
    blocks = sum(path.lstat().st_blocks * 512 for path in tree.rglob("*"))
    size = blocks + blocks // 8 + SLACK_BYTES
    with into.open("wb") as file:
        file.truncate(size)
    subprocess.run(
        [
            roots.command("mke2fs", "e2fsprogs"),
            "-q",
            "-t",
            "ext4",
            "-O",
            "^has_journal",
            "-d",
            str(tree),
            "-F",
            str(into),
        ],
        check=True,
    )
