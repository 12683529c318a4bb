"""Development tokens: made, made again, completed, refused. Each run is a process, as people run it."""

import json
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import config
from hsm import reference
from hsm.layout import KEYS_FILE

pytestmark = pytest.mark.system

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(command: str, *options: str, folder: str = "dev", tokens: int = 2) -> subprocess.CompletedProcess[str]:
        base = [sys.executable, "-m", "hsm", command, "--dir", str(tmp_path / folder), "--tokens", str(tokens)]
        return subprocess.run([*base, *options], capture_output=True, text=True, check=False)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but those that SoftHSM writes anew at each login."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path): path.read_bytes() for path in files if path.name != "token.object"}


def test_a_second_run_changes_nothing(run: Run, tmp_path: Path) -> None:
    """And says so."""
    first = run("provision")
    assert first.returncode == 0, first.stderr
    before = contents(tmp_path / "dev")
    second = run("provision")
    assert second.returncode == 0, second.stderr
    assert second.stdout.startswith(
        "nothing to do: 2 tokens with fps-hub, fps-own, fps-seal for aes-cmac and fps-transport\n"
    )
    assert contents(tmp_path / "dev") == before


def test_secrets_are_for_their_owner_only(run: Run, tmp_path: Path) -> None:
    """Key file, PIN files and tokens; and the output holds neither a PIN nor a key."""
    made = run("provision")
    folder = tmp_path / "dev"
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()} == {0o600}
    secrets = [path.read_text() for path in (folder / "pins").iterdir()]
    secrets += json.loads((folder / KEYS_FILE).read_text()).values()
    assert len(set(secrets)) == len(secrets) == 8
    assert not any(secret in made.stdout + made.stderr for secret in secrets)


def test_git_takes_nothing_of_such_a_directory(run: Run, tmp_path: Path) -> None:
    """In whatever checkout it lies, under whatever name."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    run("provision")
    done = subprocess.run(["git", "status", "--porcelain"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (tmp_path / "dev" / KEYS_FILE).exists()
    assert done.stdout == ""


def test_the_snippet_is_what_the_gateway_reads(run: Run, tmp_path: Path) -> None:
    """With the last ones remote, as asked for."""
    printed = run("provision", "--remote", "1").stdout
    tables = tomllib.loads(printed[printed.index("[[node.token]]") :])["node"]["token"]
    tokens = [config.Token(**table) for table in tables]
    assert [(token.name, token.local) for token in tokens] == [("fps-1", True), ("fps-2", False)]
    assert all(Path(token.pin_file).is_file() and Path(token.module).is_file() for token in tokens)


def test_all_tokens_hold_the_keys_of_the_key_file(run: Run, tmp_path: Path) -> None:
    """`check` prints the same check values for each token: those of the key file's values."""
    run("provision", "--algorithm", "des3-retail")
    checked = run("check", "--algorithm", "des3-retail")
    assert checked.returncode == 0, checked.stdout
    values = json.loads((tmp_path / "dev" / KEYS_FILE).read_text())
    checks = {label: reference.mac("des3-retail", bytes.fromhex(value), bytes(16)) for label, value in values.items()}
    checks["fps-transport"] = reference.enciphered_zeros(bytes.fromhex(values["fps-transport"]))
    shown = "  ".join(f"{label}={check[:3].hex().upper()}" for label, check in checks.items())
    assert checked.stdout.splitlines() == [f"fps-1  {shown}", f"fps-2  {shown}", "all 2 tokens agree"]


def test_another_site_gets_the_same_keys(run: Run, tmp_path: Path) -> None:
    """What the pair shares, both sites' tokens must hold; PINs are each site's own."""
    run("provision", folder="a")
    run("provision", "--keys-from", str(tmp_path / "a" / KEYS_FILE), folder="b")
    a, b = run("check", folder="a"), run("check", folder="b")
    assert a.stdout == b.stdout
    assert (tmp_path / "a/pins/fps-1.pin").read_text() != (tmp_path / "b/pins/fps-1.pin").read_text()


def test_half_done_is_completed(run: Run, tmp_path: Path) -> None:
    """A token lost, a further one wanted, a directory moved elsewhere: the same keys come out."""
    run("provision")
    before = run("check").stdout.splitlines()[0]
    shutil.move(tmp_path / "dev", tmp_path / "moved")
    shutil.rmtree(next((tmp_path / "moved" / "tokens").iterdir()))
    again = run("provision", folder="moved", tokens=3)
    assert again.returncode == 0, again.stderr
    done = again.stdout.splitlines()
    assert sum("made the token" in line for line in done) == 2
    checked = run("check", folder="moved", tokens=3)
    assert checked.stdout.splitlines()[0] == before
    assert checked.stdout.splitlines()[-1] == "all 3 tokens agree"


def test_a_run_killed_anywhere_is_completed(run: Run, tmp_path: Path) -> None:
    """Whichever line of output was its last: the next run finishes the work."""
    program = (
        "import os, sys\nfrom hsm import __main__, provision\n"
        "left = int(sys.argv.pop(1))\n"
        "def say(what):\n    global left\n    left -= 1\n    left or os._exit(9)\n"
        "inner = provision.provision\n"
        "provision.provision = lambda layout, _say, keys_from: inner(layout, say, keys_from)\n"
        "sys.exit(__main__.main(sys.argv[1:]))\n"
    )
    folder = tmp_path / "dev"
    for steps in range(1, 16, 2):
        shutil.rmtree(folder, ignore_errors=True)
        options = ["provision", "--dir", str(folder), "--tokens", "1"]
        killed = subprocess.run([sys.executable, "-c", program, str(steps), *options], check=False)
        assert killed.returncode == (9 if steps <= 13 else 0)
        assert run("provision", tokens=1).returncode == 0
        assert run("check", tokens=1).stdout.splitlines()[-1] == "all 1 tokens agree"


def test_what_does_not_fit_is_refused_and_left_alone(run: Run, tmp_path: Path) -> None:
    """Another algorithm, other values, a wrong PIN file: said with their place."""
    run("provision")
    run("provision", folder="other")
    folder = tmp_path / "dev"
    before = contents(folder)
    for options, said in (
        (["--algorithm", "hmac-sha256"], '"fps-hub" has 16 bytes, hmac-sha256 wants 32: use another --dir'),
        (["--algorithm", "des3-retail"], 'fps-1: "fps-hub" is not a key for des3-retail: use another --dir'),
        (["--keys-from", str(tmp_path / "other" / KEYS_FILE)], "is another key than in"),
        (["--remote", "9"], "--remote must be no more than --tokens"),
        (["--module", "/nowhere.so"], "/nowhere.so: cannot be loaded"),
    ):
        refused = run("provision", *options)
        assert refused.returncode == 1
        assert said in refused.stderr
        assert contents(folder) == before
    (folder / "pins" / "fps-2.pin").write_text("0000")
    assert "fps-2: PinIncorrect" in run("provision").stderr


def test_check_finds_the_odd_token(run: Run, tmp_path: Path) -> None:
    """A token with other keys, or that cannot be used, is an exit status and a sentence."""
    run("provision", tokens=1)
    (tmp_path / "dev" / KEYS_FILE).rename(tmp_path / "kept")
    other = run("provision", "--prefix", "x", tokens=1)
    assert other.returncode == 0
    shutil.move(tmp_path / "dev" / "pins" / "x-1.pin", tmp_path / "dev" / "pins" / "fps-2.pin")
    missing = run("check")
    assert missing.returncode == 1
    assert 'fps-2  no such token: label "fps-2"' in missing.stdout


def test_another_group_gets_the_schemes_keys_and_a_seal_key_of_its_own(run: Run, tmp_path: Path) -> None:
    """Its partitions have other PINs, too: who has one group's can use nothing of another's."""
    run("provision", folder="sip")
    other = run("provision", "--prefix", "usm", "--scheme-keys-from", str(tmp_path / "sip" / KEYS_FILE), folder="usm")
    assert other.returncode == 0, other.stderr
    sip, usm = (json.loads((tmp_path / group / KEYS_FILE).read_text()) for group in ("sip", "usm"))
    assert {label for label in sip if sip[label] == usm[label]} == {"fps-hub", "fps-own", "fps-transport"}
    assert usm["fps-seal"] != sip["fps-seal"]
    pins = [path.read_text() for group in ("sip", "usm") for path in (tmp_path / group / "pins").iterdir()]
    assert len(set(pins)) == len(pins) == 8
    again = run("provision", "--prefix", "usm", "--scheme-keys-from", str(tmp_path / "sip" / KEYS_FILE), folder="usm")
    assert again.stdout.startswith("nothing to do")
    assert run("check", "--prefix", "usm", folder="usm").stdout.splitlines()[-1] == "all 2 tokens agree"
