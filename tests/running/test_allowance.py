"""What a configuration can need, against what the system allows: said at the start, with both numbers."""

import re
import resource
import subprocess
import sys
from math import inf
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway import config
from gateway.config import file as config_file
from gateway.errors import Unavailable
from gateway.machine.descriptors import Kept
from gateway.running import allowance
from gateway.running.allowance import Allowed
from tests.conftest import Logged
from tests.fakes.example import example

HERE = Path(__file__).parents[2]


@pytest.fixture
def node(tmp_path: Path) -> config.Node:
    """The example's, with all that it can have."""
    path = tmp_path / "example.toml"
    path.write_text(example(), encoding="utf-8")
    peers = dict.fromkeys(("sip", "sop", "fdp", "other"), "http://127.0.0.1:1")
    found = config_file.load(path).node
    return replace(
        found, peers=peers, submissions=config.Submissions(), volume=config.Volume("fps-sip"), token=found.token * 2,
        sibling=config.Sibling("http://127.0.0.1:1"),
    )  # fmt: skip


def test_systemd_and_compose_give_what_a_full_configuration_can_need(node: config.Node) -> None:
    """No remark where they run it."""
    unit = (HERE / "compose/systemd/fps-gateway@.service").read_text(encoding="utf-8")
    files, tasks = (int(found[1]) for key in ("LimitNOFILE", "TasksMax") if (found := re.search(rf"{key}=(\d+)", unit)))
    compose = (HERE / "compose/dc.yaml").read_text(encoding="utf-8")
    nofile, pids = (int(found[1]) for key in ("nofile", "pids") if (found := re.search(rf"\b{key}: (\d+)", compose)))
    for has in (Allowed(files, tasks, ""), Allowed(nofile, pids, "")):
        assert [*allowance.faults(node, has), *allowance.remarks(node, has)] == []


def test_too_little_is_a_fault_and_little_is_a_remark(node: config.Node) -> None:
    least = allowance.vital(node) + allowance.OTHERS_MIN
    most = sum(need.descriptors for need in allowance.needs(node))
    tasks = sum(need.tasks for need in allowance.needs(node))
    assert list(allowance.faults(node, Allowed(least - 1, 6, "pids.max"))) == [
        f"{least - 1} open files are allowed (RLIMIT_NOFILE), and it needs {least} at least",
        "6 threads and processes are allowed (pids.max), and it needs 7 at least",
    ]
    assert list(allowance.remarks(node, Allowed(least - 1, 6, "pids.max"))) == []
    assert list(allowance.faults(node, Allowed(least, 7, "pids.max"))) == []
    said = list(allowance.remarks(node, Allowed(most - 1, tasks - 1, "pids.max")))
    assert f"{most - 1} open files are allowed (RLIMIT_NOFILE), and this configuration can need {most}" in said[0]
    assert (
        f"{tasks - 1} threads and processes are allowed (pids.max), and this configuration can need {tasks}" in said[1]
    )
    assert list(allowance.remarks(node, Allowed(most, tasks, ""))) == []


@pytest.mark.parametrize("limit", [0, 100, 150, 200, 1024, 4096, inf])
def test_what_is_kept_adds_up(node: config.Node, limit: float) -> None:
    """What must work is kept from all others; of what is left clients get at least half."""
    kept = allowance.kept_of(node, limit)
    assert kept.questions == allowance.vital(node)
    assert kept.questions <= kept.clients
    assert kept.clients - kept.questions <= max(0, limit - kept.questions) / 2
    assert allowance.kept_of(node, inf) == Kept(kept.questions + 153, kept.questions)


@pytest.mark.parametrize(
    ("groups", "files", "found"),
    [
        ("0::/a/b\n", {"a/pids.max": "200", "a/b/pids.max": "max"}, 200),
        ("0::/a/b\n", {"a/pids.max": "200", "a/b/pids.max": "100"}, 100),
        ("0::/\n", {"pids.max": "64"}, 64),
        ("8:pids:/a\n0::/\n", {"pids/a/pids.max": "50"}, 50),
        ("7:memory:/a\n", {"memory/a/pids.max": "50"}, inf),
        ("", {}, inf),
    ],
)
def test_the_limit_of_a_cgroup(tmp_path: Path, groups: str, files: dict[str, str], found: float) -> None:
    """Of both versions, and of any above ours."""
    (tmp_path / "groups").write_text(groups)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert allowance.pids_max(tmp_path / "groups", tmp_path) == found


def started(tmp_path: Path, soft: int, hard: int, *command: str) -> subprocess.CompletedProcess[str]:
    """A command under these limits, with the example's configuration; its journal cannot be made."""
    path = tmp_path / "gateway.toml"
    path.write_text(example().replace("/var/lib/fps-gateway/sip/journal", str(path / "journal")), encoding="utf-8")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    return subprocess.run(
        [sys.executable, "-m", "gateway", *command, str(path)], cwd=HERE, preexec_fn=limit,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_with_too_little_nothing_starts(tmp_path: Path) -> None:
    """69, in words with both numbers; `config check` says so before."""
    ran = started(tmp_path, 40, 40, "run", "--config")
    assert ran.returncode == 69
    assert "40 open files are allowed (RLIMIT_NOFILE), and it needs" in ran.stdout
    checked = started(tmp_path, 40, 40, "config", "check")
    assert "note: here 40 open files are allowed (RLIMIT_NOFILE), and it needs" in checked.stdout
    here = started(tmp_path, 40, 40, "config", "check", "--here")
    assert here.returncode == 69
    assert "here 40 open files are allowed (RLIMIT_NOFILE), and it needs" in here.stderr


def test_what_is_allowed_is_taken(tmp_path: Path) -> None:
    """The hard limit is no more than needed; the line says how much. Little is a warning."""
    ran = started(tmp_path, 100, 5000, "run", "--config")
    assert re.search(r'"event":"open file limit raised"', ran.stdout)
    assert "limits of this process may be reached" not in ran.stdout
    ran = started(tmp_path, 100, 150, "run", "--config")
    assert '"limit":150' in ran.stdout
    assert "limits of this process may be reached" in ran.stdout
    checked = started(tmp_path, 100, 150, "config", "check")
    short = "here 150 open files are allowed (RLIMIT_NOFILE), and this configuration can need"
    assert f"note: {short}" in checked.stdout
    assert short in started(tmp_path, 100, 150, "config", "check", "--here").stderr


def test_what_is_short_is_said_or_refused(node: config.Node, monkeypatch: pytest.MonkeyPatch, logged: Logged) -> None:
    """The same in this process, whose own limits stay."""
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(allowance, "allowed", lambda: Allowed(40, inf, ""))
    with pytest.raises(Unavailable, match="40 open files are allowed"):
        allowance.fit(node)
    monkeypatch.setattr(allowance, "allowed", lambda: Allowed(inf, 10, "pids.max"))
    allowance.fit(node)
    (line,) = logged("limits of this process may be reached")
    assert line["reason"].startswith("10 threads and processes are allowed (pids.max)")
