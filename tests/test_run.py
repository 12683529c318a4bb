"""`./run`: the same commands as the Makefile's where there is no make yet. `make bare` runs it on a bare Debian."""

import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway

TOP = Path(gateway.__file__).parent.parent
TOOLS = ("sh", "dirname", "basename", "sed", "id", "mktemp", "rm", "tail", "env", "cat", "printf")
ECHO = "go:\n\t@printf '%s\\0' \"$(MORE)\" $(ARGS)\nhelp:\n\t@echo targets\n"
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0\n", exclude_categories=["Cs"]), max_size=12)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the script, beside a Makefile that shows what it was given."""
    place = tmp_path_factory.mktemp("has 'a space")
    shutil.copy(TOP / "run", place / "run")
    (place / "Makefile").write_text(ECHO)
    return place


class Ran(NamedTuple):
    """What came of it."""

    code: int
    out: str
    err: str


def ran(here: Path, *arguments: str, path: Path | None = None) -> Ran:
    environment = {**os.environ, "MAKEFLAGS": "", "MAKE": shutil.which("make") or ""}
    if path is not None:
        environment["PATH"] = str(path)
    done = subprocess.run([here / "run", *arguments], capture_output=True, check=False, env=environment, cwd="/")
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


@given(words=st.lists(WORDS.filter(lambda word: "=" not in word), max_size=4))
def test_what_follows_a_command_is_passed_on_as_it_is(here: Path, words: list[str]) -> None:
    """Whatever a shell, or make, would read into it; from wherever it is called."""
    done = ran(here, "go", *words, "MORE=more of it")
    assert done.code == 0, done.err
    assert done.out.split("\0")[:-1] == ["more of it", *words]


def test_without_a_command_it_lists_what_there_is(here: Path) -> None:
    assert ran(here).out == "targets\n"
    assert "./run demo" in ran(here, "--help").out


def bare(place: Path, **commands: str) -> Path:
    """A directory of commands in which there is no make, and these scripts."""
    place.mkdir()
    for name in TOOLS:
        (place / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    for name, script in commands.items():
        command = place / name.replace("_", "-")
        command.unlink(missing_ok=True)
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return place


LOG = 'echo "$0 $*" | sed "s|.*/||" >>"$(dirname "$0")/log"\n'
MAKE_COMES = 'case "$*" in *install*) ln -sf "$MAKE" "$(dirname "$0")/make" ;; esac'


@pytest.mark.parametrize(
    ("user", "commands", "says"),
    [
        ("1000", {}, "no apt-get. Install these by hand, then try again: make"),
        ("1000", {"apt_get": "exit 0"}, "needs root, and there is no sudo. As root: apt-get install make"),
        ("0", {"apt_get": "echo E: not there; exit 100", "dpkg": "exit 0"}, "E: not there\nrun: not installed: make"),
    ],
)  # fmt: skip
def test_what_it_cannot_do_it_says(here: Path, tmp_path: Path, user: str, commands: dict[str, str], says: str) -> None:
    """And ends with 1, before anything else is begun."""
    done = ran(here, "go", path=bare(tmp_path / "bin", id=f"echo {user}", **commands))
    assert (done.code, says in done.err) == (1, True), done


@pytest.mark.parametrize("user", ["0", "1000"])
def test_it_brings_make_and_puts_right_what_was_interrupted(here: Path, tmp_path: Path, user: str) -> None:
    """As root, or by sudo: package lists are fetched, and dpkg is told to go on, when the first try has failed."""
    once = 'if [ ! -e "$(dirname "$0")/done" ]; then touch "$(dirname "$0")/done"; exit 100; fi\n'
    commands = {"id": f"echo {user}", "dpkg": LOG, "sudo": LOG + 'exec "$@"', "make": "exit 1"}
    place = bare(tmp_path / "bin", apt_get=LOG + once.replace("touch", ": >") + MAKE_COMES, **commands)
    (place / "make").unlink()
    (place / "ln").symlink_to(shutil.which("ln") or "/bin/ln")
    done = ran(here, "go", "a", path=place)
    assert (done.code, done.out) == (0, "installing system packages: make\n\0a\0"), done
    log = [line for line in (place / "log").read_text().splitlines() if not line.startswith("sudo")]
    assert [line.split()[0] + " " + line.split()[-1] for line in log] == [
        "apt-get make", "dpkg -a", "apt-get update", "apt-get make",
    ]  # fmt: skip
    assert ("sudo" in (place / "log").read_text()) is (user != "0")


def test_continuous_integration_and_the_makefile_install_by_the_same_script() -> None:
    """There is one implementation."""
    makefile = (TOP / "Makefile").read_text()
    assert "./run install" in makefile
    callers = [path for path in ("Makefile", ".ci/run", "run") if "apt-get -" in (TOP / path).read_text()]
    assert callers == ["run"]


def test_shells_find_nothing_to_say() -> None:
    """shellcheck, where there is one; each POSIX shell can read it."""
    for script in (TOP / "run", TOP / ".ci" / "run"):
        assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
        if shellcheck := shutil.which("shellcheck"):
            assert subprocess.run([shellcheck, script], check=False).returncode == 0
