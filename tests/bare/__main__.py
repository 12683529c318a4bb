"""`make bare`: the README's two commands as a newcomer has them, on a Debian with nothing but what every Debian has.

Each person finds a fresh clone in a copy of a bare Debian root, without make, Python and SoftHSM, and copies the
commands. What these print is shown. Two things are fetched: Debian's packages, by the root's own apt from the mirror of
this machine's apt, and the locked Python packages, by this machine's pip.

    root            `./run demo`, and again: then nothing is installed any more
    interrupted     the same, after set-ups that were killed and interrupted, each at another moment
    sudo            the same as a user who may become root
    nobody          a user who may not: told what is missing, and that nothing else can be done
    tests           `./run test` with one file of tests: the set-up of all of them
    whole           only when named: every test that needs no container engine and no virtual machine

`--debian trixie` takes the next Debian, with its Python 3.13; `make newer-python` is `whole` on it. `--pytest=ARGS`
chooses what `whole` runs. The exit code is 0 when each went so.
"""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("tests.bare.__main__"))

import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

from gateway.machine.arguments import Parser
from tests.machines import roots

TOP = Path(__file__).parents[2]
LOCK = TOP / "requirements-dev.lock"
WITHIN_S = 1800.0
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
"""Debian's suites, and the Python that each has."""
USED_BY_TESTS = (
    "ca-certificates", "curl", "e2fsprogs", "fish", "gcc", "git", "iproute2", "libc6-dev", "make", "mount", "openssl",
    "procps", "prometheus", "python3", "python3-venv", "shellcheck", "softhsm2", "systemd", "util-linux", "xfsprogs",
    "zsh",
)  # fmt: skip
"""Debian's packages without which tests of `whole` would be skipped."""
PYTEST = (
    ".venv/bin/python -m pytest -rs --numprocesses 2 --dist loadfile --no-loadscope-reorder"
    " -o faulthandler_timeout=300 -o faulthandler_exit_on_timeout=true"
)
USER = "newcomer"
DEMO = "./run demo --seconds 20"
MOMENTS = (("KILL", 3), ("INT", 12), ("KILL", 20), ("INT", 26), ("KILL", 32))
"""Signals, and the seconds after which they come: while packages are fetched, unpacked, the .venv is made, filled."""

IN_ROOT = """
set -eu
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount --bind "$2" "$1/wheels"
shift 2
exec "$@"
"""


class Bare:
    """A copy of a bare root, with a clone of this project in it."""

    def __init__(self, place: Path, suite: str, *packages: str) -> None:
        self.place = place
        self.suite = suite
        self._wheels = wheels(suite)
        root = roots.root(*packages, suite=suite)
        subprocess.run(["cp", "--archive", str(root), str(place)], check=True)  # devices, owners and all
        (place / "etc/apt/sources.list").write_text(f"deb {roots.mirror(suite)} {suite} main\n")
        shutil.copy("/etc/resolv.conf", place / "etc/resolv.conf")
        (place / "etc/hostname").write_text("bare\n")  # every installed Debian has one; the root names no machine
        (place / "wheels").mkdir()
        self.said = ""

    def clone(self, home: str) -> None:
        """A fresh clone of what is committed."""
        subprocess.run(["git", "clone", "--quiet", str(TOP), str(self.place / home / "gateway")], check=True)

    def run(self, command: str, user: str = "root", home: str = "root") -> int:
        """Run a command line in the clone, and show what it prints. Returns its exit code."""
        print(f"\n{user}$ {command}", flush=True)
        environment = ["env", "-i", f"HOME=/{home}", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"]
        environment += ["PIP_NO_INDEX=1", "PIP_FIND_LINKS=/wheels"]
        as_user = [] if user == "root" else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        line = ["chroot", str(self.place), *environment, *as_user, "sh", "-c", f"cd /{home}/gateway && {command}"]
        enter = roots.bound(["sh", "-c", IN_ROOT, "sh", str(self.place), str(self._wheels), *line])
        began_s = time.monotonic()
        self.said = ""
        with subprocess.Popen(enter, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            assert process.stdout is not None
            for text in process.stdout:
                print(f"  {text}", end="", flush=True)
                self.said += text
            code = process.wait(WITHIN_S)
        print(f"  -- exit code {code}, after {time.monotonic() - began_s:.0f} s", flush=True)
        return code

    def person(self, *, sudo: bool) -> None:
        """A user, who may become root or not."""
        if sudo:
            must(self.run("apt-get -qq update && apt-get -qq install -y sudo >/dev/null 2>&1") == 0, "sudo")
            (self.place / "etc/sudoers.d/newcomer").write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
        must(self.run(f"useradd --create-home {USER}") == 0, "a user")
        self.clone(f"home/{USER}")
        must(self.run(f"chown -R {USER}: /home/{USER}") == 0, "a user's files")


def must(well: object, what: str) -> None:
    """Raise unless it is so."""
    if not well:
        raise AssertionError(what)


def as_root(bare: Bare) -> None:
    """Twice."""
    must(bare.run("command -v make python3 softhsm2-util") != 0, "nothing is there yet")
    must(bare.run(DEMO) == 0, "the demo went as it should")
    must("installing system packages: make" in bare.said, "it says what it installs")
    must("The demo went as it should." in bare.said, "the demo went as it should")
    must(bare.run(DEMO) == 0, "and again")
    must("installing" not in bare.said, "nothing is installed twice")
    must(bare.run("set -e; .venv/bin/fps-gateway journal verify var/demo/world-*/journal") == 0, "its journal is there")


def interrupted(bare: Bare) -> None:
    """At several moments; then it must go."""
    for number, after_s in MOMENTS:
        must(bare.run(f"timeout --signal={number} {after_s} ./run setup") != 0, "it was interrupted")
    must(bare.run("./run setup") == 0, "the next run puts right what was interrupted")
    must(bare.run(DEMO) == 0, "the demo went as it should")


def with_sudo(bare: Bare) -> None:
    """An ordinary user."""
    bare.person(sudo=True)
    must(bare.run(DEMO, USER, f"home/{USER}") == 0, "the demo went as it should")


def without_sudo(bare: Bare) -> None:
    """Nothing can be installed."""
    bare.person(sudo=False)
    must(bare.run(DEMO, USER, f"home/{USER}") != 0, "it cannot")
    must("apt-get install make" in bare.said, "it says what to do as root")


def tests(bare: Bare) -> None:
    """The other command, as far as it differs."""
    must(bare.run("./run test tests/test_readme.py tests/loadtest/runs/test_world.py") == 0, "the tests pass")


def whole(arguments: str) -> Callable[[Bare], None]:
    """Every test, or what these arguments of pytest's choose."""

    def person(bare: Bare) -> None:
        must(bare.run("./run setup") == 0, "it is set up")
        must(bare.run(".venv/bin/python -V") == 0, "there is a Python")
        must(f"Python {PYTHONS[bare.suite]}." in bare.said, "it is this Debian's")
        must(bare.run(f"{PYTEST} {arguments}") == 0, "the tests pass")

    return person


PEOPLE: dict[str, Callable[[Bare], None]] = {
    "root": as_root, "interrupted": interrupted, "sudo": with_sudo, "nobody": without_sudo, "tests": tests,
}  # fmt: skip
WHOLE = "whole"


def wheels(suite: str) -> Path:
    """The locked packages for the suite's Python, downloaded once."""
    python = PYTHONS[suite]
    place = roots.cache("wheels") / blake2b(LOCK.read_bytes() + python.encode(), digest_size=8).hexdigest()
    with roots.made_once(place) as making:
        if making is not None:
            command = [sys.executable, "-m", "pip", "download", "-qq", "--require-hashes", "--only-binary", ":all:"]
            subprocess.run([*command, *_of(python), "--dest", str(making), "-r", str(LOCK)], check=True)
            making.chmod(0o755)
    return place


def _of(python: str) -> list[str]:
    """The options by which pip downloads for another Python of this machine's kind."""
    tag = f"cp{python.replace('.', '')}"
    names = [f"manylinux_2_{minor}" for minor in range(5, 37)] + ["manylinux2014", "manylinux1", "linux"]
    platforms = [f"--platform={name}_{platform.machine()}" for name in names]
    return [f"--python-version={python}", "--implementation=cp", f"--abi={tag}", "--abi=abi3", "--abi=none", *platforms]


def run_people(people: dict[str, Callable[[Bare], None]], suite: str) -> int:
    """Each of them in a root of their own."""
    failed = []
    try:
        for name, person in people.items():
            print(f"\n== {name}, on {suite} with Python {PYTHONS[suite]}", flush=True)
            with tempfile.TemporaryDirectory(prefix="fps-bare-") as directory:
                bare = Bare(Path(directory, "root"), suite, *(USED_BY_TESTS if name == WHOLE else ()))
                bare.clone("root")
                try:
                    person(bare)
                except AssertionError as error:
                    failed.append(name)
                    print(f"FAILED: not so: {error}", flush=True)
    except roots.Missing as missing:
        print(f"bare: {missing}", file=sys.stderr)
        return 2
    print(f"\n{len(people) - len(failed)} of {len(people)} went as they should. Not so: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def main(arguments: list[str]) -> int:
    """Read the command line."""
    parser = Parser(prog=".venv/bin/python -m tests.bare", description=__doc__)
    names = [*PEOPLE, WHOLE]
    every = ", ".join(names)
    parser.add_argument("people", nargs="*", metavar="PERSON", help=f"of {every} (default: all but {WHOLE})")
    parser.add_argument("--debian", choices=PYTHONS, default=roots.SUITE, help="which suite (default: %(default)s)")
    parser.add_argument("--pytest", metavar="ARGS", default="", help=f"pytest's arguments in {WHOLE} (default: none)")
    given = parser.parse_args(arguments)
    if unknown := set(given.people) - set(names):
        parser.error(f"nobody is called {', '.join(sorted(unknown))}")
    everybody = {**PEOPLE, WHOLE: whole(given.pytest)}
    return run_people({name: everybody[name] for name in given.people or PEOPLE}, given.debian)
