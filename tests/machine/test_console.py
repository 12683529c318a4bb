"""Commands, whatever they are started from: encodings, closed streams, readers that go, terminals, Ctrl-C."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import log
from gateway.exitcodes import ExitCode
from gateway.machine import console
from tests.fakes.example import example
from tests.running.test_signals import has_process_namespaces

pytestmark = pytest.mark.system

FORMAT = Path(__file__).parents[1] / "journal" / "formats" / "2"
CLOSED = "the stream is closed"
GONE = "its reader has gone"
FULL = "the disk is full"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What commands are given: a journal, a configuration, one with mistakes, a message."""
    place = tmp_path_factory.mktemp("place")
    (place / "journal").mkdir()
    for packed in FORMAT.glob("*.gz"):
        (place / "journal" / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    (place / "good.toml").write_text(example(), encoding="utf-8")
    (place / "bad.toml").write_text("[nöde]\n", encoding="utf-8")
    (place / "hex").write_text("39383034" + "00" * 16, encoding="ascii")
    return place


COMMANDS = {
    "gateway": 2,
    "gateway --help": 0,
    "gateway run --config bad.toml": 78,
    "gateway drain --socket /nowhere --yes --why x": 69,
    "gateway stop-submitting --socket /nowhere --yes --why x": 69,
    "gateway acts list --socket /nowhere": 69,
    "gateway config example": 0,
    "gateway config check good.toml": 0,
    "gateway config check bad.toml": 78,
    "gateway hsm check --help": 0,
    "gateway decode hex": 1,
    "gateway decode -": 2,
    "gateway completion bash": 0,
    "gateway completion fish": 0,
    "gateway completion zsh": 0,
    "gateway journal verify journal": 0,
    "gateway journal compare journal journal": 0,
    "gateway journal show --reveal --why x journal": 0,
    "gateway journal show --json --reveal --why x journal": 0,
    "gateway journal stat journal": 0,
    "gateway journal show nöthing": 2,
    "gateway.commands.diagram": 2,
    "gateway.processor.openapi": 0,
    "loadtest --help": 0,
    "loadtest hub --help": 0,
    "loadtest ledger nöthing": 2,
    "hsm --help": 0,
    "hsm check --dir nöthing --module nöthing": 1,
    "compose.world --help": 0,
}
"""Each with its exit code, when it is left to itself."""
WAYS = {
    "the C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "Latin-1": {"PYTHONIOENCODING": "latin-1:strict"},
}


def environment(**more: str) -> dict[str, str]:
    """Of a command."""
    own = {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUTF8": "1", "COLUMNS": "100"}
    return {**os.environ, **own, **more}


def started(
    place: Path, command: str, *, out: str = "", err: str = "", feed: str = "", **more: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end, with streams that are as they are named."""
    files, redirections = {}, ""
    for name, number, what in (("stdout", 1, out), ("stderr", 2, err)):
        if what == GONE:
            reader, files[name] = os.pipe()
            os.close(reader)
        redirections += {CLOSED: f" {number}>&-", FULL: f" {number}>/dev/full"}.get(what, "")
    redirections += " <&-" if feed == CLOSED else " </dev/null"
    try:
        return subprocess.run(
            ["sh", "-c", f'exec "$@"{redirections}', "sh", sys.executable, "-m", *command.split()],
            stdout=files.get("stdout", subprocess.PIPE), stderr=files.get("stderr", subprocess.PIPE),
            cwd=place, env=environment(**more), timeout=60, check=False,
        )  # fmt: skip
    finally:
        for file in files.values():
            os.close(file)


def steady(out: bytes) -> bytes:
    """Without what another process may change meanwhile: the room on the disk."""
    return b"".join(line for line in out.splitlines(keepends=True) if not line.startswith(b"free bytes"))


@pytest.fixture(scope="module", params=COMMANDS)
def command(request: pytest.FixtureRequest) -> str:
    """Each command."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def alone(place: Path, command: str) -> subprocess.CompletedProcess[bytes]:
    """What a command does, left to itself."""
    return started(place, command)


def test_every_command_ends_as_documented(alone: subprocess.CompletedProcess[bytes], command: str) -> None:
    assert alone.returncode == COMMANDS[command]
    assert b"Traceback" not in (alone.stderr or b"")


@pytest.mark.parametrize("way", WAYS)
def test_every_command_writes_what_the_encoding_can_say(
    place: Path, alone: subprocess.CompletedProcess[bytes], command: str, way: str
) -> None:
    """Nothing but the signs that are missing is written otherwise, and JSON is the same."""
    done = started(place, command, **WAYS[way])
    assert done.returncode == alone.returncode
    assert b"Traceback" not in done.stderr
    assert len(done.stdout.splitlines()) == len(alone.stdout.splitlines())
    text = done.stdout.decode("latin-1" if way == "Latin-1" else "ascii")
    if alone.stdout.isascii():
        assert steady(done.stdout) == steady(alone.stdout)
    if alone.stdout.startswith(b"{\n"):
        assert json.loads(text) == json.loads(alone.stdout)
    elif alone.stdout.startswith(b"{"):
        assert all(json.loads(line) for line in text.splitlines())


@pytest.mark.parametrize("way", [CLOSED, GONE, FULL])
def test_every_command_ends_well_when_nobody_takes_its_output(
    place: Path, alone: subprocess.CompletedProcess[bytes], command: str, way: str
) -> None:
    """By its own code where there is no output, or the caller wants none; else by one that is about the output."""
    done = started(place, command, out=way)
    prints = bool(alone.stdout) and way != CLOSED
    said = b"standard output: No space left on device\n" if prints and way == FULL else b"" if prints else alone.stderr
    assert done.returncode == ({GONE: 141, FULL: 69}[way] if prints else alone.returncode)
    assert done.stderr == said


def test_every_command_ends_the_same_when_nobody_takes_its_errors(
    place: Path, alone: subprocess.CompletedProcess[bytes], command: str
) -> None:
    done = started(place, command, err=GONE)
    assert (done.returncode, steady(done.stdout)) == (alone.returncode, steady(alone.stdout))


def test_a_command_whose_input_is_closed_reads_nothing(place: Path) -> None:
    done = started(place, "gateway decode -", feed=CLOSED)
    assert (done.returncode, done.stderr) == (2, b"fps-gateway decode: -: there is nothing in it\n")


PROBE = """
import os, sys, types
from gateway.machine import console
probe = types.ModuleType("probe")
sys.modules["probe"] = probe

def main(arguments):
    file = open(os.devnull)
    with open(arguments[0], "w") as told:
        told.write(str([file.fileno(), *map(os.get_inheritable, range(3))]))
    return 0

probe.main = main
sys.exit(console.command("probe"))
"""


def test_no_file_takes_the_number_of_a_stream_that_is_closed(tmp_path: Path) -> None:
    """Output must not go into a segment of the journal. Workers get all three streams, too."""
    told = tmp_path / "told"
    given = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", PROBE, str(told)]
    assert subprocess.run(given, env=environment(), timeout=60, check=False).returncode == 0
    number, *inherited = told.read_text(encoding="ascii").strip("[]").split(", ")
    assert int(number) > 2
    assert inherited == ["True"] * 3


# --- assertions

WITHOUT = {"-O": (["-O"], ""), "-OO": (["-OO"], ""), "PYTHONOPTIMIZE": ([], "1")}
"""Options and environment of a Python that leaves assertions out."""


@pytest.mark.parametrize("how", WITHOUT)
def test_no_command_starts_without_assertions(place: Path, command: str, how: str) -> None:
    """A broken invariant must end the process: it says so in one line, does nothing, and is not started again."""
    options, variable = WITHOUT[how]
    done = subprocess.run(
        [sys.executable, *options, "-m", *command.split()],
        cwd=place, env=environment(PYTHONOPTIMIZE=variable), stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (ExitCode.CONFIGURATION, b"", 1)
    assert b"assertions" in done.stderr


def test_the_installed_command_does_not_start_without_assertions(place: Path) -> None:
    """The script that pip writes has no options of Python's; what the environment says holds for it."""
    done = subprocess.run(
        [Path(sys.executable).with_name("fps-gateway"), "config", "example"],
        cwd=place, env=environment(PYTHONOPTIMIZE="2"), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (ExitCode.CONFIGURATION, b"")


RUNNING = """
import sys
from gateway.machine import console; from gateway import daemon, log

async def run(*_arguments, **_named):
    for _ in range(50):
        log.get("main").info("a line")
    return True

daemon.run = run
sys.exit(console.command("gateway.__main__"))
"""


@pytest.mark.parametrize(("out", "err"), [(CLOSED, CLOSED), (GONE, GONE), (FULL, ""), ("", CLOSED)])
def test_a_gateway_runs_to_its_end_whoever_reads_its_log(place: Path, out: str, err: str) -> None:
    """Payments do not wait for the reader of the output."""
    (place / "running.py").write_text(RUNNING, encoding="utf-8")
    done = started(
        place, "running run --config good.toml", out=out, err=err, PYTHONPATH=f"{place}:{environment()['PYTHONPATH']}"
    )
    assert done.returncode == 0
    assert not done.stderr


# --- Ctrl-C

# What Python runs before anything else of a process: it is interrupted at the import that a variable counts to, from
# `console` on. Before it there are Python's own start, and `entry`.
INTERRUPTS = """
import atexit, os, signal, sys

class Interrupts:
    at, count = int(os.environ["FPS_AT"]), 0

    def find_spec(self, name, *_):
        Interrupts.count += bool(Interrupts.count) or name == "gateway.machine.console"
        if Interrupts.count == Interrupts.at:
            Interrupts.at = -1
            os.kill(os.getpid(), int(os.environ.get("FPS_SIGNAL", signal.SIGINT)))

def told():
    with open(os.environ["FPS_COUNTED"], "w") as file:
        file.write(str(Interrupts.count))

atexit.register(told)
sys.meta_path.insert(0, Interrupts())
"""
SCRIPT = Path(sys.executable).with_name("fps-gateway")
TYPED = (
    f"{SCRIPT} config example", f"{SCRIPT} run --config nothing", "gateway config example",
    "gateway.processor.openapi", "loadtest run --help", "hsm --help", "compose.prepare", "tests.simulation --help",
    "tests.fuzz.shrink",
)  # fmt: skip
"""Some of what people type: tests/test_layout.py says that all of it begins alike."""
MANY = 100_000
"""Imports that none of them makes."""


@pytest.mark.parametrize("typed", TYPED)
def test_ctrl_c_ends_a_command_quietly_wherever_it_hits(typed: str, tmp_path: Path) -> None:
    """Whichever module it is about to import: 130, and not a word."""
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTS, encoding="utf-8")
    program, *arguments = typed.split()
    given = [program, *arguments] if program == str(SCRIPT) else [sys.executable, "-m", program, *arguments]
    paths = f"{tmp_path}:{environment()['PYTHONPATH']}"

    def interrupted(at: int) -> tuple[int, bytes, bytes]:
        own = environment(PYTHONPATH=paths, FPS_AT=str(at), FPS_COUNTED=str(tmp_path / "counted"), PYTHONHASHSEED="0")
        done = subprocess.run(given, capture_output=True, env=own, cwd=tmp_path, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    interrupted(MANY)
    count = int((tmp_path / "counted").read_text(encoding="ascii"))
    assert 10 < count < MANY
    for at in (1, count // 2, count - 1):
        assert interrupted(at) == (130, b"", b""), at


@pytest.mark.skipif(not has_process_namespaces(), reason="this machine gives no process namespaces")
def test_sigterm_ends_process_1_of_a_container_too(tmp_path: Path) -> None:
    """While it imports: the system would keep the signal from it."""
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTS, encoding="utf-8")
    own = environment(
        PYTHONPATH=f"{tmp_path}:{environment()['PYTHONPATH']}", FPS_AT="1", FPS_COUNTED=str(tmp_path / "counted"),
        FPS_SIGNAL=str(int(signal.SIGTERM)),
    )  # fmt: skip
    given = ["unshare", "--pid", "--fork", str(SCRIPT), "config", "example"]
    done = subprocess.run(given, capture_output=True, env=own, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGTERM, b"", b"")


def test_ctrl_c_ends_a_command_quietly_that_waits(place: Path) -> None:
    given = [sys.executable, "-m", "gateway", "journal", "tail", "--follow", "journal"]
    with subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=place, env=environment()) as tail:
        assert tail.stdout is not None
        assert tail.stdout.readline()
        tail.send_signal(signal.SIGINT)
        _, said = tail.communicate(timeout=60)
    assert (tail.returncode, said) == (130, b"")


def test_ctrl_c_does_nothing_where_it_was_to_be_ignored() -> None:
    """As shells have it for commands that are started behind `&`."""
    program = "import os, signal, sys, types\nfrom gateway.machine import console\nprobe = types.ModuleType('probe')\n"
    program += "sys.modules['probe'] = probe\nprobe.main = lambda _: os.kill(os.getpid(), signal.SIGINT) or 7\n"
    program += "sys.exit(console.command('probe'))\n"
    given = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, "-c", program]
    assert subprocess.run(given, env=environment(), timeout=60, check=False).returncode == 7


# --- colours


class Terminal(io.StringIO):
    """What says that it is one."""

    encoding = "ascii"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("out", "given", "colours", "rewrites"),
    [
        (Terminal(), {"TERM": "xterm"}, True, True),
        (Terminal(), {}, True, True),
        (Terminal(), {"TERM": "dumb"}, False, False),
        (Terminal(), {"TERM": "unknown"}, False, False),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": ""}, True, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1", "FORCE_COLOR": "1"}, False, True),
        (Terminal(), {"TERM": "dumb", "FORCE_COLOR": "1"}, True, False),
        (io.StringIO(), {"TERM": "xterm"}, False, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_colours_are_where_they_are_wanted(
    out: io.StringIO, given: dict[str, str], *, colours: bool, rewrites: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the log in words, which an ASCII terminal can show, has them there and nowhere else."""
    for name in ("TERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert (console.has_colours(out), console.rewrites(out)) == (colours, rewrites)
    written = io.BytesIO()
    writer = log.configure("info", "console", log.Writer(written), out=out)
    log.get("main").info("here → there", path="é")
    writer.close()
    line = written.getvalue()
    assert (b"\x1b[" in line) == colours
    assert b"here -> there" in line
    assert line.isascii()


def test_json_says_the_same_in_any_encoding() -> None:
    """Also what an encoding lacks and we have other words for."""
    encoded = json.dumps({"é→": "…\U0001f600"}, ensure_ascii=False).encode()
    narrow, wide = io.TextIOWrapper(io.BytesIO(), "ascii"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    assert console.json_text(encoded, wide).encode() == encoded
    assert json.loads(console.json_text(encoded, narrow)) == json.loads(encoded)
    assert console.json_text(encoded, narrow).isascii()
