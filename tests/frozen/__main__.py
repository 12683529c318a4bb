"""Print what the code says now, as JSON; with `--write`, write it into the committed lists.

.venv/bin/python -m tests.frozen --write
"""

import json
import sys

from tests.frozen.kept import write
from tests.frozen.names import lists


def main() -> None:
    """Read the code once."""
    found = lists()
    if sys.argv[1:] == ["--write"]:
        write(found)
    else:
        json.dump(found, sys.stdout)


main()
