"""Whatever Python and the libraries would print is one line of the log, without what it may hold."""

import logging
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from gateway.log import foreign
from tests.conftest import Logged

HERE = Path(__file__).parents[2]
SECRET = "GB33BUKB20201555555555"  # noqa: S105 - a customer's, so to say
CASES = {
    "unhandled exception": "raise ValueError(SECRET)",
    "exception ended a thread": (
        "def fail(): raise ValueError(SECRET)\nthread = threading.Thread(target=fail)\nthread.start(); thread.join()"
    ),
    "exception could not be raised": (
        "class Fails:\n    def __del__(self): raise ValueError(SECRET)\nFails(); gc.collect()"
    ),
    "Python warning": "warnings.warn(SECRET, UserWarning)",
    "library log line": (
        "try: raise ValueError(SECRET)\n"
        "except ValueError: logging.getLogger('trio.serve_listeners').error('%s', SECRET, exc_info=True)"
    ),
}


@pytest.mark.parametrize("event", CASES)
def test_what_python_would_print_is_one_line_without_values(event: str) -> None:
    """In a process of its own, as `run` sets it up."""
    program = (
        "import gc, logging, threading, warnings\nfrom gateway.log import foreign; from gateway import log\n"
        f"writer = log.configure('info', 'json')\nforeign.take_over()\nSECRET = {SECRET!r}\n"
        f"import atexit; atexit.register(writer.close)\n{CASES[event]}\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=HERE, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    (line,) = (msgspec.json.decode(said, type=dict[str, Any]) for said in ran.stdout.splitlines())
    assert (line["component"], line["event"]) == ("python", event)
    assert SECRET not in ran.stdout
    assert ":" in line["where"], "a file and a line"
    assert "ValueError" in line.get("error", "") or line["source"] == "UserWarning"


def test_each_of_them_is_a_line_of_this_log(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in this process: Python's hooks are ours."""
    for module, name in (
        (sys, "excepthook"),
        (threading, "excepthook"),
        (sys, "unraisablehook"),
        (warnings, "showwarning"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    level = root.level
    foreign.take_over()
    error = ValueError(SECRET)
    sys.excepthook(ValueError, error, None)
    threading.excepthook(threading.ExceptHookArgs((ValueError, error, None, None)))
    sys.unraisablehook(SimpleNamespace(exc_type=ValueError, exc_value=None))
    warnings.showwarning(SECRET, UserWarning, "/x/y.py", 1)
    root.error(SECRET)
    root.setLevel(level)
    assert {line["event"] for line in logged()} == set(CASES)
    assert SECRET not in str(logged())
