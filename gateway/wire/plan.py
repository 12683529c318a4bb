"""Straight code for one shape of message, made from the table: the fast way to what `walk` does.

Which fields a message has is all in its first 36 bytes (MTI and bitmaps). So for each such header that comes often, the
loop over the table is unrolled into the source of one function, and compiled: constants for every fixed offset, one
look-up for every length, one check over all digits together and one over all characters. This is what makes decoding
ten times faster than a loop with a decision per field. The source is made of numbers and names that `fields.load` has
checked (names are identifiers), and never of anything that came over the wire but which bits were set.

A plan is an optimist: when anything at all is unusual it calls back into the slow way, which finds the words.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from gateway.wire.fields import HEX, MAC_FIELD, MAC_WIDTH, TEXT, WIDE, Field, FieldTable
from gateway.wire.message import TYPES, Message
from gateway.wire.walk import HEADER_END, SECONDARY, bytes_of, nests, text_of

Reader = Callable[[bytes], Message]
Writer = Callable[[Any], bytes]
Responder = Callable[[Any, str, str], bytes]


@cache
def lengths(prefix: int, width: int) -> dict[str, int]:
    """Every length prefix that a field may have, to its number: not digits and too long are both a miss."""
    return {f"{length:0{prefix}}": length for length in range(width + 1)}


@cache
def prefixes(prefix: int, width: int) -> tuple[str, ...]:
    """The length prefix for each length. None for an empty value: an absent field has no prefix either."""
    return ("", *(f"{length:0{prefix}}" for length in range(1, width + 1)))


def bits_of(numbers: Iterable[int]) -> int:
    """The bitmaps as a number, with the secondary one and DE128."""
    return SECONDARY | sum(1 << (128 - number) for number in {*numbers, MAC_FIELD})


def _compile(source: str, name: str, namespace: dict[str, Any]) -> Any:
    exec(compile(source, f"<plan {name}>", "exec"), namespace)  # noqa: S102 - our own table's numbers; see the docstring
    return namespace[name]


def reader(
    table: FieldTable, mti: str, numbers: list[int], slowly: Callable[[bytes], Message], fault: Callable[[bytes], int]
) -> Reader:
    """Compile the decoding of messages of this MTI with exactly these fields (all in the table, DE128 among them).

    `slowly` decodes, or raises for, a body that the plan cannot follow; `fault` finds the first field in error.
    """
    kind = TYPES[mti]
    names = {table.fields[number].name for number in numbers} & set(kind.__struct_fields__)
    namespace: dict[str, Any] = {"KIND": kind, "SLOWLY": slowly, "FAULT": fault, "NESTS": nests, "TEXT_OF": text_of}
    namespace |= {"TEXT": TEXT, "WIDE": WIDE, "HEX": HEX}
    steps: list[str] = []
    base, offset = "", HEADER_END  # where we are: after the variable field `base`, so many bytes on
    digits: list[tuple[str, int, int]] = []  # runs of fixed digits: base, from, to
    narrow: list[str] = []  # other values that hold ASCII only
    checks: list[str] = []
    for number in numbers:
        field = table.fields[number]
        if number == MAC_FIELD:
            break
        here = _at(base, offset)
        if field.prefix:
            namespace[f"L{field.prefix}_{field.width}"] = lengths(field.prefix, field.width)
            steps.append(f"s{number} = {_at(base, offset + field.prefix)}")
            steps.append(f"e{number} = s{number} + L{field.prefix}_{field.width}[text[{here}:s{number}]]")
            value = f"text[s{number}:e{number}]"
            base, offset = f"e{number}", 0
        else:
            value = f"text[{here}:{_at(base, offset + field.width)}]"
            if _is_digits(field):
                if digits and digits[-1][0] == base and digits[-1][2] == offset:
                    digits[-1] = (base, digits[-1][1], offset + field.width)
                else:
                    digits.append((base, offset, offset + field.width))
            offset += field.width
        if field.charset != "wide" and not _is_digits(field):
            narrow.append(f"v{number}" if field.name in names else value)
        checks += _checks(table, field, value, in_message=field.name in names)
        if field.name in names:
            strip = '.rstrip(" ")' if not field.prefix and field.charset != "digits" else ""
            steps.append(f"v{number} = {value}{strip}")
    mac, end = _at(base, offset), _at(base, offset + MAC_WIDTH)
    whole = " + ".join(f"text[{_at(b, start)}:{_at(b, stop)}]" for b, start, stop in digits)
    layout = table.layouts[mti]
    missing = [number for number in layout.mandatory if number not in numbers]
    empty = [f"v{number}" for number in layout.mandatory if number in numbers and not _is_digits(table.fields[number])]
    ascii_only = " + ".join(filter(None, [whole, *narrow])) or '""'
    doubts = ["odd", f"not ({whole}).isdigit()" if whole else "", *checks]
    doubts += [f"not ({' and '.join(empty)})" if empty else ""]
    doubt = "True" if missing else " or ".join(filter(None, doubts))
    values = {table.fields[number].name: f"v{number}" for number in numbers if table.fields[number].name in names}
    values |= {"mti": repr(mti), "body": "body", "fault": "fault", "mac": "mac"}
    arguments = ", ".join(values.get(name, '""') for name in kind.__struct_fields__)
    source = "\n    ".join(
        [
            "def read(body):",
            "text = TEXT_OF(body)",
            "try:",
            *(f"    {step}" for step in steps),
            "    pass",
            "except KeyError:",
            "    return SLOWLY(body)",
            f"mac = text[{mac}:{end}]",
            f"if {end} != len(body) or body[-{MAC_WIDTH}:].translate(None, HEX):",
            "    return SLOWLY(body)",
            "odd = body.translate(None, TEXT)",
            # an accent is odd, and right where it belongs
            f'if odd and not body.translate(None, WIDE) and ({ascii_only}).isascii(): odd = b""',
            f"fault = FAULT(body) if {doubt} else 0",
            f"return KIND({arguments})",
        ]
    )
    compiled: Reader = _compile(source, "read", namespace)
    return compiled


def _is_digits(field: Field) -> bool:
    return not field.prefix and field.charset == "digits"


def _at(base: str, offset: int) -> str:
    if not base:
        return str(offset)
    return f"{base} + {offset}" if offset else base


def _checks(table: FieldTable, field: Field, value: str, *, in_message: bool) -> list[str]:
    """The doubts that are this field's own."""
    value = f"v{field.number}" if in_message else value
    if field.number in table.nested:
        return [f"({value} and not NESTS({value}))"]
    if field.charset == "hex" or (field.prefix and field.charset == "digits"):
        return [f"({value} and FAULT(body))"]  # not in the built-in table
    return []


def writer(table: FieldTable, mti: str, bad: Callable[[Message], bytes]) -> Writer:
    """Compile the encoding of messages of this MTI, without DE128, whatever is in them.

    `bad` is called when something does not fit, or is not ASCII: it encodes, or names the field.
    """
    kind, attributes, mandatory = TYPES[mti], table.attributes(mti), table.layouts[mti].mandatory
    namespace: dict[str, Any] = {"KIND": kind, "BAD": bad, "NESTS": nests, "TEXT": TEXT}
    steps = [f"v{number} = m.{name}" for number, name in attributes]
    # mostly everything that is mandatory is there: one test instead of one for each
    steps += [f"if {' and '.join(f'v{number}' for number in mandatory) or 'True'}:", f"    bits = {bits_of(mandatory)}"]
    steps += ["else:", f"    bits = {bits_of([])}"]
    steps += [f"    if v{number}: bits |= {1 << (128 - number)}" for number in mandatory]
    parts, digits, doubts = list[str](), list[str](), ["body.translate(None, TEXT)"]
    for number, _ in attributes:
        field, value = table.fields[number], f"v{number}"
        if number not in mandatory:
            steps.append(f"if {value}: bits |= {1 << (128 - number)}")
        if field.prefix:
            namespace[f"P{field.prefix}_{field.width}"] = prefixes(field.prefix, field.width)
            parts.append(f"{{P{field.prefix}_{field.width}[len({value})]}}")
        else:
            pad = f"{value}.zfill({field.width})" if field.charset == "digits" else f"{value}.ljust({field.width})"
            steps.append(f"if {value} and len({value}) != {field.width}:")
            steps.append(f"    {value} = {pad}")
            steps.append(f"    if len({value}) != {field.width}: return BAD(m)")
        parts.append(f"{{{value}}}")
        if field.charset == "digits":
            digits.append(f"{{{value}}}")
        elif field.charset == "hex":
            doubts.append(value)
        if number in table.nested:
            doubts.append(f"({value} and not NESTS({value}))")
    steps += [f'digits = f"{"".join(digits)}"']
    doubts.append("(digits and not digits.isdigit())")
    source = "\n    ".join(
        [
            "def write(m):",
            "if m.__class__ is not KIND: return BAD(m)",
            *steps,
            "try:",
            f'    text = f"{mti}{{bits:032X}}{"".join(parts)}"',
            "except IndexError:",
            "    return BAD(m)",
            "if not text.isascii(): return BAD(m)",
            'body = text.encode("ascii")',
            f"if {' or '.join(doubts)}: return BAD(m)",
            "return body",
        ]
    )
    compiled: Writer = _compile(source, "write", namespace)
    return compiled


COPIED = (3, 12, 31, 51, 98)
"""What a 9210 and a 9430 copy from the request (fps-protocol section 3, certain)."""


def responder(table: FieldTable, mti: str, bad: Callable[[Any, str, str], bytes]) -> Responder:
    """Compile the making of a 9210 or 9430, without DE128, from a request, DE26 and DE44 (may be empty).

    `bad` is called when that is not possible, to say why.
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
            f"if len(v26) != {fields[26].width} or not v26.isdigit(): return BAD(m, v26, v44)",
            'return text.encode("ascii") if text.isascii() else BYTES_OF(text)',
        ]
    )
    compiled: Responder = _compile(source, "respond", namespace)
    return compiled
