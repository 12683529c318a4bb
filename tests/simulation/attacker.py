"""Somebody on the path between a data centre and a site of the hub, as one more weather.

They read everything, on every line and from its first byte, and remember it. While they are at work on a line, they
hold up, drop, repeat, reorder, turn round, cut and spoil the frames on it, and put in ones of their own. They have no
key: a MAC that they send is one that the hub or the gateway has made, for that message or another one. So no message
of theirs is authentic but what was sent before.

What the ends say of each other on such a line may be the attacker's doing: the oracle excuses it (`Oracle.tampered`),
and nothing else.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from gateway.wire.fields import FieldTable
from loadtest.ledger.oracle import fpid_hash
from loadtest.traffic import iso
from tests.simulation.luck import SITES, some_s

if TYPE_CHECKING:
    from tests.simulation.network import Route
    from tests.simulation.streams import Stream
    from tests.simulation.world import World

HEADER_BYTES = 4
FRAME_BYTES_MAX = 8192
"""What is longer is no frame: from then on the line is only listened to."""
CAPTURED_MAX = 500
"""Frames of each direction that are remembered: the latest."""
RELEASE_EVERY_S = 0.05
OTHER = {"hub": "gateway", "gateway": "hub"}
"""Who sends, and who gets it."""
ALTERED = {6: "00000000000001", 26: "1114", 35: "87654321", 12: "20260302", 24: "811", 31: "FORGED"}
"""What a field is changed to, where a message has it."""


class _Ear:
    """The frames in one direction of one connection."""

    def __init__(self) -> None:
        self.buffer = b""
        """Of the frame that is not complete, from its header on."""
        self.passed = 0
        """So much of it has gone on already."""
        self.lost = False
        """Where the next frame begins is not known any more."""


class Attacker:
    """What they know, and what they do with it."""

    def __init__(
        self, luck: random.Random, table: FieldTable, sent_again: Callable[[str, str, str], None] = lambda *_: None
    ) -> None:
        """`sent_again`: hears of each message of the gateway that goes to the hub once more (`Oracle.sent_again`)."""
        self.luck = luck
        self.sent_again = sent_again
        self._where = ""
        """The line of the frame that is dealt with."""
        self._table = table
        self._captured = {sender: deque[bytes](maxlen=CAPTURED_MAX) for sender in OTHER}
        """Whole frames, by who sent them."""
        self._ears: dict[Stream, _Ear] = {}
        self._held: list[tuple[float, Stream, bytes, Route]] = []
        """Frames that go on later: when, from which end, and on which line."""
        self._working: dict[Route, tuple[str, ...]] = {}
        """The lines at which they are at work, and what they do there."""

    def listen(self, route: "Route", where: str = "") -> None:
        """Read all that goes over this line; `where`: node/site."""

        def heard(stream: "Stream", data: bytes) -> bytes:
            self._where = where
            return self._heard(route, stream, data)

        route.tap = heard

    @contextmanager
    def at_work(self, route: "Route", kinds: tuple[str, ...]) -> Iterator[None]:
        """Do such things to the frames of this line meanwhile."""
        self._working[route] = kinds
        try:
            yield
        finally:
            del self._working[route]
            self._held = [one for one in self._held if one[3] is not route]

    def release(self) -> None:
        """Let go what was held for long enough."""
        now_s = trio.current_time()
        due = [one for one in self._held if one[0] <= now_s]
        self._held = [one for one in self._held if one[0] > now_s]
        for _, stream, frame, _ in due:
            ear = self._ears.get(stream)
            if ear is not None and not ear.passed:  # not into the middle of another one
                stream.forge(frame)

    def _heard(self, route: "Route", stream: "Stream", data: bytes) -> bytes:
        """An end of a connection sends this; what goes on."""
        if stream not in self._ears:
            self._ears = {known: ear for known, ear in self._ears.items() if not known.gone}
        ear = self._ears.setdefault(stream, _Ear())
        kinds = self._working.get(route, ())
        out: list[bytes] = []
        ear.buffer += data
        while not ear.lost and len(ear.buffer) >= HEADER_BYTES:
            end = HEADER_BYTES + int.from_bytes(ear.buffer[:HEADER_BYTES], "big")
            if end > HEADER_BYTES + FRAME_BYTES_MAX:
                ear.lost = True
            if end > len(ear.buffer):
                break
            frame, ear.buffer = ear.buffer[:end], ear.buffer[end:]
            self._captured[_sender(route, stream)].append(frame)
            if ear.passed or not kinds:
                out.append(frame[ear.passed :])
            else:
                out.append(self._dealt(route, stream, frame, self.luck.choice(kinds)))
            ear.passed = 0
        if ear.lost or not kinds or ear.passed:
            out.append(ear.buffer[ear.passed :])
            ear.passed = len(ear.buffer)
        return b"".join(out)

    def _dealt(self, route: "Route", stream: "Stream", frame: bytes, kind: str) -> bytes:
        """What goes on in place of a frame."""
        if self.luck.random() < 0.6:
            return frame
        if kind == "delay":
            after_s = self.luck.choice((0.1, 1.0, 8.0, 30.0))
            self._held.append((trio.current_time() + after_s, stream, frame, route))
            return b""
        return KINDS[kind](self, frame, _sender(route, stream))

    def _tell(self, frame: bytes) -> None:
        """The oracle hears that a message of the gateway goes to the hub again."""
        try:
            mti, fields = iso.read(self._table, frame[HEADER_BYTES:])
        except iso.Unreadable:
            return
        if mti in {"9200", "9201"}:
            name = f"{fields[31]:<18}{fields[3][:2]}{fields[12]}{fields[51]}{fields[98]:<11}"
            self.sent_again(self._where, mti, fpid_hash(name))

    # --- one for each kind; all but `drop` and `cut` leave whole frames

    def replay(self, frame: bytes, sender: str) -> bytes:
        """And one that went the same way before, on whatever line."""
        again = self.luck.choice(self._captured[sender])
        if sender == "gateway":
            self._tell(again)
        return frame + again

    def reflect(self, frame: bytes, sender: str) -> bytes:
        """And one that its receiver has sent, or the receiver's other data centre."""
        other = self._captured[OTHER[sender]]
        return frame + (self.luck.choice(other) if other else b"")

    def garble(self, frame: bytes, _sender: str) -> bytes:
        """With one bit the other way."""
        at = self.luck.randrange(HEADER_BYTES, len(frame)) if len(frame) > HEADER_BYTES else 0
        return frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :] if at else frame

    def alter(self, frame: bytes, sender: str) -> bytes:
        """Behind itself, or one that went this way before, with another value in a field and the MAC that it had."""
        captured = self.luck.choice((frame, self.luck.choice(self._captured[sender])))[HEADER_BYTES:]
        try:
            mti, fields = iso.read(self._table, captured)
        except iso.Unreadable:
            return frame
        there = [number for number in ALTERED if fields.get(number, ALTERED[number]) != ALTERED[number]]
        if not there:
            return frame
        mac = fields.pop(128).encode()
        number = 26 if 26 in there else self.luck.choice(there)
        body = iso.write(self._table, mti, {**fields, number: ALTERED[number]}) + mac
        return framed(body) + frame

    def inject(self, frame: bytes, _sender: str) -> bytes:
        """And one of their own: nothing, something, or the beginning of a message."""
        body = self.luck.choice(
            (b"", b"9", bytes(range(256)), frame[HEADER_BYTES : HEADER_BYTES + 40], b"9210" + b"0" * 600)
        )
        return frame + framed(body)

    def truncate(self, frame: bytes, _sender: str) -> bytes:
        """Without its end, and its header says so."""
        return framed(frame[HEADER_BYTES : self.luck.randint(HEADER_BYTES, len(frame))])

    def cut(self, frame: bytes, _sender: str) -> bytes:
        """Without its end, and its header does not say so: whatever follows is taken for the rest."""
        return frame[: self.luck.randrange(len(frame))]

    def drop(self, _frame: bytes, _sender: str) -> bytes:
        """Not at all."""
        return b""


KINDS: dict[str, Callable[[Attacker, bytes, str], bytes]] = {
    "replay": Attacker.replay,
    "reflect": Attacker.reflect,
    "garble": Attacker.garble,
    "alter": Attacker.alter,
    "inject": Attacker.inject,
    "truncate": Attacker.truncate,
    "cut": Attacker.cut,
    "drop": Attacker.drop,
}


WAYS = tuple(sorted([*KINDS, "delay"]))
"""Whatever they may do."""
ADDING = ("alter", "inject", "reflect", "replay")
"""Those that take nothing from the line."""


def _sender(route: "Route", stream: "Stream") -> str:
    return "hub" if route.place_of(stream).name.startswith("hub-") else "gateway"


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(HEADER_BYTES, "big") + body


async def attack(world: "World", luck: random.Random) -> None:
    """Somebody on the path is at work for a while."""
    node, site = luck.choice(SITES), luck.choice(SITES)
    # a process that does not hear of a change of keys is cut off: who must tell it then is not public
    possible = [way for way in WAYS if way in ADDING or "key" not in world.settings.mean_s]
    kinds = tuple(luck.sample(possible, k=min(luck.choice((1, 1, 2, 3, len(possible))), len(possible))))
    where = f"{node}/{site}"
    world.say(f"{where}: somebody on the path does this: {', '.join(kinds)}")
    world.oracle.tampered(where)
    route = world.route(node, f"hub-{site}")
    over_s = trio.current_time() + some_s(luck, 20.0)
    with world.trouble("link", where), world.attacker.at_work(route, kinds):
        while trio.current_time() < over_s:
            await trio.sleep(RELEASE_EVERY_S)
            world.attacker.release()
    if luck.random() < 0.5:
        route.cut()
