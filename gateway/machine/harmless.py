r"""What came from elsewhere, made harmless before a person sees it: the one place that does so.

A message, a processor's answer, the name of a file, a journal that somebody else wrote: each may hold characters that
steer a terminal (ESC, the C1 controls, BEL, CR), that turn the order of what is read (the bidirectional controls), or
that nobody sees. None of these shows, by `str.isprintable`, and all are written as JSON's escape: `\u001b`. So JSON
keeps its exact meaning, and a person sees what was there.

* `text`: what is printed as it is, lines and tabs included. Each command's standard streams do it by themselves
  (`console`), so that no `print` can forget it, and the log does it with each line.
* `line`: one line, of which a part came from elsewhere: it may not begin another one, which would read as ours.
* `shown`: a value from elsewhere. In a spreadsheet a cell that begins with `=`, `+`, `-` or `@` is a formula, so a
  quote goes before it; not before a plain number. JSON has no such quote: who reads JSON wants the exact value.
"""

import re

_DANGEROUS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
"""Of ASCII, but for the ends of lines and tabs."""
_FORMULA = re.compile(r"[=+\-@\uff1d\uff0b\uff0d\uff20](?![\d.,]*\Z)")
"""The beginning of one, in full width, too. A dash alone and a number are none."""


def escaped(sign: str) -> str:
    """A character as JSON escapes it, and Python below U+10000."""
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def text(given: str) -> str:
    """A text of several lines."""
    if given.isascii():
        return _DANGEROUS.sub(lambda found: escaped(found[0]), given)
    return "".join(sign if sign.isprintable() or sign in "\n\t" else escaped(sign) for sign in given)


def line(given: object) -> str:
    """A text that is to stay on its line."""
    said = str(given)
    return said if said.isprintable() else "".join(sign if sign.isprintable() else escaped(sign) for sign in said)


def shown(value: object) -> str:
    """A value in a line or a table."""
    said = line(value)
    return f"'{said}" if _FORMULA.match(said) else said


def json(encoded: bytes) -> bytes:
    """JSON in which all that does not show is escaped, as controls below U+0020 are anyway. It means the same."""
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded
    return text(encoded.decode()).encode()
