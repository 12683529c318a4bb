"""What is rare is found in the source, whoever comes to it is noted, and what nobody comes to fails the tests."""

import ast
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway import __main__ as command_line
from gateway import config, log
from gateway.errors import Refusal
from gateway.exitcodes import ExitCode
from gateway.http.directory import endpoint
from gateway.payments import arrival, departures, inbound_law, outbound_law
from gateway.payments.inbound_law import Event, State
from gateway.sdk.client import Gateways
from tests import rare
from tests.rare_places import TOP, Place, Source, UnreadableError, find, pairs
from tests.rare_plugin import Plugin

LOGGER = '_log = log.get("hub")\n'


def said(text: str) -> list[str]:
    """The rare lines of a source."""
    return sorted(place.name for place in Source(TOP / "gateway" / "made_up.py", LOGGER + text).lines())


# --- what is found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('_log.info("up")', []),
        ('_log.warning("down", count=1)', ["warning hub: down"]),
        ('later(lambda: _log.critical("down"))', ["critical hub: down"]),
        ('_log.error("down" if bad else "up")', ["error hub: down", "error hub: up"]),
        ('(_log.debug if again else _log.error)("lost")', ["error hub: lost"]),
        ('say = _log.error if bad else _log.info\nsay("down" if bad else "up")', ["error hub: down"]),
        ('say = _log.error if bad else _log.info\nsay("up" if not bad else "down")', ["error hub: down"]),
        ('say = _log.error if a else _log.info if b else _log.warning\nsay("again" if b else "new")',
         ["error hub: again", "error hub: new", "warning hub: new"]),
        ('self._log = _log.bind(link=1)\nself._log.warning("down")', ["warning hub: down"]),
        ('SAID = {A: ("info", "up"), C: ("error", "down")}\nlevel, text = SAID[it]\ngetattr(_log, level)(text)',
         ["error hub: down"]),
        ('LOUD = {"up": logging.DEBUG, "down": logging.WARNING}\n_log.log(LOUD[name], name)', ["warning hub: down"]),
        ('write({"component": "log", "event": "lost", "level": "warning", "count": count})', ["warning log: lost"]),
    ],
)  # fmt: skip
def test_every_way_of_logging_is_read(text: str, expected: list[str]) -> None:
    assert said(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "_log.error(text)",
        '_log.error(f"down {link}")',
        "later(_log.error)",
        "say = _log.error",
        "pass_on(_log)",
        'getattr(_log, level)("down")',
        '_log.log(level, "down")',
        "_log.log(LOUD[name], name)",
    ],
)
def test_a_way_of_logging_that_cannot_be_read_is_refused(text: str) -> None:
    """Otherwise a warning could be added that this never looks for."""
    with pytest.raises(UnreadableError, match=r"line \d|gateway/made_up\.py:2"):
        said(text)


def test_conditions_that_exclude_each_other_make_no_pair() -> None:
    level, text = (ast.parse(source, mode="eval").body for source in ("l.error if a else l.info", "'x' if a else 'y'"))
    assert pairs(level, text) == {("error", "x"), ("info", "y")}


def test_every_place_has_a_name_of_its_own() -> None:
    """Two lines of one text in one part could hide each other: the second one must say something else."""
    names = Counter(place.name for place in find())
    assert [name for name, count in names.items() if count > 1] == []


def test_tables_choices_errors_law_and_codes_are_among_the_places() -> None:
    names = {place.name for place in find()}
    assert {
        "warning hub: echo unanswered",
        "error keys: new key refused",
        "error engine: payment never left",
        "error daemon: unready",
        "warning log: log lines dropped",
        "law RECEIVING + REVERSAL",
        "exit 74 JOURNAL",
    } <= names
    assert not {"error daemon: ready again", "warning news: the scheme's news came again"} & names
    assert any(name.startswith("gateway/disk.py lock: Refusal(") for name in names)
    rows = sum(len(events) for law in (inbound_law.LAW, outbound_law.LAW) for events in law.rows.values())
    assert sum(name.startswith("law ") for name in names) == rows


# --- who comes there


def says(level: str, text: str) -> None:
    """The gateway logs this. None of it stands in the source: this file makes nothing look reached."""
    source = f"from gateway import log\nlog.get('moon').{level}({text!r})"
    exec(source, {"__name__": "gateway.moon"})  # noqa: S102 - the one way to speak as a module that does not exist


def test_a_warning_is_noted_however_the_log_is_set_up_again() -> None:
    with rare.watch("me") as reached:
        says("warning", "half")
        says("info", "full")
        log.configure("error", "console", log.configure("debug"))
        says("error", "gone")
    says("warning", "late")
    assert reached.found == {"warning moon: half": "me", "error moon: gone": "me"}


def test_a_test_that_calls_the_logger_itself_has_reached_nothing() -> None:
    with rare.watch() as reached:
        log.get("hub").warning("link down")
    assert reached.found == {}


def test_who_came_first_stays_and_each_watcher_notes_for_itself() -> None:
    with rare.watch("first") as outer:
        says("warning", "one")
        outer.by = "second"
        with rare.watch("inner") as inner:
            says("warning", "one")
            says("error", "two")
        says("warning", "three")
    assert inner.found == {"warning moon: one": "inner", "error moon: two": "inner"}
    assert outer.found == {
        "warning moon: one": "first",
        "error moon: two": "second",
        "warning moon: three": "second",
    }


def test_a_row_counts_when_a_story_takes_it_and_not_when_somebody_reads_the_law() -> None:
    with rare.watch() as reached:
        inbound_law.step(State.NEW, Event.REVERSAL)
        step = arrival.__dict__["step"]
        step(State.NEW, Event.REQUEST)
        with pytest.raises(AssertionError, match="cannot be"):
            step(State.NEW, Event.REPLY_SENT)
        departures.__dict__["step"](outbound_law.State.UNSUBMITTED, outbound_law.Event.SUBMIT)
    assert list(reached.found) == ["law NEW + REQUEST", "law UNSUBMITTED + SUBMIT"], "though the numbers are the same"


def test_an_error_counts_where_the_gateway_makes_it() -> None:
    with rare.watch() as reached:
        with rare.watch():
            Refusal("a test's own")
            with pytest.raises(Refusal):
                endpoint(config.Processor(url="http://a?b"))
        assert str(Refusal("with its text")) == "with its text"
    (name,) = reached.found
    assert name.startswith("gateway/http/directory.py endpoint_at: ConfigurationError(")
    assert name in {place.name for place in find()}


def test_an_error_counts_that_is_made_while_something_else_is() -> None:
    """Where its own making ends is told by the object, not by the name that every making has."""
    with rare.watch() as reached, pytest.raises(Refusal):
        Gateways([])
    (name,) = reached.found
    assert name.startswith("gateway/sdk/client.py __init__: ConfigurationError(")


def test_what_the_command_line_ends_with_is_noted(tmp_path: Path) -> None:
    with rare.watch() as reached:
        assert command_line.main(["run", "--config", str(tmp_path / "none.toml")]) == ExitCode.CONFIGURATION
        with pytest.raises(SystemExit):
            command_line.main(["run"])
        with pytest.raises(SystemExit):
            command_line.main(["--help"])
    assert {name for name in reached.found if name.startswith("exit")} == {"exit 2 USAGE", "exit 78 CONFIGURATION"}


def test_what_another_process_logged_counts_too(tmp_path: Path) -> None:
    """Its JSON lines are read back, whatever stands between them."""
    lines = [
        {"component": "hub", "level": "warning", "event": "link down"},
        {"component": "hub", "level": "info", "event": "link up"},
        {"component": "main", "level": "critical", "event": "ended", "exit_code": 74},
    ]
    output = b"\n".join([b"Traceback", *map(msgspec.json.encode, lines), b'{"component": "hu'])
    (tmp_path / "gateway.log").write_bytes(output)
    reached = rare.Reached("world")
    reached.note_log(tmp_path / "gateway.log")
    assert set(reached.found) == {"warning hub: link down", "critical main: ended", "exit 74 JOURNAL"}


def test_what_was_reached_is_written_down_and_joined(tmp_path: Path) -> None:
    one, other = rare.Reached("seed 1"), rare.Reached("seed 2")
    one.note("a")
    other.note("a")
    other.note("b")
    one.save(tmp_path / "one")
    joined = rare.Reached.load(tmp_path / "one")
    joined.merge(other)
    assert joined.found == {"a": "seed 1", "b": "seed 2"}


# --- what is missing


def test_a_place_that_nobody_reached_is_named_with_its_line() -> None:
    places = [Place("error hub: a", "gateway/hub/link.py:7"), Place("error hub: b"), Place("error hub: c")]
    assert rare.complaints({"error hub: b"}, places, {"error hub: c": "takes a year"}) == [
        "reached by nobody: error hub: a  gateway/hub/link.py:7"
    ]


def test_an_exemption_must_be_one() -> None:
    places = [Place("error hub: a")]
    assert rare.complaints({"error hub: a"}, places, {"error hub: a": "never", "error hub: gone": "never"}) == [
        "exempt, and reached all the same: error hub: a",
        "exempt, and not in the source: error hub: gone",
    ]


class Session:
    """pytest in a folder of its own, with two tests, and with what they reached judged."""

    def __init__(self, folder: Path, complaints: list[str]) -> None:
        (folder / "test_two.py").write_text("def test_one(): pass\ndef test_other(): pass\n")
        (folder / "pytest.ini").write_text(
            "[pytest]\ntestpaths = .\naddopts = -q --import-mode=importlib\nmarkers = system\n"
        )
        self.complaints = complaints
        self.plugins: list[Plugin] = []

    def pytest_configure(self, config: pytest.Config) -> None:
        """It is a plugin that registers another one."""
        self.plugins.append(Plugin(config))
        config.pluginmanager.register(self.plugins[-1], "rare")

    def run(self, *arguments: str) -> int:
        return int(pytest.main([*arguments], plugins=[self]))


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    session = Session(tmp_path, ["reached by nobody: the moon"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rare, "complaints", lambda _: session.complaints)
    return session


def test_a_run_of_all_tests_fails_for_what_nobody_reached_and_says_it(session: Session, capsys: Any) -> None:
    assert session.run() == pytest.ExitCode.TESTS_FAILED
    assert "reached by nobody: the moon" in capsys.readouterr().out


@pytest.mark.parametrize(
    "chosen", [["-k", "one"], ["-m", "not slow"], ["test_two.py"], ["--deselect", "test_two.py::test_one"]]
)
def test_a_run_of_some_tests_says_nothing(session: Session, capsys: Any, chosen: list[str]) -> None:
    assert session.run(*chosen) == pytest.ExitCode.OK
    assert "reached" not in capsys.readouterr().out


def test_a_run_that_reaches_everything_says_nothing(session: Session, capsys: Any) -> None:
    session.complaints = []
    assert session.run() == pytest.ExitCode.OK
    assert "rare" not in capsys.readouterr().out


PROCESSES = """
import pytest

def test_simulation(tmp_path):
    (tmp_path / "some.reached").write_text('{"error hub: frame error": "seed 7"}')

@pytest.mark.system
def test_world(tmp_path):
    (tmp_path / "world").mkdir()
    line = '{"component": "hub", "level": "warning", "event": "link down"}'
    (tmp_path / "world" / "gateway.log").write_text(line)
"""


def test_what_processes_of_a_test_reached_is_taken_from_its_directory(session: Session, tmp_path: Path) -> None:
    """What the simulation saved, with its seed; what a world of real processes logged, by the test's name."""
    (tmp_path / "test_two.py").rename(tmp_path / "test_processes.py").write_text(PROCESSES)
    session.complaints = []
    assert session.run() == pytest.ExitCode.OK
    assert session.plugins[-1].reached.found == {
        "error hub: frame error": "seed 7",
        "warning hub: link down": "test_processes.py::test_world",
    }


IN_A_WORKER = """
from tests.rare_plugin import Plugin

def pytest_configure(config):
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(Plugin(config), "rare")
"""


def test_what_several_processes_reached_is_judged_together(session: Session, tmp_path: Path, capsys: Any) -> None:
    """Each that runs tests tells the one that judges; one that ran only some makes no whole run."""
    (tmp_path / "conftest.py").write_text(IN_A_WORKER)
    (tmp_path / "test_three.py").write_text(PROCESSES)
    assert session.run("-n", "2", "--dist", "loadfile") == pytest.ExitCode.TESTS_FAILED
    assert set(session.plugins[-1].reached.found) == {"error hub: frame error", "warning hub: link down"}
    capsys.readouterr()
    assert session.run("-n", "2", "--deselect", "test_two.py::test_one") == pytest.ExitCode.OK
    assert "reached" not in capsys.readouterr().out
