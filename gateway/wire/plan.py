"""Straight code for one shape of message, made from the table: the fast way to the result of `walk`.

The first 36 bytes of a message (MTI and bitmaps) say which fields it has. For each such header that comes often, this
module unrolls the loop over the table into the source of one function and compiles it: constants for fixed offsets, one
look-up for each length, one check over all digits together and one over all characters. Decoding thus becomes ten times
faster than a loop that decides about each field. The source consists of numbers and names that `fields.load` has
checked (names are identifiers). Nothing from the wire gets into it but which bits were set.

A plan is an optimist: when anything is unusual, it calls the slow way, which finds the words.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from gateway.wire.fields import HEX, MAC_FIELD, MAC_WIDTH, RULED, TEXT, WIDE, Field, FieldTable
from gateway.wire.message import TYPES, Message
from gateway.wire.walk import HEADER_END, PROCESSING_CODE, SECONDARY, bytes_of, nests, text_of

Reader = Callable[[bytes], Message]
Writer = Callable[[Any], bytes]
Responder = Callable[[Any, str, str], bytes]


@cache
def lengths(prefix: int, width: int) -> dict[str, int]:
    """Every length prefix that a field may have, with its number. Bad prefixes are not in it.

    The cache holds one for each format of the field tables: a dozen.
    """
    return {f"{length:0{prefix}}": length for length in range(width + 1)}


@cache
def prefixes(prefix: int, width: int) -> tuple[str, ...]:
    """The length prefix for each length. An empty value has none: an absent field has no prefix either."""
    return ("", *(f"{length:0{prefix}}" for length in range(1, width + 1)))


def bits_of(numbers: Iterable[int]) -> int:
    """Both bitmaps as a number, with the bit of the secondary one and that of DE128 set."""
    return SECONDARY | sum(_bit(number) for number in {*numbers, MAC_FIELD})


def _compile(source: str, name: str, namespace: dict[str, Any]) -> Any:
    exec(compile(source, f"<plan {name}>", "exec"), namespace)  # noqa: S102 - our own table's numbers; see the docstring
    return namespace[name]


class _ReaderSource:
    """The source of one reader, built field by field."""

    def __init__(self, table: FieldTable, kind: type[Message], *, ruled: bool) -> None:
        self._table = table
        self._ruled = ruled
        self._places = set(kind.__struct_fields__)
        self.namespace: dict[str, Any] = {}
        self.steps: list[str] = []
        self.values: dict[str, str] = {}
        """Attribute to the variable that holds its value."""
        self.checks: list[str] = []
        """Expressions that are true when a field may be in error."""
        self.ascii_only: list[str] = []
        """Values that hold nothing but ASCII, other than `digits`."""
        self._runs: list[tuple[str, int, int]] = []
        # the position reached: `offset` bytes behind the variable field that ends at `base` ("": there is none yet)
        self._base, self._offset = "", HEADER_END

    def at(self, more: int = 0) -> str:
        """Expression of the position reached, or of one `more` bytes on."""
        return _at(self._base, self._offset + more)

    def add(self, field: Field) -> None:
        number, here = field.number, self.at()
        if field.prefix:
            known = f"L{field.prefix}_{field.width}"
            self.namespace[known] = lengths(field.prefix, field.width)
            self.steps.append(f"s{number} = {self.at(field.prefix)}")
            self.steps.append(f"e{number} = s{number} + {known}[text[{here}:s{number}]]")
            value = f"text[s{number}:e{number}]"
            self._base, self._offset = f"e{number}", 0
        else:
            value = f"text[{here}:{self.at(field.width)}]"
            if _is_digits(field):
                self._add_digits(field.width)
            self._offset += field.width
        if field.name in self._places:
            padded = not field.prefix and not _is_digits(field)
            self.steps.append(f"v{number} = {value}" + ('.rstrip(" ")' if padded else ""))
            self.values[field.name] = value = f"v{number}"
        if field.charset != "wide" and not _is_digits(field):
            self.ascii_only.append(value)
        if number in self._table.nested:
            self.checks.append(f"({value} and not NESTS({value}))")
        elif field.charset == "hex" or (field.prefix and field.charset == "digits"):
            self.checks.append(f"({value} and FAULT(body))")  # the built-in table has none of these
        if self._ruled and field.rule is not None:
            self.namespace |= field.rule.names
            self.checks.append(field.rule.doubt.format(v=value if value.isidentifier() else f"({value})"))

    def _add_digits(self, width: int) -> None:
        """Adjacent fixed digits form one run, and one slice covers them all."""
        start = self._offset
        if self._runs and self._runs[-1][0] == self._base and self._runs[-1][2] == start:
            start = self._runs.pop()[1]
        self._runs.append((self._base, start, self._offset + width))

    @property
    def digits(self) -> str:
        """Expression of all fixed digits in a row."""
        return " + ".join(f"text[{_at(base, start)}:{_at(base, end)}]" for base, start, end in self._runs) or '"0"'


def reader(
    table: FieldTable, mti: str, numbers: list[int], slowly: Callable[[bytes], Message], fault: Callable[[bytes], int]
) -> Reader:
    """Compile the decoding of messages of this MTI with exactly these fields (all in the table, DE128 among them).

    `slowly` decodes, or raises for, a body that the plan cannot follow; `fault` finds the first field in error.
    """
    kind = TYPES[mti]
    reading = _ReaderSource(table, kind, ruled=mti in RULED)
    for number in numbers:
        if number != MAC_FIELD:
            reading.add(table.fields[number])
    doubts = ["odd", f"not ({reading.digits}).isdigit()", *reading.checks]
    doubts += _missing(table, mti, numbers, reading.namespace)
    doubt = " or ".join(doubts)
    ascii_only = " + ".join([reading.digits, *reading.ascii_only])
    values = reading.values | {"mti": repr(mti), "body": "body", "fault": "fault", "mac": "mac"}
    arguments = ", ".join(values.get(name, '""') for name in kind.__struct_fields__)
    source = "\n    ".join(
        [
            "def read(body):",
            "text = TEXT_OF(body)",
            "try:",
            *(f"    {step}" for step in ["pass", *reading.steps]),
            "except KeyError:",
            "    return SLOWLY(body)",
            f"mac = text[{reading.at()}:{reading.at(MAC_WIDTH)}]",
            # slices never fail: a message that was cut short shows here
            f"if {reading.at(MAC_WIDTH)} != len(body) or body[-{MAC_WIDTH}:].translate(None, HEX):",
            "    return SLOWLY(body)",
            "odd = body.translate(None, TEXT)",
            # an accent is odd, but right in a wide field
            f"if odd and not body.translate(None, WIDE) and ({ascii_only}).isascii():",
            '    odd = b""',
            f"fault = FAULT(body) if {doubt} else 0",
            f"return KIND({arguments})",
        ]
    )
    namespace = {"KIND": kind, "SLOWLY": slowly, "FAULT": fault, "NESTS": nests, "TEXT_OF": text_of}
    compiled: Reader = _compile(source, "read", namespace | _CLASSES | reading.namespace)
    return compiled


def _missing(table: FieldTable, mti: str, numbers: list[int], namespace: dict[str, Any]) -> Iterator[str]:
    """Expressions that are true when a mandatory field may be missing."""
    needed, present = set(table.layouts[mti].mandatory), set(numbers)
    if mti in RULED:
        for group in table.together:
            needed |= set(group) if present & set(group) else set()
        needy = {kind.code for kind in table.types.values() if not set(kind.mandatory) <= present}
        if needy and PROCESSING_CODE in present:
            namespace["NEEDY"] = frozenset(needy)
            yield f"v{PROCESSING_CODE}[:2] in NEEDY"
        needed |= present & {number for kind in table.types.values() for number in kind.mandatory}
    if not needed <= present:
        yield "True"
    if texts := [number for number in sorted(needed & present) if not _is_digits(table.fields[number])]:
        there = [_says_something(f"v{number}") if mti in RULED else f"v{number}" for number in texts]
        yield f"not ({' and '.join(there)})"


def _says_something(value: str) -> str:
    """Expression that is false for a blank value. Of the allowed characters, only blanks sort before "!".

    A value of "!" alone is doubted too, which does no harm.
    """
    return f'{value} > "!"'


_CLASSES = {"TEXT": TEXT, "WIDE": WIDE, "HEX": HEX}


def _is_digits(field: Field) -> bool:
    return not field.prefix and field.charset == "digits"


def _at(base: str, offset: int) -> str:
    if not base:
        return str(offset)
    return f"{base} + {offset}" if offset else base


class _WriterSource:
    """The source of one writer, built field by field."""

    def __init__(self, table: FieldTable, mti: str) -> None:
        self._table = table
        attributes, mandatory = table.attributes(mti), table.layouts[mti].mandatory
        self.namespace: dict[str, Any] = {}
        self.steps = [f"v{number} = m.{name}" for number, name in attributes]
        # usually all mandatory fields are present: one test instead of one for each
        present = [f"v{number}" for number in mandatory]
        self.steps += [f"if {' and '.join(present) or 'True'}:", f"    bits = {bits_of(mandatory)}"]
        self.steps += ["else:", f"    bits = {bits_of([])}"]
        self.steps += [f"    if v{number}: bits |= {_bit(number)}" for number in mandatory]
        self.parts: list[str] = []
        """The fields of the text, as replacement fields of an f-string."""
        self.doubts: list[str] = []
        """Expressions that are true when a value may be bad."""
        self.digits: list[str] = []
        self.narrow: list[str] = []
        """Values that must hold nothing but ASCII."""
        for number, _ in attributes:
            if number not in mandatory:
                self.steps.append(f"if v{number}: bits |= {_bit(number)}")
            self._add(table.fields[number])

    def _add(self, field: Field) -> None:
        value = f"v{field.number}"
        if field.prefix:
            self.namespace[f"P{field.prefix}_{field.width}"] = prefixes(field.prefix, field.width)
            self.parts.append(f"{{P{field.prefix}_{field.width}[len({value})]}}")
        else:
            pad = f"{value}.zfill({field.width})" if field.charset == "digits" else f"{value}.ljust({field.width})"
            self.steps.append(f"if {value} and len({value}) != {field.width}:")
            self.steps.append(f"    {value} = {pad}")
            self.steps.append(f"    if len({value}) != {field.width}: return BAD(m)")
        self.parts.append(f"{{{value}}}")
        if field.charset != "wide":
            self.narrow.append(f"{{{value}}}")
        if field.charset == "digits":
            self.digits.append(f"{{{value}}}")
        elif field.charset == "hex":
            self.doubts.append(value)
        if field.number in self._table.nested:
            self.doubts.append(f"({value} and not NESTS({value}))")


def _bit(number: int) -> int:
    return 1 << (128 - number)


def writer(table: FieldTable, mti: str, bad: Callable[[Message], bytes]) -> Writer:
    """Compile the encoding of messages of this MTI, without DE128, whatever their content.

    When a value does not fit, the code calls `bad`, which names the field.
    """
    writing = _WriterSource(table, mti)
    doubts = ["odd", *writing.doubts, "(digits and not digits.isdigit())"]
    source = "\n    ".join(
        [
            "def write(m):",
            "if m.__class__ is not KIND: return BAD(m)",
            *writing.steps,
            f'digits = f"{"".join(writing.digits)}"',
            "try:",
            f'    text = f"{mti}{{bits:032X}}{"".join(writing.parts)}"',
            "except IndexError:",
            "    return BAD(m)",
            "if text.isascii():",
            '    body = text.encode("ascii")',
            "    odd = body.translate(None, TEXT)",
            "else:",
            "    try:",
            "        body = BYTES_OF(text)",
            "    except ValueError:",
            "        return BAD(m)",
            # one character is one byte, so the lengths are right; only wide fields may hold others than ASCII
            f'    odd = body.translate(None, WIDE) or not f"{"".join(writing.narrow)}".isascii()',
            f"if {' or '.join(doubts)}: return BAD(m)",
            "return body",
        ]
    )
    namespace = {"KIND": TYPES[mti], "BAD": bad, "NESTS": nests, "TEXT": TEXT, "WIDE": WIDE, "BYTES_OF": bytes_of}
    compiled: Writer = _compile(source, "write", namespace | writing.namespace)
    return compiled


def fitting(table: FieldTable, mti: str) -> Callable[[Message], bool]:
    """Compile a check of messages of this MTI built here. False is only a doubt.

    True: the message certainly breaks no rule, lacks no mandatory field and loses nothing by padding (the hub must get
    what was submitted).
    """
    mandatory, doubts, namespace = table.layouts[mti].mandatory, list[str](), dict[str, Any]()
    for number, name in table.attributes(mti):
        field, value = table.fields[number], f"m.{name}"
        own = [field.rule.doubt.format(v=value)] if field.rule is not None else []
        if field.rule is not None:
            namespace |= field.rule.names
        if _is_digits(field):
            own.append(f"len({value}) != {field.width}")
        elif not field.prefix:
            own.append(f'{value}[-1] == " "')
        if own:
            doubts.append(f"({value} and ({' or '.join(own)}))")
        if number in mandatory:
            doubts.append(f"not {_says_something(value)}")
    source = f"def fits(m): return not ({' or '.join(doubts) or 'False'})"
    compiled: Callable[[Message], bool] = _compile(source, "fits", namespace)
    return compiled


COPIED = (3, 12, 31, 51, 98)
"""The fields that a 9210 and a 9430 copy from the request (docs/protocol.md section 3, certain)."""


def responder(table: FieldTable, mti: str, bad: Callable[[Any, str, str], bytes]) -> Responder:
    """Compile the encoding of a 9210 or 9430, without DE128, from a request, DE26 and DE44 (which may be empty).

    When that is not possible, the code calls `bad`, which says why.
    """
    fields = table.fields
    namespace: dict[str, Any] = {"BAD": bad, "BYTES_OF": bytes_of}
    steps = [f"v{number} = m.{fields[number].name}" for number in COPIED]
    steps.append(f"if not ({' and '.join(f'v{number}' for number in COPIED)}): return BAD(m, v26, v44)")
    width, parts, varying = HEADER_END, list[str](), list[str]()
    for number in sorted((*COPIED, 26, 44)):
        field, value = fields[number], f"v{number}"
        if field.prefix:
            namespace[f"P{number}"] = prefixes(field.prefix, field.width)
            parts.append(f"{{P{number}[len({value})]}}{{{value}}}")
            # the prefix of DE44 is not there when DE44 is not
            varying.append(f"len({value})" + (f" + ({field.prefix} if {value} else 0)" if number == 44 else ""))
            width += 0 if number == 44 else field.prefix
        else:
            parts.append(f"{{{value}}}" if field.charset == "digits" else f"{{{value}:<{field.width}}}")
            width += field.width
    without, with_field = (f"{bits_of(numbers):032X}" for numbers in ((*COPIED, 26), (*COPIED, 26, 44)))
    source = "\n    ".join(
        [
            "def respond(m, v26, v44):",
            *steps,
            "try:",
            f"    text = f\"{mti}{{'{with_field}' if v44 else '{without}'}}{''.join(parts)}\"",
            "except IndexError:",
            "    return BAD(m, v26, v44)",
            f"if len(text) != {' + '.join([str(width), *varying])}: return BAD(m, v26, v44)",
            f"if len(v26) != {fields[26].width} or not (v26.isdigit() and v26.isascii()): return BAD(m, v26, v44)",
            'return text.encode("ascii") if text.isascii() else BYTES_OF(text)',
        ]
    )
    compiled: Responder = _compile(source, "respond", namespace)
    return compiled
