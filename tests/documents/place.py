"""A checkout as a newcomer has it, and a shell in it: nothing of ours in the environment, and no `python`.

The copy holds what git would take, no more. Its .venv is made by the machine's python3 and takes the locked packages
from where the tests have them; with `whole`, `make setup` makes it, from the package index. The shell of root is kept
apart: it has a network of its own, so that ports which a document names are free, and may write to no file system but
the copy's.
"""

import os
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

import trio

from tests.documents.blocks import TOP

BEFORE = Path(__file__).parent / "before"
PYTHON = "/usr/bin/python3"
NOT_THERE = {"python", "pip", "pip3", "fps-gateway"}
"""Commands that a bare machine has not, whoever develops on it."""
DIRECTORIES = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
QUIET_WITHIN_S = 20.0
"""What runs in a terminal of its own says that it is there within this time, and is ended within it."""
_APART = """
set -e
mount --bind "$0" "$0"
cd "$PWD"
findmnt --raw --noheadings --output TARGET | grep -Ev '^/(proc|sys|dev)(/|$)' | sort -u | while read -r mount; do
    [ "$mount" = "$0" ] || mount -o remount,bind,ro "$mount"
done
[ "$1" = with-network ] || ip link set lo up
shift
exec "$@"
"""
"""For root: whatever a block does, it changes nothing but the checkout and what is beside it, and meets nobody."""


class Checkout:
    """A copy of this project, and the environment of whoever works in it."""

    def __init__(self, directory: Path, *, whole: bool) -> None:
        self.dir = directory / "checkout"
        home, bin_, temporary = directory / "home", directory / "bin", directory / "tmp"
        self.said = directory / "said"
        """What blocks print."""
        for path in (self.dir, home, bin_, temporary, self.said):
            path.mkdir()
        _copy(self.dir)
        _link_programs(bin_)
        self.environment = {"PATH": str(bin_), "HOME": str(home), "LANG": "C.UTF-8", "TMPDIR": str(temporary)}
        if whole:
            self.environment |= _to_the_index()
        else:
            self._make_venv()
        network = "with-network" if whole else "without"
        unshare = ["unshare", "--mount", *([] if whole else ["--net"])]
        self.around = [*unshare, "bash", "-c", _APART, str(directory), network] if os.geteuid() == 0 else []
        self.join = ["nsenter", "--mount", *([] if whole else ["--net"]), "--target"]
        self.apart = subprocess.run([*self.around, "true"], check=False).returncode == 0
        """What root runs must be kept apart; where that cannot be, nothing is run."""

    def _make_venv(self) -> None:
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", ".venv"], cwd=self.dir, check=True)
        site = next((self.dir / ".venv" / "lib").iterdir()) / "site-packages"
        (site / "packages-of-the-tests.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
        command = [
            ".venv/bin/python", "-m", "pip", "install", "-qq", "--ignore-installed", "--no-index", "--no-deps",
            "--no-build-isolation", "--editable", ".",
        ]  # fmt: skip
        quiet = {**self.environment, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        subprocess.run(command, cwd=self.dir, env=quiet, check=True)
        (self.dir / ".venv" / ".ready").touch()

    def changes(self) -> str:
        """What git would take of what was made here, or misses."""
        return _git(self.dir, "status", "--porcelain")

    def clean(self) -> None:
        """As it was, but for .venv."""
        _git(self.dir, "clean", "-xdffq", "-e", ".venv")
        _git(self.dir, "checkout", "-q", ".")


def _to_the_index() -> dict[str, str]:
    """What this machine needs to reach a package index, and nothing else of ours."""
    known = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_CERT_"))}
    known |= {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    own = Path.home() / ".config" / "pip" / "pip.conf"
    return {"PIP_CONFIG_FILE": str(own), **known} if own.is_file() else known


def _copy(to: Path) -> None:
    listed = _git(TOP, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
    for name in filter(None, listed.split("\0")):
        if (TOP / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, to / name, follow_symlinks=False)
    _git(to, "init", "-q")
    _git(to, "add", "--all")
    _git(to, "-c", "user.name=t", "-c", "user.email=t@t.test", "commit", "-qm", "as it is")


def _git(directory: Path, *arguments: str) -> str:
    command = ["git", "-C", str(directory), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _link_programs(to: Path) -> None:
    for directory in DIRECTORIES:
        for program in Path(directory).iterdir():
            link = to / program.name
            if program.name not in NOT_THERE and not link.is_symlink():
                link.symlink_to(program)


class Terminal:
    """What runs beside the blocks. It is read all the time, so that it never waits for us."""

    def __init__(self, process: trio.Process, script: str, until: str) -> None:
        self.process = process
        self.script = script
        self.said = ""
        self.there = trio.Event()
        self._until = until

    async def read(self) -> None:
        """Until it has ended."""
        assert self.process.stdout is not None
        async for part in self.process.stdout:
            self.said += part.decode(errors="replace")
            if self._until in self.said:
                self.there.set()
        await self.process.wait()

    def __str__(self) -> str:
        return f"{self.script}→ {self.process.returncode}: {self.said[-2000:]}"


class Shell:
    """One bash for the blocks of one document: what a block sets, changes into or puts in the background stays."""

    def __init__(self, checkout: Checkout, process: trio.Process, nursery: trio.Nursery) -> None:
        self.checkout = checkout
        self._process = process
        self._nursery = nursery
        self._answers = ""
        self._terminals: list[Terminal] = []
        self._number = 0

    async def run(self, script: str, *, code: int = 0, within_s: float) -> str:
        """Run it and return what it prints.

        Raises `AssertionError` when a command in it fails, or its one command ends with another code than this. After
        that the shell is of no more use.
        """
        self._number += 1
        file = self.checkout.said / f"block-{self._number}"
        file.write_text(script, encoding="utf-8")
        out = file.with_suffix(".out")
        run = f". '{file}' >'{out}' 2>&1 </dev/null"
        await self._order(f"{run}; echo 0\n" if code == 0 else f"set +e; {run}; echo $?; set -e\n")
        ended = None
        with trio.move_on_after(within_s):
            ended = await self._answer()
        said = out.read_text(encoding="utf-8", errors="replace") if out.exists() else ""
        others = "".join(f"\n{terminal}" for terminal in self._terminals)
        what = f"not within {within_s:g} s" if ended is None else f"ended with {ended}"
        assert ended == code, f"{script}→ {what}: {said}{others}"
        return said

    async def _order(self, line: str) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(line.encode())

    async def _answer(self) -> int:
        assert self._process.stdout is not None
        while "\n" not in self._answers:
            more = await self._process.stdout.receive_some()
            if not more:
                return await self._process.wait()
            self._answers += more.decode()
        line, self._answers = self._answers.split("\n", 1)
        return int(line)

    async def in_a_terminal(self, script: str, until: str) -> None:
        """Start it beside the others, where the shell stands, and wait until it has printed `until`."""
        where, pid = (await self.run("pwd; echo $BASHPID", within_s=QUIET_WITHIN_S)).split()
        join = [*self.checkout.join, pid] if self.checkout.around else []
        process = await trio.lowlevel.open_process(
            [*join, "bash", "-c", f'cd "$0" && exec {script}', where], env=self.checkout.environment, stdin=DEVNULL,
            stdout=PIPE, stderr=STDOUT, start_new_session=True,
        )  # fmt: skip
        terminal = Terminal(process, script, until)
        self._terminals.append(terminal)
        self._nursery.start_soon(terminal.read)
        with trio.move_on_after(QUIET_WITHIN_S):
            await terminal.there.wait()
        assert terminal.there.is_set(), str(terminal)

    async def end(self) -> None:
        """End the terminals, the last one first, as Ctrl-C does, and the shell. Raises when one does not end well."""
        trouble = []
        while self._terminals:
            terminal = self._terminals.pop()
            process = terminal.process
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
            with trio.move_on_after(QUIET_WITHIN_S):
                await process.wait()
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
            if process.returncode != 0:
                trouble.append(str(terminal))
        assert self._process.stdin is not None
        await self._process.stdin.aclose()
        await self._process.wait()
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # nothing was left
        else:
            trouble.append("a block has left a process behind")
        assert not trouble, "\n".join(trouble)


@asynccontextmanager
async def shell(checkout: Checkout) -> AsyncIterator[Shell]:
    """A shell at the top of a checkout."""
    process = await trio.lowlevel.open_process(
        [*checkout.around, "bash", "--noprofile", "--norc"], cwd=checkout.dir, env=checkout.environment, stdin=PIPE,
        stdout=PIPE, start_new_session=True,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        it = Shell(checkout, process, nursery)
        try:
            await it._order("set -eo pipefail\n")
            yield it
        finally:
            with trio.CancelScope(shield=True):
                await it.end()
