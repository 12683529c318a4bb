"""Root file systems of Debian for containers and virtual machines: made once, kept, and the same for everybody.

`root("python3", "ca-certificates")` is a directory with a minimal Debian and these packages. It lies in the user's
cache below a digest of what it is made of; nobody writes into it, who needs another one copies it. The mirror is the
one that the machine's apt uses, asked at the time and written nowhere.

Whoever wants one that is being made waits for it. A run that is killed leaves a directory that the next one removes;
its debootstrap is killed with it, and what that had mounted goes with its namespace.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUITE = "bookworm"
RECIPE = "1"
"""Changed when the same packages would make another root."""
WITHIN_S = 900.0
"""How long making one may take: a mirror that answers no more must not hang a run."""
_OURS_ALONE = 0o700
_HASTE = "etc/dpkg/dpkg.cfg.d/haste"
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


class Missing(Exception):
    """The machine cannot do this, and why: tests skip with it."""


def root(*packages: str, suite: str = SUITE) -> Path:
    """A minimal Debian with these packages, which is not to be written into. Takes a minute when it is the first one.

    Raises `Missing` where the machine cannot make one.
    """
    need_root("making a Debian root")
    wanted = sorted(set(packages))
    made_of = "\n".join((RECIPE, suite, _architecture(), *wanted))
    place = cache("roots") / hashlib.blake2b(made_of.encode(), digest_size=8).hexdigest()
    with made_once(place) as making:
        if making is not None:
            _debootstrap(making, wanted, suite)
    return place


def command(name: str, package: str) -> str:
    """The path of a command that an administrator has. Raises `Missing`, naming the package that it is in."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}")
    if found is None:
        raise Missing(f"{package} is not installed")
    return found


def need_root(what: str) -> None:
    """Raise `Missing` for everybody but root."""
    if os.geteuid() != 0:
        raise Missing(f"{what} needs root")


def cache(kind: str) -> Path:
    """Where things of this kind are kept between runs."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = home / "fps-gateway" / kind
    place.mkdir(parents=True, exist_ok=True, mode=_OURS_ALONE)
    return place


@contextmanager
def made_once(place: Path) -> Iterator[Path | None]:
    """Make a directory that is there whole or not at all: an empty one to fill, or None when it is made already.

    One process at a time; the others wait for it. What those left behind who were killed is removed.
    """
    if place.is_dir():
        yield None
        return
    lock = os.open(place.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if place.is_dir():
            yield None
            return
        for left in place.parent.glob(f"{place.name}.making-*"):
            shutil.rmtree(left, ignore_errors=True)
        making = Path(tempfile.mkdtemp(prefix=f"{place.name}.making-", dir=place.parent))
        try:
            yield making
            making.rename(place)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    finally:
        os.close(lock)


def mirror(suite: str = SUITE) -> str:
    """The address that the machine's apt has this suite from, or has `SUITE` from: Debian's suites lie side by side."""
    lists = _said([command("apt-get", "apt"), "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)"])
    main = {codename: uri for uri, codename, component in map(str.split, lists.splitlines()) if component == "main"}
    if found := main.get(suite) or main.get(SUITE):
        return found
    raise Missing(f"this machine's apt has no {SUITE}")


def bound(arguments: list[str]) -> list[str]:
    """A command that is killed with all that it has started when we are, in mount and process namespaces of its own."""
    return [
        command("setpriv", "util-linux"), "--pdeathsig", "KILL",
        command("unshare", "util-linux"), "--mount", "--pid", "--fork", "--kill-child", *arguments,
    ]  # fmt: skip


def _debootstrap(into: Path, packages: list[str], suite: str) -> None:
    include = [f"--include={','.join(packages)}"] if packages else []
    maker = [command("debootstrap", "debootstrap"), "--variant=minbase", *include, suite, str(into), mirror(suite)]
    # a root that is cut short is thrown away: its files need not be synced one by one
    (into / _HASTE).parent.mkdir(parents=True)
    (into / _HASTE).write_text("force-unsafe-io\n")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    environment["PATH"] = f"{environment.get('PATH', '')}:{_SBIN}"
    try:
        made = subprocess.run(
            bound(maker), capture_output=True, text=True, check=False, timeout=WITHIN_S, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise Missing(f"debootstrap was not done after {WITHIN_S:g} s") from error
    if made.returncode:
        # the last line may be an address: what was wrong stands before it, in debootstrap's own log
        why = next((line for line in made.stdout.splitlines()[::-1] if line.startswith("E:")), "E: no reason given")
        raise Missing(f"debootstrap cannot make a root here: {why.removeprefix('E: ').split('http')[0].strip()}")
    # nothing of the machine that made it: neither its mirror, nor its name and resolver, nor what was unpacked
    (into / "etc/apt/sources.list").write_text("")
    for own in ("etc/resolv.conf", "etc/hostname", "var/log/bootstrap.log", _HASTE):
        (into / own).unlink(missing_ok=True)
    for package in (into / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()
    for index in (into / "var/lib/apt/lists").glob("*_*"):
        index.unlink()
    # a directory that mkdtemp made is closed to everybody else; a container's user must be able to enter its /
    into.chmod(0o755)


def _architecture() -> str:
    return _said([command("dpkg", "dpkg"), "--print-architecture"]).strip()


def _said(arguments: list[str]) -> str:
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
