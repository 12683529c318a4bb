"""For every test: the log is strict and collected, and what runs real processes is marked so."""

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import hypothesis
import msgspec
import pytest

from gateway import log, metrics
from gateway.running.signals import HEARD
from tests.rare_plugin import Plugin

HERE = Path(__file__).parent
LOGGED_LINES_MAX = 10_000

# No deadline: speed is measured in benchmarks, never in timed tests. Not derandomized: each run tries something new,
# and a failure prints how to have it again.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=False, print_blob=True)
hypothesis.settings.register_profile("long", hypothesis.settings.get_profile("ci"), max_examples=5000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure(config: pytest.Config) -> None:
    """Note which tests come to what is rare."""
    config.pluginmanager.register(Plugin(config), "rare")


class Collected(log.Writer):
    """Keeps the lines in a list, in this thread."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        """Keep the line."""
        if len(self.lines) < LOGGED_LINES_MAX:
            self.lines.append(line)

    def close(self, within_s: float = 0.0) -> None:
        """Nothing waits."""


class Logged:
    """What the test has logged so far."""

    def __init__(self, collected: Collected) -> None:
        self._collected = collected

    def __call__(self, event: str = "") -> list[dict[str, Any]]:
        """The lines, or those with this event."""
        lines = [msgspec.json.decode(line) for line in self._collected.lines]
        return [line for line in lines if not event or line["event"] == event]


class Reached:
    """What was said of a limit, and what it turned away since the test began."""

    def __init__(self, logged: Logged) -> None:
        self._logged = logged
        self._before = {name: counted._value.get() for name, counted in metrics.LIMIT_TURNED_AWAY.items()}

    def __call__(self, name: str) -> tuple[list[int], int]:
        """The figure in each line that names it, and how many it turned away."""
        said = [line["limit"] for line in self._logged("limit reached") if line["where"] == name]
        return said, int(metrics.LIMIT_TURNED_AWAY[name]._value.get() - self._before[name])


@pytest.fixture
def reached(logged: Logged) -> Reached:
    """Limits that are reached in this test."""
    return Reached(logged)


@pytest.fixture(autouse=True)
def logged() -> Iterator[Logged]:
    """The lines that the test logs; a field that is not in `gateway.log.FIELDS` fails it."""
    log.strict = True
    collected = Collected()
    log.configure("debug", "json", collected)
    yield Logged(collected)
    log.configure("debug", "json", Collected())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Name a test that hangs, just before pytest's faulthandler_timeout ends the run with a traceback that does not."""
    limit_s = float(item.config.getini("faulthandler_timeout") or 0)
    if not limit_s:
        return (yield)
    naming = threading.Timer(limit_s * 0.95, _name, [item])
    naming.daemon = True
    naming.start()
    try:
        return (yield)
    finally:
        naming.cancel()


def _name(item: pytest.Item) -> None:
    capture = item.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        sys.stderr.write(f"\nhangs: {item.nodeid}\n")
        sys.stderr.flush()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below tests/system runs real processes."""
    for item in items:
        if (HERE / "system") in item.path.parents:
            item.add_marker("system")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what this machine could not show, and why: a test that is skipped proves nothing."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[-1]).removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section("not tested on this machine")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} {'test' if count == 1 else 'tests'}: {reason}")


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """A test that starts a gateway in this process leaves no handler behind, which would end all tests at a Ctrl-C."""
    before = {number: signal.getsignal(number) for number in HEARD}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
