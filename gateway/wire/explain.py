"""Shows a message to a person: every field that can be read, then the place where the message is bad.

Sensitive values are in the result in clear and marked as sensitive: the code that prints them masks them. Knows no
terminal.
"""

from msgspec import Struct

from gateway.wire import walk
from gateway.wire.fields import RULED, FieldTable
from gateway.wire.walk import HEADER_END, MTI_END, Unparseable


class Part(Struct, frozen=True):
    """One line of `Codec.explain`: a field, or the place where the message is bad."""

    field: int
    """0: the MTI; 1: the bitmaps."""
    name: str
    title: str
    position: int
    """The first byte: of the length prefix, if there is one."""
    width: int
    """Bytes, length prefix included."""
    value: str = ""
    sensitive: bool = True
    fault: str = ""
    """What is wrong here; never content."""
    fault_position: int = -1
    """The byte that is wrong."""
    fatal: bool = False
    """The fault makes the message unreadable: the gateway answers with a 9624/650."""
    parts: tuple["Part", ...] = ()
    """The tags of a nested field; `field` is the tag."""

    def __repr__(self) -> str:
        """Say where and no content: a traceback must not leak a payment."""
        return f"<DE{self.field} at byte {self.position}, {self.width} bytes{', ' if self.fault else ''}{self.fault}>"


def explain(table: FieldTable, body: bytes) -> list[Part]:
    """Take a message apart as far as it can be read. Never raises."""
    parts: list[Part] = []
    layout = None
    try:
        layout = walk.layout_of(table, body)
        parts.append(Part(0, "mti", layout.title, 0, MTI_END, layout.mti, sensitive=False))
    except Unparseable as error:
        value = walk.text_of(body[:MTI_END])
        parts.append(Part(0, "mti", "message type", 0, len(value), value, True, error.what, error.position, fatal=True))
        if len(body) < MTI_END:
            return parts
    # the layout of fields does not depend on the MTI: they can be read even when it is unknown
    found: list[walk.Span] = []
    try:
        walk.numbers_in(body)
        bitmaps = walk.text_of(body[MTI_END:HEADER_END])
        parts.append(Part(1, "bitmaps", "primary and secondary bitmap", MTI_END, 32, bitmaps, sensitive=False))
        for span in walk.spans(table, body):
            found.append(span)
            parts.append(_explained(table, body, span, ruled=layout is not None and layout.mti in RULED))
    except Unparseable as error:
        number, at = error.field, error.position
        field = table.fields.get(number)
        name, title = (field.name, field.title) if field else ("bitmaps", "") if number == 1 else ("", "")
        parts.append(Part(number, name, title, at, 0, "", True, error.what, at, fatal=True))
        return parts
    if layout is not None:
        for fault in walk.faults_of(table, layout, body, found):
            if fault.missing:
                field = table.fields[fault.field]
                at = fault.position
                parts.append(Part(fault.field, field.name, field.title, at, 0, "", True, fault.what, at))
    return parts


def _explained(table: FieldTable, body: bytes, span: walk.Span, *, ruled: bool) -> Part:
    field, position, start, end = span
    fault = walk.fault_of(table, body, span, ruled=ruled)
    value = walk.value_in(body, span)
    inner: tuple[Part, ...] = ()
    if field.number in table.nested:
        tags = table.nested[field.number]
        inner = tuple(
            Part(
                int(piece.tag),
                tags[piece.tag].name if piece.tag in tags else "",
                tags[piece.tag].title if piece.tag in tags else "not in the field table",
                start + piece.start - 6,
                6 + len(piece.value),
                piece.value,
                field.sensitive,
            )
            for piece in walk.pieces(value)
        )
    return Part(
        field.number,
        field.name,
        field.title,
        position,
        end - position,
        value,
        field.sensitive,
        fault.what if fault else "",
        fault.position if fault else -1,
        parts=inner,
    )
