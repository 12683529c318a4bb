"""`make bare`: the README's two commands as a newcomer has them, on a Debian with nothing but what every Debian has.

Each person finds a fresh clone in a copy of a bare Debian root, where neither make, Python nor SoftHSM is, and copies
the commands. Shown is what they print. What is fetched is Debian's packages, by the root's own apt from the mirror that
this machine's has, and the locked Python packages, which this machine's pip has downloaded.

    root            `./run demo`, and again: then nothing is installed any more
    interrupted     the same, after set-ups that were killed and interrupted, each at another moment
    sudo            the same as a user who may become root
    nobody          a user who may not: told what is missing, and that nothing else can be done
    tests           `./run test` with one file of tests: the set-up of all of them

The exit code is 0 when each went so.
"""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("tests.bare.__main__"))

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

    def __init__(self, place: Path, wheels: Path) -> None:
        self.place = place
        self._wheels = wheels
        subprocess.run(["cp", "--archive", str(roots.root()), str(place)], check=True)  # devices, owners and all
        (place / "etc/apt/sources.list").write_text(f"deb {roots.mirror()} {roots.SUITE} main\n")
        shutil.copy("/etc/resolv.conf", place / "etc/resolv.conf")
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


PEOPLE: dict[str, Callable[[Bare], None]] = {
    "root": as_root, "interrupted": interrupted, "sudo": with_sudo, "nobody": without_sudo, "tests": tests,
}  # fmt: skip


def wheels() -> Path:
    """The locked packages, downloaded once."""
    place = roots.cache("wheels") / blake2b(LOCK.read_bytes(), digest_size=8).hexdigest()
    with roots.made_once(place) as making:
        if making is not None:
            command = [sys.executable, "-m", "pip", "download", "-qq", "--require-hashes", "--only-binary", ":all:"]
            subprocess.run([*command, "--dest", str(making), "-r", str(LOCK)], check=True)
            making.chmod(0o755)
    return place


def run_people(people: list[str]) -> int:
    """Each of them in a root of their own."""
    failed = []
    try:
        packages = wheels()
        for name in people:
            print(f"\n== {name}", flush=True)
            with tempfile.TemporaryDirectory(prefix="fps-bare-") as directory:
                place = Path(directory, "root")
                bare = Bare(place, packages)
                bare.clone("root")
                try:
                    PEOPLE[name](bare)
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
    parser.add_argument("people", nargs="*", metavar="PERSON", help=f"of {', '.join(PEOPLE)} (default: all)")
    given = parser.parse_args(arguments).people
    if unknown := set(given) - set(PEOPLE):
        parser.error(f"nobody is called {', '.join(sorted(unknown))}")
    return run_people(given or list(PEOPLE))
