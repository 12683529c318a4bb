"""DE125, taken apart by any layout that a configuration can have."""

from gateway.wire.keydata import KeyLayout
from tests.fuzz.target import Dice, Target

PARTS = ("use", "wrapped", "check")
WIDTHS = {"use": (2, 0, 3), "wrapped": (0, 32, 48), "check": (6, 4, 16, 0)}
ORDERS = [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2), (0, 1), (1,)]


def run(data: bytes) -> None:
    """The parts, or None; put together they are what came."""
    dice = Dice(data)
    names = [PARTS[index] for index in dice.pick(ORDERS)]
    widths = {name: dice.pick(WIDTHS[name]) for name in names}
    for name in [name for name, width in widths.items() if width == 0][1:]:
        widths[name] = WIDTHS[name][0] or 32  # at most one is open
    layout = KeyLayout(tuple(f"{name}:{width or '*'}" for name, width in widths.items()))
    carried = tuple(name for name in names if not dice.odds(4))
    text = dice.rest().decode("latin-1")
    read = layout.take_apart(text, carried)
    if read is None:
        return
    again = layout.put_together(read, carried)
    assert again.upper() == text.upper()
    assert layout.take_apart(again, carried) == read
    assert repr(read) == "<KeyData>"


def samples() -> list[bytes]:
    """As it usually is."""
    return [
        b"\0\0\0\0\0\0\0" + b"01" + b"AB" * 16 + b"C0FFEE",
        b"\1\0\1\0\0\0\0" + b"c0ffee" + b"ab" * 16 + b"01",
        b"\3\0\0\0\0" + b"C0FFEEAB",
    ]


TARGET = Target(run, samples, words=[b"00" * 8, b" "])
