"""TOML, spoilt line by line and value by value."""

import random
import re

_VALUE = re.compile(rb"=\s*([^\n#]+)")
VALUES = [
    b"0", b"-1", b"1", b"65536", b"1e400", b"nan", b"inf", b"-0.0", b"0.001", b"true", b"[]", b"{}", b'""', b'"a"',
    b"'\\'", b'"\\u0000"', b'"\\U0001F600"', b"1979-05-27", b"07:32:00", b"0x7fffffffffffffff", b"9" * 30,
    b'[1, "a"]', b"[{}]", b"{a = 1}", b'"' + b"a" * 300 + b'"', b"[" * 600 + b"]" * 600, b'"0"', b'"http://[::1"',
]  # fmt: skip
WORDS = [b"[node]", b"[[node.hub]]", b"[pair]", b" = ", b'"""', b"'''", b"\n", b".", b"[[", b"]]", *VALUES[:20]]


def spoil(text: bytes, luck: random.Random) -> bytes:
    """Change a value or a key, leave a line out, double one, or let two change places."""
    lines = text.split(b"\n")
    for _ in range(luck.choice((1, 1, 2, 4))):
        at = luck.randrange(len(lines))
        what = luck.randrange(6)
        if what == 0 and len(lines) > 1:
            del lines[at]
        elif what == 1:
            lines.insert(luck.randrange(len(lines)), lines[at])
        elif what == 2:
            other = luck.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif what == 3 and lines[at]:
            cut = luck.randrange(len(lines[at]))
            lines[at] = lines[at][:cut] + luck.choice(WORDS) + lines[at][cut + luck.randrange(3) :]
        elif found := _VALUE.search(lines[at]):
            lines[at] = lines[at][: found.start(1)] + luck.choice(VALUES)
    return b"\n".join(lines)
