"""What is made once: whole or not at all, by one, whoever is killed at it; and a root that says nothing of us."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machines import roots

pytestmark = pytest.mark.system

TOP = Path(__file__).parents[2]
MAKING = """
import sys
from pathlib import Path
from tests.machines.roots import made_once
with made_once(Path(sys.argv[1])) as making:
    print("makes" if making else "finds", flush=True)
    if making:
        (making / "half").touch()
        input()
        (making / "whole").touch()
"""


class Maker:
    """A process that makes it, and is not done before it is told so."""

    def __init__(self, place: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAKING, str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=TOP,
            text=True,
        )

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def finish(self) -> None:
        self.process.communicate("\n", timeout=60)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def test_one_makes_it_and_the_others_wait_and_find_it_whole(tmp_path: Path) -> None:
    place = tmp_path / "made"
    first = Maker(place)
    assert first.says() == "makes"
    second = Maker(place)
    assert not place.exists()
    first.finish()
    assert second.says() == "finds"
    second.finish()
    assert sorted(path.name for path in place.iterdir()) == ["half", "whole"]


def test_what_a_killed_maker_has_left_is_removed_and_made_anew(tmp_path: Path) -> None:
    place = tmp_path / "made"
    killed = Maker(place)
    assert killed.says() == "makes"
    killed.kill()
    assert [path.name.partition("-")[0] for path in tmp_path.iterdir() if path.is_dir()] == ["made.making"]
    second = Maker(place)
    assert second.says() == "makes"
    second.finish()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["made"]


def test_what_could_not_be_made_is_not_there(tmp_path: Path) -> None:
    def fail() -> None:
        with roots.made_once(tmp_path / "made") as making:
            assert making is not None
            raise roots.Missing("it cannot")

    with pytest.raises(roots.Missing):
        fail()
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_root_is_a_debian_that_says_nothing_of_the_machine_that_made_it() -> None:
    try:
        place = roots.root("python3", "softhsm2", "ca-certificates", "python3-venv")
        host = roots.mirror().split("/")[2]
    except roots.Missing as missing:
        pytest.skip(str(missing))
    assert "VERSION_CODENAME=bookworm" in (place / "etc/os-release").read_text()
    assert (place / "usr/bin/python3").exists()
    named = subprocess.run(
        ["grep", "--recursive", "--files-with-matches", "--fixed-strings", "--", host, "etc/apt", "var/lib/apt"],
        cwd=place, capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    assert named == ""
    assert not (place / "etc/hostname").exists() or (place / "etc/hostname").read_text().strip() != platform.node()
