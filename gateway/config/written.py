"""Where in a TOML text a key is written: for mistakes, which name their line.

The library that reads TOML tells no places. This looks at the text alone, line by line, and refuses to know what the
keys mean; in text that is formatted oddly it finds the nearest table above.
"""

import re

BEYOND_PYTHON = "it nests too deeply, or holds a number of too many digits"
"""Why Python cannot read TOML that may be right."""


def lines_of(text: str) -> dict[str, int]:
    """Return the line of each dotted key and each table; of `[[node.hub]]` tables also as `node.hub[0]` and so on."""
    written: dict[str, int] = {}
    table, latest = "", dict[str, int]()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            name = re.sub(r"\s*\.\s*", ".", stripped.strip("[").partition("]")[0].strip())
            # a table below the latest of an array of tables: [node.hub.tls] belongs to node.hub[n]
            for array, index in latest.items():
                if name.startswith(array + "."):
                    name = f"{array}[{index}]{name[len(array) :]}"
            if stripped.startswith("[["):
                written.setdefault(name, number)
                latest[name] = latest.get(name, -1) + 1
                name = f"{name}[{latest[name]}]"
            table = name
            written.setdefault(table, number)
        elif "=" in stripped and not stripped.startswith("#"):
            key = stripped.partition("=")[0].strip()
            written.setdefault(f"{table}.{key}" if table else key, number)
    return written


def line_of(written: dict[str, int], key: str) -> int:
    """Return the line of a dotted key, or of the nearest table above it that is written; 1 when none is."""
    while key and key not in written:
        key = key[: max(key.rfind("."), key.rfind("["), 0)]
    return written.get(key, 1)


def first_line_of(written: dict[str, int], table: str) -> int:
    """Return the first line that says anything of a table; 1 when none is found."""
    return min((line for key, line in written.items() if is_of(key, table)), default=1)


def is_of(key: str, table: str) -> bool:
    """Whether a dotted key is a table or in it."""
    return key == table or key.startswith((f"{table}.", f"{table}["))
