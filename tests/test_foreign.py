"""Whatever Python and the libraries would print is one line of the log, without what it may hold."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

HERE = Path(__file__).parents[1]
SECRET = "GB33BUKB20201555555555"  # noqa: S105 - a customer's, so to say
CASES = {
    "an error that nobody took": "raise ValueError(SECRET)",
    "a thread ended by an error": (
        "def fail(): raise ValueError(SECRET)\nthread = threading.Thread(target=fail)\nthread.start(); thread.join()"
    ),
    "an error that could not be raised": (
        "class Fails:\n    def __del__(self): raise ValueError(SECRET)\nFails(); gc.collect()"
    ),
    "Python warns": "warnings.warn(SECRET, UserWarning)",
    "a library logs": (
        "try: raise ValueError(SECRET)\n"
        "except ValueError: logging.getLogger('trio.serve_listeners').error('%s', SECRET, exc_info=True)"
    ),
}


@pytest.mark.parametrize("event", CASES)
def test_what_python_would_print_is_one_line_without_values(event: str) -> None:
    """In a process of its own, as `run` sets it up."""
    program = (
        "import gc, logging, threading, warnings\nfrom gateway import foreign, log\n"
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
