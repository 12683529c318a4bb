"""Every fate of a payment, played: a table for each direction, made of what an engine between fakes then did.

    .venv/bin/python -m tests.fates     write the tables to docs/fates.md and to gateway/payments/fates.py

tests/payments/test_fates.py holds the committed tables to the playbooks.
"""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("tests.fates.__main__"))

import logging
from collections.abc import Sequence

import structlog

from tests.fates.written import MODULE, PAGE, docstring, renewed


def main(arguments: Sequence[str]) -> int:
    """Renew the page and the module."""
    if arguments:
        sys.stderr.write(__doc__ or "")
        return 2
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # the playbooks log
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    MODULE.write_text(docstring(), encoding="utf-8")
    return 0
