"""What the tests reach of what is rare, while they run; a run of all of them fails for what none of them reached.

Where pytest-xdist runs them in several processes, each tells the one that judges what it reached.
"""

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import rare

KEY = "rare/reached"


class Plugin:
    """Watches a run of tests."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._open = ExitStack()
        self.reached = rare.Reached()
        self._deselected = False
        self._complaints: list[str] = []

    def pytest_sessionstart(self) -> None:
        """Before any test module is imported."""
        self.reached = self._open.enter_context(rare.watch("collecting"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Whatever happens now is this test's."""
        self.reached.by = item.nodeid
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """What its processes reached, too: in the test's own directory lies what the simulation saved, or a world's
        logs.
        """
        directory: Path | None = getattr(item, "funcargs", {}).get("tmp_path")
        yield
        if directory is None:
            return
        for path in directory.glob("*.reached"):
            self.reached.merge(rare.Reached.load(path))
        if item.get_closest_marker("system") is not None:
            for path in directory.rglob("*.log"):
                self.reached.note_log(path)

    def pytest_deselected(self) -> None:
        """Not all tests run."""
        self._deselected = True

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Keep what was reached; judge it when all tests ran and none failed."""
        self._open.close()
        told: dict[str, Any] | None = getattr(self._config, "workeroutput", None)
        if told is not None:
            told[KEY] = (self.reached.found, self._deselected)
            return
        whole = exitstatus == pytest.ExitCode.OK and self._is_whole()
        cache: pytest.Cache | None = getattr(self._config, "cache", None)
        if cache is not None and session.testscollected and not self._config.option.collectonly:
            before: dict[str, str] = {} if whole else cache.get(KEY, {})
            cache.set(KEY, {**before, **self.reached.found})
        if whole:
            self._complaints = rare.complaints(self.reached.found)
            if self._complaints:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What one of several processes reached. One that crashed says nothing, and its run has failed."""
        found, deselected = getattr(node, "workeroutput", {}).get(KEY, ({}, False))
        self.reached.merge(rare.Reached("", found))
        self._deselected |= deselected

    def _is_whole(self) -> bool:
        options: Any = self._config.option
        everywhere = self._config.args_source is pytest.Config.ArgsSource.TESTPATHS
        chosen = options.keyword or options.markexpr or options.ignore or options.ignore_glob or self._deselected
        return everywhere and not (chosen or options.collectonly)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what is missing, and nothing otherwise."""
        if self._complaints:
            terminalreporter.section("rare places")
            for complaint in self._complaints:
                terminalreporter.line(complaint)
