"""What a hub should never send, and what must come of it (docs/protocol.md section 6).

Order of judgement there: frame, parse, MAC, fields, duplicate, date window. Each mischief is one function: it queues
bytes on a link and notes what must answer them; `scheme` judges. Pure.
"""

from collections.abc import Callable
from typing import NamedTuple

from loadtest.hub.scheme import Link, Scheme
from loadtest.ledger.oracle import fpid_hash
from loadtest.traffic import iso
from loadtest.traffic.payments import Generator, Made

CLOSED_WITHIN_S = 30.0
"""A participant may give half a frame some time (the gateway's default is 10 s) before it gives the connection up."""
NOTHING_FOR_S = 2.0
"""Time of silence that must follow a message that deserves no answer."""


class Scene(NamedTuple):
    """The means of a mischief."""

    scheme: Scheme
    link: Link
    generator: Generator
    now_s: float

    def expect(self, what: str, answer: str, within_s: float = 0.0, fpid: str = "") -> None:
        """Note the reaction expected within a time; without one, within the hub's patience."""
        self.scheme.expect(
            self.link, what, answer, within_s or self.scheme.settings.patience_s, self.now_s, fpid and fpid_hash(fpid)
        )

    def payment(self, what: str, made: Made, covered: bytes, code: str, field: str = "", *, own: bool = True) -> None:
        """Send a payment that must get this 9210. `own`: its FPID is not that of a true payment."""
        self.expect(what, "9210", fpid=made.fpid if own else "")
        ends = (self.generator.reply_key, self.generator.reply_tail)
        self.scheme.pay_oddly(self.link, made, ends, (code, field), self.now_s)
        self.scheme.transmit(self.link, covered)

    def fields(self, covered: bytes) -> iso.Fields:
        """The fields of one of our own messages, to be spoilt."""
        _, fields = iso.read(self.scheme.table, covered + b"0" * 16)
        del fields[128]
        return fields


def wrong_mac(scene: Scene) -> None:
    """A payment whose MAC is off by a digit: 9624/690, and the processor is not asked about it."""
    made = scene.generator.make()
    mac = scene.link.party.mac(made.covered)
    spoilt = mac[:-1] + (b"0" if mac[-1:] != b"0" else b"1")
    scene.link.out.append(scene.scheme.framing.frame(made.covered + spoilt))
    scene.expect("wrong-mac", "9624/690", fpid=made.fpid)


def garbage(scene: Scene) -> None:
    """A frame of bytes that are no message: 9624/650."""
    scene.link.out.append(scene.scheme.framing.frame(bytes(range(256))))
    scene.expect("garbage", "9624/650")


def unknown_mti(scene: Scene) -> None:
    """A well-formed message of a type that there is none of: 9624/650."""
    made = scene.generator.make()
    scene.scheme.transmit(scene.link, b"9999" + made.covered[4:])
    scene.expect("unknown-mti", "9624/650")


def missing_field(scene: Scene) -> None:
    """A payment without its beneficiary's sort code: 1930, and DE44 says 095."""
    made = scene.generator.make()
    fields = scene.fields(made.covered)
    del fields[95]
    covered = iso.write(scene.scheme.table, "9200", fields)
    scene.payment("missing-field", made, covered, "1930", "095")


def bad_value(scene: Scene) -> None:
    """A payment whose amount holds letters, or is zero, in turn: 1930, and DE44 says 006."""
    made = scene.generator.make()
    amount = "0000000000TWO0" if int(made.trn[-1:]) % 2 else "0" * 14
    covered = iso.write(scene.scheme.table, "9200", {**scene.fields(made.covered), 6: amount})
    scene.payment("bad-value", made, covered, "1930", "006")


def duplicate(scene: Scene) -> None:
    """The FPID of a payment that this node answered (another site cannot know it), with another amount: 1181.

    Not while a response with that FPID may still come, on whichever link: to this mischief, or to the payment.
    """
    sample = scene.scheme.deliveries.samples.get((scene.link.party.name, scene.link.node))
    if sample is None:
        return
    fields = scene.fields(sample)
    trn = fields[31].encode(iso.TEXT)
    fields[6] = f"{int(fields[6]) + 1:014d}"
    covered = iso.write(scene.scheme.table, "9200", fields)
    fpid = f"{fields[31]:<18}{fields[3][:2]}{fields[12]}{fields[51]}{fields[98]:<11}"
    if not scene.scheme.deliveries.under_way(fpid):
        scene.payment("duplicate", Made(trn, fpid, covered), covered, "1181", own=False)


def stray_response(scene: Scene) -> None:
    """A 9210 for a payment that nobody sent: recorded there, and answered with nothing."""
    made = scene.generator.make()
    fields = scene.fields(made.covered)
    kept = {number: fields[number] for number in (3, 12, 15, 29, 31, 51, 98)}
    scene.scheme.transmit(scene.link, iso.write(scene.scheme.table, "9210", {**kept, 26: "0000"}))
    scene.expect("stray-response", "nothing", NOTHING_FOR_S)


def stray_advice(scene: Scene) -> None:
    """A 9624 about nothing: recorded there, and answered with nothing."""
    scene.scheme.manage(scene.link, "9624", "650")
    scene.expect("stray-advice", "nothing", NOTHING_FOR_S)


def over_limit(scene: Scene) -> None:
    """A header that announces more than any message holds: the connection ends (a 9624/650 may come before)."""
    header_bytes = scene.scheme.framing.header_bytes
    announced = (9999 if scene.scheme.framing.form == "ascii" else 65000) if header_bytes == 4 else 65000
    _spoil(scene, scene.scheme.framing.header(announced))
    scene.expect("over-limit", "closed")


def half_frame(scene: Scene) -> None:
    """A frame that never ends: the connection does."""
    made = scene.generator.make()
    _spoil(scene, scene.scheme.framing.frame(made.covered)[:100])
    scene.expect("half-frame", "closed", CLOSED_WITHIN_S)


def _spoil(scene: Scene, rubbish: bytes) -> None:
    """After this nothing that we write on the link can be understood, so nothing more is sent on it."""
    scene.link.out.append(rubbish)
    scene.scheme.retire(scene.link)


KINDS: dict[str, Callable[[Scene], None]] = {
    "wrong-mac": wrong_mac,
    "garbage": garbage,
    "unknown-mti": unknown_mti,
    "missing-field": missing_field,
    "bad-value": bad_value,
    "duplicate": duplicate,
    "stray-response": stray_response,
    "stray-advice": stray_advice,
    "over-limit": over_limit,
    "half-frame": half_frame,
}
"""The mischiefs, by the name that `--mischief` takes."""
