"""The story of key changes, as playbooks: at this time this happens → this is done.

    811 hub A @1 #1                 the hub sends key A, which it signs with, by link 1, with message id 500001
    886 hub A @1 #2, 885 own @1 #3  the hub shows which key it has; asks us for one
    installed fps-hub.aaaaaa        the tokens have it;  failed LABEL WHY: they have it not
    durable                         everything recorded so far is
    9814 886 1 0000 @2              the hub responds to our message 000001 by link 2
    allow own AAAAAA                an operator lets this superseded key come back
    timer, ask own, restart, links off, links on

What is done: `install LABEL`, `record`, `9814 811 #1 0000 @1`, `9804 886 1 1AAAAAA @1`, `(note LABEL detail)`.
"""

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway import config
from gateway.clock import Now
from gateway.payments.steps import KeyAllowed, Kind
from gateway.payments.steps import unpack as unpack_step
from gateway.payments.work import Install
from gateway.scheme.keyring import WAITING_MAX, Keyring
from gateway.scheme.keywork import Commands, Done, Note, Sent
from gateway.scheme.proving import REVIVE_EVERY_S, SENT_MAX
from gateway.scheme.ring import ALLOWED_MAX, RETIRED_MAX, Allow, Ring, Slot, Use, retire, unpack, was_superseded
from gateway.wire.message import Message, NetworkRequest, NetworkResponse, UsmAcknowledgement

WALL_NS = 1_800_000_000_000_000_000


class Link:
    """A link is who it is."""

    def __init__(self, number: int) -> None:
        self.id = number
        self.site = "hub1"


class Player(Commands):
    """Plays a book against a keyring, and writes down what it does."""

    def __init__(self, **settings: Any) -> None:
        self.pair = config.Pair(group="sip", keys=config.Keys(**settings))
        self.links: dict[int, Link] = {}
        self.linked = True
        self.said: list[str] = []
        self.recorded: list[bytes] = []
        self.durable = 0
        self.awaited: list[int] = []
        self.allowing: list[tuple[int, Done]] = []
        self.held: tuple[Install, ...] = ()
        self.last_id = 0
        self.now = Now(100.0, WALL_NS)
        self.checks = {"fps-hub": "00FF00AA11223344", "fps-own": "123456789ABCDEF0"}
        self.keyring = Keyring(self.pair, self)
        self.keyring.begin(self.now)
        self.durable = 1
        self.said.clear()

    # --- Commands

    def record(self, kind: Kind, body: bytes, fpid: str, link: Any) -> int:
        assert (fpid, link.id) == ("", 0)
        if kind is Kind.KEY_ALLOWED:
            order = unpack_step(kind, body)
            assert isinstance(order, KeyAllowed)
            self.said.append(f"record {order.use} {order.check}: {order.reason}")
            return len(self.recorded)
        assert kind is Kind.KEYS
        self.recorded.append(body)
        self.said.append("record")
        return len(self.recorded)

    def when_keys_recorded(self, position: int) -> None:
        self.awaited.append(position)

    def when_allowed(self, position: int, done: Done) -> None:
        self.allowing.append((position, done))

    def transmit(self, link: Any, message: Message) -> None:
        assert isinstance(message, NetworkResponse)
        assert (message.mti, message.transmission_time) == ("9814", "0102030405")
        number = int(message.message_id) - 500000
        self.said.append(f"9814 {message.function_code} #{number} {message.action_code} @{link.id}")

    def request(self, function_code: str, key_data: str, link: Any, sign_with: str = "") -> Sent | None:
        if not self.linked:
            return None
        self.last_id += 1
        by = f" @{link.id}" if link is not None else ""
        by += f" by {sign_with}" if sign_with else ""
        self.said.append(f"9804 {function_code} {self.last_id} {key_data}{by}")
        return Sent("0304050607", f"{self.last_id:06d}")

    def hold(self, keys: tuple[Install, ...]) -> None:
        self.held = keys

    def install(self, key: Install) -> None:
        self.said.append(f"install {key.label}")
        assert key.wrapped

    def check_of(self, label: str) -> str:
        return self.checks.get(label, "")

    def note_key(self, note: Note, label: str, detail: str = "") -> None:
        self.said.append("(" + " ".join(filter(None, [note.name.lower().replace("_", " "), label, detail])) + ")")

    # --- the book

    def play(self, book: str) -> "Player":
        """Play every line, and hold what was done against what stands there."""
        for line in filter(str.strip, re.sub(r",\n\s+", ", ", book).splitlines()):
            at, happens, done = re.fullmatch(r"\s*([0-9.]+)\s+(.*?)\s*->\s*(.*?)\s*", line).groups()  # type: ignore[union-attr]
            self.now = Now(100.0 + float(at), WALL_NS + round(float(at) * 1e9))
            self._happen(*happens.split())
            assert self.said == [each for each in done.split(", ") if each], line
            self.said.clear()
            self._invariants()
        return self

    def _happen(self, what: str, *words: str) -> None:  # noqa: C901, PLR0912 (a case for each thing that can happen)
        keyring, now = self.keyring, self.now
        match what:
            case "811" | "885" | "886":
                self.hear(what, words)
            case "raw":
                self.ask_us("811", words[0], words[1], words[2])
            case "installed":
                keyring.on_installed(words[0], True, "", now)
            case "failed":
                keyring.on_installed(words[0], False, " ".join(words[1:]), now)
            case "durable":
                self.durable = len(self.recorded)
                for position in self.awaited:
                    keyring.on_recorded(position, now)
                self.awaited.clear()
                for _, done in self.allowing:
                    done("")
                self.allowing.clear()
            case "allow":
                order = Allow(words[0], words[1])  # type: ignore[arg-type]
                keyring.on_allow(order, "restored", lambda why: self.said.append(f"allowed {why}".strip()), now)
            case "9814":
                function_code, number, code, link = words
                response = NetworkResponse(
                    mti="9814", transmission_time="0304050607", function_code=function_code,
                    message_id=f"{int(number):06d}", action_code=code,
                )  # fmt: skip
                assert keyring.takes(response)
                keyring.on_response(response, self.link(link), now)
            case "timer":
                assert keyring.next_timer() <= now.mono_s
                keyring.handle_timer(now)
            case "early":
                assert keyring.next_timer() > now.mono_s
                keyring.handle_timer(now)
            case "ask":
                if why := keyring.ask(Use(words[0]), now):
                    self.said.append(why)
            case "restart":
                self.restart()
            case "links":
                self.linked = words[0] == "on"
            case _:
                raise AssertionError(what)

    def hear(self, function_code: str, words: tuple[str, ...]) -> None:
        """A 9804 of the hub."""
        use = {"hub": "1", "own": "2"}[words[0]]
        letter = words[1] if function_code != "885" else ""
        wrapped = (letter.encode() * 24).hex().upper() if function_code == "811" else ""
        check = letter * 6
        self.ask_us(function_code, use + wrapped + check, words[-2], words[-1])

    def ask_us(self, function_code: str, data: str, link: str, number: str) -> None:
        """The same, as it is on the wire."""
        message = NetworkRequest(
            mti="9804",
            transmission_time="0102030405",
            message_id=f"{500000 + int(number[1:])}",
            function_code=function_code,
            key_data=data,
        )
        assert self.keyring.takes(message)
        self.keyring.on_request(message, self.link(link), self.now)

    def link(self, word: str) -> Link:
        """Link 1 is `@1`."""
        return self.links.setdefault(int(word[1:]), Link(int(word[1:])))

    def restart(self) -> None:
        """Another process, with what was durable."""
        self.recorded = self.recorded[: self.durable]
        self.awaited.clear()
        self.keyring = Keyring(self.pair, self, unpack(self.recorded[-1]))
        self.keyring.begin(self.now)

    def _invariants(self) -> None:
        held = {key.label for key in self.held}
        assert {self.keyring.own, *self.keyring.verifiers()} <= held
        assert self.recorded[-1] == msgspec.msgpack.encode(self.ring())
        assert b"A" * 24 not in repr((self.ring(), self.held, self.keyring.statistics())).encode()

    def ring(self) -> Ring:
        """What the journal says last."""
        return unpack(self.recorded[-1])

    def labels(self) -> tuple[str, tuple[str, ...]]:
        """To sign with, and to verify by."""
        return self.keyring.own, self.keyring.verifiers()


ACCEPTED = """
    0    811 hub A @1 #1              -> install fps-hub.aaaaaa
    0.1  installed fps-hub.aaaaaa     -> (changed fps-hub.aaaaaa), record
    0.2  durable                      -> 9814 811 #1 0000 @1, 9804 886 1 1AAAAAA @1
"""
OWN_ACCEPTED = ACCEPTED.replace("hub", "own").replace("1AAAAAA", "2AAAAAA")
IN_FORCE = ACCEPTED + "    1    9814 886 1 0000 @1           -> (in force fps-hub.aaaaaa hub), record\n"


def test_the_hubs_key_changes() -> None:
    """It is tried from the moment that the tokens have it, and the one before until the overlap is over."""
    player = Player()
    assert player.labels() == ("fps-own", ("fps-hub",))
    player.play(ACCEPTED)
    assert player.labels() == ("fps-own", ("fps-hub", "fps-hub.aaaaaa"))
    player.play("1    9814 886 1 0000 @1           -> (in force fps-hub.aaaaaa hub), record")
    assert player.labels() == ("fps-own", ("fps-hub.aaaaaa", "fps-hub"))
    player.play("""
        60.9   early                  ->
        61     timer                  -> (overlap over fps-hub), record
    """)
    assert player.labels() == ("fps-own", ("fps-hub.aaaaaa",))
    assert [key.label for key in player.held] == ["fps-hub.aaaaaa", "fps-own"]


def test_our_own_key_changes() -> None:
    """We sign with it when the hub's response is durable; tokens keep the one before for what is under way."""
    player = Player().play(OWN_ACCEPTED)
    assert player.labels() == ("fps-own", ("fps-hub",))
    player.play("1    9814 886 1 0000 @1           -> (in force fps-own.aaaaaa own), record")
    assert player.labels() == ("fps-own", ("fps-hub",))
    player.play("1.1  durable ->")
    assert player.labels() == ("fps-own.aaaaaa", ("fps-hub",))
    assert {key.label for key in player.held} == {"fps-hub", "fps-own", "fps-own.aaaaaa"}
    player.play("61   timer -> (overlap over fps-own), record")
    assert {key.label for key in player.held} == {"fps-hub", "fps-own.aaaaaa"}


def test_both_keys_change_at_once() -> None:
    """The two know nothing of each other."""
    Player().play("""
        0    811 hub A @1 #1              -> install fps-hub.aaaaaa
        0    811 own B @2 #1              -> install fps-own.bbbbbb
        0.1  installed fps-own.bbbbbb     -> (changed fps-own.bbbbbb), record
        0.1  installed fps-hub.aaaaaa     -> (changed fps-hub.aaaaaa), record
        0.2  durable                      -> 9814 811 #1 0000 @2, 9804 886 1 2BBBBBB @2, 9814 811 #1 0000 @1,
                                      9804 886 2 1AAAAAA @1
        1    9814 886 2 0000 @1           -> (in force fps-hub.aaaaaa hub), record
        1    9814 886 1 0000 @2           -> (in force fps-own.bbbbbb own), record
    """)


def test_a_key_changes_once_more() -> None:
    """The label comes from the base again, not from the key before."""
    player = (
        Player()
        .play(IN_FORCE)
        .play("""
        2    811 hub B @1 #2              -> install fps-hub.bbbbbb
        2    installed fps-hub.bbbbbb     -> (changed fps-hub.bbbbbb), record
        2    durable                      -> 9814 811 #2 0000 @1, 9804 886 2 1BBBBBB @1
        3    9814 886 2 0000 @1           -> (in force fps-hub.bbbbbb hub), record
    """)
    )
    assert player.labels()[1] == ("fps-hub.bbbbbb", "fps-hub.aaaaaa", "fps-hub")
    player.play("61   timer -> (overlap over fps-hub), record\n 63 timer -> (overlap over fps-hub.aaaaaa), record")
    assert player.labels()[1] == ("fps-hub.bbbbbb",)


TWICE = (
    IN_FORCE
    + """
    2    811 hub B @1 #2              -> install fps-hub.bbbbbb
    2    installed fps-hub.bbbbbb     -> (changed fps-hub.bbbbbb), record
    2    durable                      -> 9814 811 #2 0000 @1, 9804 886 2 1BBBBBB @1
    3    9814 886 2 0000 @1           -> (in force fps-hub.bbbbbb hub), record
"""
)
ON_TRIAL_TWICE = (
    ACCEPTED
    + """
    2    811 hub B @1 #2              -> install fps-hub.bbbbbb
    2    installed fps-hub.bbbbbb     -> (replaced fps-hub.aaaaaa), (changed fps-hub.bbbbbb), record
    2    durable                      -> 9814 811 #2 0000 @1, 9804 886 2 1BBBBBB @1
"""
)
SUPERSEDED = {"in use before": TWICE, "on trial before": ON_TRIAL_TWICE}


@pytest.mark.parametrize("before", SUPERSEDED)
@pytest.mark.parametrize("later", [["restart"], ["timer"], ["timer", "durable", "restart"], []])
def test_a_superseded_key_does_not_come_back_by_a_message(before: str, later: list[str]) -> None:
    """An 811 that was captured is authentic for ever: refused within its overlap, after it, after a restart."""
    player = Player().play(SUPERSEDED[before])
    player._happen("durable")
    for what in later:
        player.now = Now(player.now.mono_s + 65.0, player.now.wall_ns + 65 * 10**9)
        player._happen(what)
    player.said.clear()
    labels, ring = player.labels(), player.ring()
    player.hear("811", ("hub", "A", "@1", "#3"))
    assert player.said == ["(superseded again fps-hub.aaaaaa hub)", "9814 811 #3 1909 @1"]
    assert (player.labels(), player.ring()) == (labels, ring)


@pytest.mark.parametrize("in_force", ["verified", "changed"])
def test_no_superseded_key_of_ours_comes_back(in_force: str) -> None:
    """Not even where a key is in force once it is accepted, when one message would make the hub deaf to us."""
    player = Player(in_force=in_force)
    for number, letter in enumerate("ABC", 1):
        player.hear("811", ("own", letter, "@1", f"#{number}"))
        player._happen("installed", f"fps-own.{letter.lower() * 6}")
        player._happen("durable")
        player._happen("9814", "886", str(number), "0000", "@1")
        player._happen("durable")
    assert player.keyring.own == "fps-own.cccccc"
    for number, letter in enumerate("AB", 4):
        player.said.clear()
        player.hear("811", ("own", letter, "@1", f"#{number}"))
        label = f"fps-own.{letter.lower() * 6}"
        assert player.said == [f"(superseded again {label} own)", f"9814 811 #{number} 1909 @1"]
    assert player.keyring.own == "fps-own.cccccc"


def test_the_key_of_the_ceremony_does_not_come_back_either() -> None:
    """It never came by a message; it is known by the check value that the tokens compute."""
    player = Player().play(IN_FORCE)
    player.ask_us("811", "1" + "00" * 24 + "00FF00", "@1", "#2")
    assert player.said == ["(superseded again fps-hub.00ff00 hub)", "9814 811 #2 1909 @1"]


def test_what_an_earlier_version_recorded_as_superseded_stays_away() -> None:
    """It recorded what is still accepted, and nothing of what is retired."""
    player = Player().play(TWICE)
    ring = player.ring()
    ring = replace(ring, hub=replace(ring.hub, retired=()), own=replace(ring.own, retired=()))
    (old,) = [old.key for old in ring.hub.superseded if old.key.check]
    player.keyring = Keyring(player.pair, player, ring)
    player.keyring.begin(player.now)
    player.said.clear()
    player.ask_us("811", "1" + old.wrapped.hex().upper() + old.check, "@1", "#2")
    assert player.said == [f"(superseded again {old.label} hub)", "9814 811 #2 1909 @1"]


def test_an_operator_brings_a_superseded_key_back() -> None:
    """By naming it in the configuration: it is in use from the next start; what superseded it is superseded."""
    player = Player().play(TWICE)
    pair = msgspec.structs.replace(player.pair, mac=config.Mac(hub_key="fps-hub.aaaaaa"))
    keyring = Keyring(pair, player, player.ring())
    keyring.begin(player.now)
    assert keyring.verifiers() == ("fps-hub.aaaaaa",)
    assert "BBBBBB" in player.ring().hub.retired


def test_so_many_superseded_keys_are_known() -> None:
    """Years of weekly key changes; all in the one record that the ring is, which the smallest segment holds."""
    player = Player(in_force="changed")
    checks = [f"{number:06X}" for number in range(1, RETIRED_MAX + 3)]
    for check in checks:
        player.ask_us("811", "2" + check * 8 + check, "@1", "#1")
        player._happen("installed", f"fps-own.{check.lower()}")
        player._happen("durable")
        player.said.clear()
    assert player.ring().own.retired == tuple(checks[1:-1])
    assert len(player.ring().own.forms) == RETIRED_MAX
    assert 2 * len(player.recorded[-1]) < 32768, "of both uses"


def test_an_operator_allows_a_superseded_key_once() -> None:
    """A hub that was restored from a backup has no other. The order is a record, and lasts until the key comes."""
    player = Player(in_force="changed").play("""
        0    811 own A @1 #1               -> install fps-own.aaaaaa
        1    installed fps-own.aaaaaa      -> (changed fps-own.aaaaaa), (in force fps-own.aaaaaa own), record
        2    durable                       -> 9814 811 #1 0000 @1, 9804 886 1 2AAAAAA @1
        3    811 own B @1 #2               -> install fps-own.bbbbbb
        4    installed fps-own.bbbbbb      -> (changed fps-own.bbbbbb), (in force fps-own.bbbbbb own), record
        5    durable                       -> 9814 811 #2 0000 @1, 9804 886 2 2BBBBBB @1
        6    811 own A @1 #3               -> (superseded again fps-own.aaaaaa own), 9814 811 #3 1909 @1
        7    allow own aaaaaa              -> record own AAAAAA: restored, (allowed fps-own.aaaaaa own), record
        8    durable                       -> allowed
        9    restart                       -> record
    """)
    assert player.ring().own.allowed == ("AAAAAA",)
    player.play("""
        10   811 own A @1 #4               -> install fps-own.aaaaaa
        11   installed fps-own.aaaaaa      -> (changed fps-own.aaaaaa), (in force fps-own.aaaaaa own), record
        12   durable                       -> 9814 811 #4 0000 @1, 9804 886 3 2AAAAAA @1
        13   811 own A @1 #5               -> 9814 811 #5 0000 @1
        14   811 own B @1 #6               -> (superseded again fps-own.bbbbbb own), 9814 811 #6 1909 @1
        15   811 own C @1 #7               -> install fps-own.cccccc
        16   installed fps-own.cccccc      -> (changed fps-own.cccccc), (in force fps-own.cccccc own), record
        17   durable                       -> 9814 811 #7 0000 @1, 9804 886 4 2CCCCCC @1
        18   811 own A @1 #8               -> (superseded again fps-own.aaaaaa own), 9814 811 #8 1909 @1
    """)
    assert player.ring().own.allowed == ()


def test_what_an_operator_cannot_allow() -> None:
    """A key that was never superseded, or never for this use; and not many at once."""
    player = Player().play(TWICE)
    player.said.clear()
    for use, check in (("hub", "CCCCCC"), ("own", "AAAAAA")):
        player._happen("allow", use, check)
    assert player.said == ["allowed no key with this check value was superseded"] * 2
    hub = Slot("fps-hub", Install("fps-hub"), retired=tuple(f"{number:04X}" for number in range(ALLOWED_MAX + 1)))
    player.keyring = Keyring(player.pair, player, Ring(hub, player.ring().own))
    for number in range(ALLOWED_MAX):
        player._happen("allow", "hub", f"{number:04X}")
    player.said.clear()
    player._happen("allow", "hub", f"{ALLOWED_MAX:04X}")
    assert player.said == ["allowed 8 keys are allowed to come back already"]
    player.said.clear()
    player._happen("allow", "hub", "0000")
    assert player.said[0] == "record hub 0000: restored", "the same again takes no other place"


@given(st.binary(min_size=1, max_size=48), st.text("0123456789ABCDEF", min_size=4, max_size=16), st.integers(4, 16))
def test_a_superseded_key_is_known_by_its_check_value_or_by_its_form(wrapped: bytes, check: str, digits: int) -> None:
    """However many digits of it are shown, whatever the check value is made of later, and under any label."""
    key = Install("fps-own.x", wrapped, check)
    slot = retire(Slot("fps-own", Install("fps-own")), key)
    assert was_superseded(slot, replace(key, wrapped=b"another", check=check[:digits]))
    assert was_superseded(slot, replace(key, wrapped=b"another", check=check + "0" * (digits - 4)))
    assert was_superseded(slot, replace(key, label="fps-own.y", check="no hex"))
    assert not was_superseded(slot, Install("fps-own.x", wrapped + b"?", "no hex"))
    assert wrapped.hex() not in repr(slot.forms) or len(wrapped) < 8


def test_a_key_that_is_known_by_its_form_only_can_be_allowed() -> None:
    """By the check value that the line about its refusal shows."""
    player = Player().play(TWICE)
    (old,) = [old.key for old in player.ring().hub.superseded if old.key.check]
    player.said.clear()
    player.ask_us("811", "1" + old.wrapped.hex() + "123456", "@1", "#2")
    assert player.said == ["(superseded again fps-hub.123456 hub)", "9814 811 #2 1909 @1"]
    player._happen("allow", "hub", "123456")
    assert "allowed no" not in " ".join(player.said)
    player.said.clear()
    player.ask_us("811", "1" + old.wrapped.hex() + "123456", "@1", "#3")
    assert player.said == ["install fps-hub.123456"]


@pytest.mark.parametrize("use", ["hub", "own"])
def test_a_key_of_one_use_that_was_superseded_is_none_of_the_other(use: str) -> None:
    """A hub that offers us the key by which it once signed itself would have its own messages come back as ours."""
    book = TWICE if use == "own" else TWICE.replace("hub", "own").replace("1AAAAAA", "2AAAAAA").replace("1BBB", "2BBB")
    player = Player().play(book)
    player.said.clear()
    player.hear("811", (use, "A", "@1", "#9"))
    assert player.said == [f"(superseded again fps-{use}.aaaaaa {use})", "9814 811 #9 1909 @1"]


@pytest.mark.parametrize("why", ["wrong check value: ABCDEF", "no token serves", "1 of 2 tokens cannot unwrap it"])
def test_a_key_that_the_tokens_do_not_take_changes_nothing(why: str) -> None:
    """A wrong check value, a token that fails: the hub is told that we cannot."""
    player = Player()
    player.play(f"""
        0    811 hub A @1 #1                  -> install fps-hub.aaaaaa
        0.1  failed fps-hub.aaaaaa {why}      -> (refused fps-hub.aaaaaa {why}), 9814 811 #1 1909 @1
        0.2  811 hub A @1 #2                  -> install fps-hub.aaaaaa
    """)
    assert player.labels() == ("fps-own", ("fps-hub",))
    assert [key.label for key in player.held] == ["fps-hub", "fps-own"]


@pytest.mark.parametrize(
    "data",
    [
        "3" + "41" * 24 + "AAAAAA",  # no such use
        "1" + "4" * 47 + "AAAAAA",  # half a byte
        "1" + "4G" * 24 + "AAAAAA",
        "1" + "41" * 24 + "AAAAA ",
        "1AAAAAA",
        "1",
        "",
        " " * 60,
    ],
)
def test_key_data_that_does_not_fit_its_layout_is_refused(data: str) -> None:
    """And nothing of it is said."""
    player = Player()
    player.ask_us("811", data, "@1", "#1")
    assert player.said == ["(malformed)", "9814 811 #1 1909 @1"]


def test_the_layout_is_configuration() -> None:
    """Other parts in another order; what names no use is about our own key."""
    player = Player(
        layout=("check:4", "wrapped:48"), change_carries=("wrapped", "check"), verify_carries=("check",),
        request_carries=(),
    )  # fmt: skip
    player.ask_us("811", "aBcD" + "41" * 24, "@1", "#1")
    player.play("0 links on -> install fps-own.abcd")
    player.play("""
        0    installed fps-own.abcd       -> (changed fps-own.abcd), record
        0    durable                      -> 9814 811 #1 0000 @1, 9804 886 1 ABCD @1
    """)


def test_the_same_change_again_at_any_moment() -> None:
    """By any link, before and after the tokens have it, before and after it is durable, in force and later: 0000."""
    Player().play("""
        0    811 hub A @1 #1              -> install fps-hub.aaaaaa
        0    811 hub A @2 #2              ->
        0.1  installed fps-hub.aaaaaa     -> (changed fps-hub.aaaaaa), record
        0.1  811 hub A @1 #3              ->
        0.2  durable                      -> 9814 811 #1 0000 @1, 9814 811 #2 0000 @2, 9814 811 #3 0000 @1,
                                      9804 886 1 1AAAAAA @1
        0.3  811 hub A @2 #4              -> 9814 811 #4 0000 @2
        1    9814 886 1 0000 @1           -> (in force fps-hub.aaaaaa hub), record
        2    811 hub A @2 #5              -> 9814 811 #5 0000 @2, 9804 886 2 1AAAAAA @2
        3    9814 886 2 0000 @2           ->
        90   timer                        -> (overlap over fps-hub), record
        91   811 hub A @2 #6              -> 9814 811 #6 0000 @2, 9804 886 3 1AAAAAA @2
    """)


def test_too_many_repeats_are_refused() -> None:
    """Requests that wait have a limit."""
    player = Player()
    for number in range(WAITING_MAX + 1):
        player.hear("811", ("hub", "A", "@1", f"#{number + 1}"))
    assert player.said == ["install fps-hub.aaaaaa", f"9814 811 #{WAITING_MAX + 1} 1909 @1"]


def test_another_key_while_the_tokens_have_the_first() -> None:
    """The first is not wanted any more: its sender hears so at once, and what the tokens say of it changes nothing."""
    player = Player().play("""
        0    811 hub A @1 #1              -> install fps-hub.aaaaaa
        0    811 hub B @2 #2              -> (refused fps-hub.aaaaaa another key came), 9814 811 #1 1909 @1,
                                      install fps-hub.bbbbbb
        0.1  installed fps-hub.aaaaaa     ->
        0.2  installed fps-hub.bbbbbb     -> (changed fps-hub.bbbbbb), record
        0.2  durable                      -> 9814 811 #2 0000 @2, 9804 886 1 1BBBBBB @2
    """)
    assert "fps-hub.aaaaaa" not in {key.label for key in player.held}


def test_another_key_while_one_is_on_trial() -> None:
    """It takes the first one's place; the hub may sign with that until it has the second, and the overlap after."""
    player = (
        Player()
        .play(ACCEPTED)
        .play("""
        0.3  811 hub B @2 #2              -> install fps-hub.bbbbbb
        0.4  installed fps-hub.bbbbbb     -> (replaced fps-hub.aaaaaa), (changed fps-hub.bbbbbb), record
        0.5  durable                      -> 9814 811 #2 0000 @2, 9804 886 2 1BBBBBB @2
        0.6  9814 886 1 0000 @1           -> (unplaced 886)
        0.7  restart                      -> record
        5    9814 886 2 0000 @2           -> (unplaced 886)
        99   timer                        -> 9804 886 3 1BBBBBB
        100  9814 886 3 0000 @2           -> (in force fps-hub.bbbbbb hub), record
    """)
    )
    assert player.labels()[1] == ("fps-hub.bbbbbb", "fps-hub", "fps-hub.aaaaaa")
    player.play("160 timer -> (overlap over fps-hub.aaaaaa), (overlap over fps-hub), record")


def test_another_key_before_the_first_is_durable() -> None:
    """The first one's sender hears that we had it; only the second is verified."""
    Player().play("""
        0    811 hub A @1 #1              -> install fps-hub.aaaaaa
        0.1  installed fps-hub.aaaaaa     -> (changed fps-hub.aaaaaa), record
        0.1  811 hub B @2 #2              -> install fps-hub.bbbbbb
        0.1  installed fps-hub.bbbbbb     -> (replaced fps-hub.aaaaaa), (changed fps-hub.bbbbbb), record
        0.5  durable                      -> 9814 811 #1 0000 @1, 9814 811 #2 0000 @2, 9804 886 1 1BBBBBB @2
    """)


RESTARTS = {
    "before the tokens have it": (
        "0    811 hub A @1 #1              -> install fps-hub.aaaaaa",
        "-> record", "811 hub A @2 #2 -> install fps-hub.aaaaaa",
    ),
    "before it is durable": (
        """0    811 hub A @1 #1              -> install fps-hub.aaaaaa
           0.1  installed fps-hub.aaaaaa     -> (changed fps-hub.aaaaaa), record""",
        "-> record", "811 hub A @2 #2 -> install fps-hub.aaaaaa",
    ),
    "while it is verified": (
        ACCEPTED,
        "-> record", "timer -> 9804 886 2 1AAAAAA",
    ),
    "when it is in force": (
        IN_FORCE + "1 durable ->",
        "-> record", "811 hub A @2 #2 -> 9814 811 #2 0000 @2, 9804 886 2 1AAAAAA @2",
    ),
    "when it is in force and that is not durable": (
        IN_FORCE,
        "-> record", "timer -> 9804 886 2 1AAAAAA",
    ),
}  # fmt: skip


@pytest.mark.parametrize("moment", RESTARTS)
def test_a_restart_at_any_point(moment: str) -> None:
    """What was not durable the hub sends again; what was accepted is verified until it is in force."""
    before, at, after = RESTARTS[moment]
    player = Player().play(before).play(f"2 restart {at}\n2 {after}")
    if "install" in after:
        player.play("""
            2    installed fps-hub.aaaaaa     -> (changed fps-hub.aaaaaa), record
            2    durable                      -> 9814 811 #2 0000 @2, 9804 886 1 1AAAAAA @2
            3    9814 886 1 0000 @1           -> (in force fps-hub.aaaaaa hub), record
        """)
    elif "timer" in after:
        assert player.labels()[1] == ("fps-hub", "fps-hub.aaaaaa")
        player.play("3    9814 886 2 0000 @2           -> (in force fps-hub.aaaaaa hub), record")
    assert player.labels()[1] == ("fps-hub.aaaaaa", "fps-hub")
    assert player.held[0] == Install("fps-hub.aaaaaa", b"A" * 24, "AAAAAA")


@pytest.mark.parametrize("wall_s", [0, -1e6, 1e6])
def test_the_overlap_begins_anew_with_a_restart(wall_s: float) -> None:
    """Whatever the wall clock says: the hub may still sign with the key before."""
    player = Player().play(IN_FORCE + "1 durable ->")
    player.now = Now(10.0, WALL_NS + round((22 + wall_s) * 1e9))
    player.restart()
    assert player.keyring.next_timer() == 10 + player.pair.keys.overlap_s
    assert player.labels()[1] == ("fps-hub.aaaaaa", "fps-hub")
    player.keyring.handle_timer(Now(10.0 + player.pair.keys.overlap_s, player.now.wall_ns))
    assert player.labels()[1] == ("fps-hub.aaaaaa",)


GIVEN_UP = (
    OWN_ACCEPTED
    + """
    1     9814 886 1 1909 @1          -> (verification refused fps-own.aaaaaa 1909)
    5.1   early                       ->
    5.2   timer                       -> 9804 886 2 2AAAAAA by fps-own.aaaaaa
    10.2  timer                       -> (verification unanswered fps-own.aaaaaa), 9804 886 3 2AAAAAA
    15.2  timer                       -> (verification unanswered fps-own.aaaaaa),
                                      (given up fps-own.aaaaaa own), record
"""
)


def test_a_verification_is_repeated_a_bounded_number_of_times() -> None:
    """Refused or unanswered; then the key before stays in force, and an error line says so."""
    player = Player(verify_max=3).play(GIVEN_UP)
    assert player.labels()[0] == "fps-own"
    assert "fps-own.aaaaaa" in {key.label for key in player.held}
    player = Player(verify_max=1).play(ACCEPTED)
    player.play("5.2 timer -> (verification unanswered fps-hub.aaaaaa), (given up fps-hub.aaaaaa hub), record")
    assert player.keyring.next_timer() > player.now.mono_s + 80000
    player.play("20    durable -> \n 20   restart -> record\n 25 early ->")


def test_a_key_of_ours_that_was_given_up_can_still_be_revived() -> None:
    """The hub may have put it in force, and takes nothing else: slowly, by one key and the other, without an end."""
    player = Player(verify_max=3).play(GIVEN_UP)
    player.play("""
        75.1  early                       ->
        75.2  timer                       -> 9804 886 4 2AAAAAA by fps-own.aaaaaa
        135.2 timer                       -> (verification unanswered fps-own.aaaaaa), 9804 886 5 2AAAAAA
        195.2 timer                       -> (verification unanswered fps-own.aaaaaa),
                                      9804 886 6 2AAAAAA by fps-own.aaaaaa
        196   9814 886 6 0000 @1          -> (in force fps-own.aaaaaa own), record
        196   durable                     ->
        200   early                       ->
    """)
    assert player.labels()[0] == "fps-own.aaaaaa"
    at_s = 300.0
    player = Player(verify_max=3).play(GIVEN_UP)
    for _ in range(3 * SENT_MAX):
        at_s += REVIVE_EVERY_S
        player.now = Now(at_s, WALL_NS)
        player.keyring.handle_timer(player.now)
    assert len(player.keyring._proving.under_way[Use.OWN, "fps-own.aaaaaa"].sent) == SENT_MAX


def test_what_was_given_up_is_tried_by_both_keys_after_a_restart() -> None:
    """At once, when there is a link; then slowly."""
    Player(verify_max=3).play(GIVEN_UP).play("""
        20    durable                     ->
        20    restart                     -> record
        20    links off                   ->
        20    timer                       ->
        25    links on                    ->
        25    timer                       -> 9804 886 4 2AAAAAA by fps-own.aaaaaa
        30    timer                       -> (verification unanswered fps-own.aaaaaa), 9804 886 5 2AAAAAA
        89    early                       ->
        90    timer                       -> (verification unanswered fps-own.aaaaaa),
                                      9804 886 6 2AAAAAA by fps-own.aaaaaa
    """)


def test_every_other_verification_of_our_own_key_is_signed_by_it() -> None:
    """Also after a restart. The hub's 0000 was lost, and its overlap is over: it understands nothing else."""
    player = (
        Player()
        .play(OWN_ACCEPTED)
        .play("""
        0.3   restart                     -> record
        1     timer                       -> 9804 886 2 2AAAAAA
        6     timer                       -> (verification unanswered fps-own.aaaaaa),
                                      9804 886 3 2AAAAAA by fps-own.aaaaaa
        7     9814 886 3 0000 @1          -> (in force fps-own.aaaaaa own), record
        7     durable                     ->
    """)
    )
    assert player.labels()[0] == "fps-own.aaaaaa"


def test_a_crash_before_a_key_of_ours_is_durably_in_force_finds_us_signing_as_before() -> None:
    """Nothing was signed with it but its own verification; that finds out where the hub is."""
    player = (
        Player()
        .play(OWN_ACCEPTED)
        .play("""
        1     9814 886 1 0000 @1          -> (in force fps-own.aaaaaa own), record
    """)
    )
    assert player.labels()[0] == "fps-own"
    player.play("1.1 restart -> record\n1.2 timer -> 9804 886 2 2AAAAAA")
    assert player.labels()[0] == "fps-own"


def test_what_we_sign_with_is_held_until_the_next_key_is_durable() -> None:
    """Even by a disk that takes longer than the overlap."""
    player = (
        Player()
        .play(OWN_ACCEPTED)
        .play("""
        1     9814 886 1 0000 @1          -> (in force fps-own.aaaaaa own), record
        61    timer                       -> (overlap over fps-own), record
    """)
    )
    assert player.labels()[0] == "fps-own"
    assert "fps-own" in {key.label for key in player.held}
    player.play("62   durable ->")
    assert player.labels()[0] == "fps-own.aaaaaa"
    assert "fps-own" not in {key.label for key in player.held}


def test_a_late_repeat_of_the_key_in_use_leaves_the_one_on_trial_alone() -> None:
    """It is answered, and the verification of the other key goes on."""
    player = (
        Player(verify_max=2)
        .play(IN_FORCE)
        .play("""
        2     811 hub B @1 #2              -> install fps-hub.bbbbbb
        2     installed fps-hub.bbbbbb     -> (changed fps-hub.bbbbbb), record
        2     durable                      -> 9814 811 #2 0000 @1, 9804 886 2 1BBBBBB @1
        3     811 hub A @2 #1              -> 9814 811 #1 0000 @2
        7     timer                        -> (verification unanswered fps-hub.bbbbbb), 9804 886 3 1BBBBBB
        8     811 hub A @2 #1              -> 9814 811 #1 0000 @2
    """)
    )
    player.play("9     9814 886 2 0000 @1          -> (in force fps-hub.bbbbbb hub), record")
    assert player.labels()[1][0] == "fps-hub.bbbbbb"


def test_a_hub_that_goes_back_to_the_key_in_use_hears_it_verified() -> None:
    """Once the one on trial is given up; that one is not forgotten for it."""
    player = Player(verify_max=1).play(IN_FORCE.replace("hub A", "own A").replace("fps-hub", "fps-own").replace(
        "1AAAAAA", "2AAAAAA").replace("a hub)", "a own)")).play("""
        1     durable                      ->
        2     811 own B @1 #2              -> install fps-own.bbbbbb
        2     installed fps-own.bbbbbb     -> (changed fps-own.bbbbbb), record
        2     durable                      -> 9814 811 #2 0000 @1, 9804 886 2 2BBBBBB @1
        3     9814 886 2 1909 @1           -> (verification refused fps-own.bbbbbb 1909)
        4     811 own A @1 #3              -> 9814 811 #3 0000 @1
        7     timer                        -> (given up fps-own.bbbbbb own), record
        8     811 own A @1 #4              -> 9814 811 #4 0000 @1, 9804 886 3 2AAAAAA @1
        9     9814 886 3 0000 @1           ->
        10    early                        ->
        61    timer                        -> (overlap over fps-own), record
        67    timer                        -> 9804 886 4 2BBBBBB by fps-own.bbbbbb
    """)  # fmt: skip
    assert player.labels()[0] == "fps-own.aaaaaa"


REWRAPPED = "1" + "5A" * 24 + "AAAAAA"
"""Key A of the hub under another transport key."""


def test_the_key_in_use_comes_under_another_transport_key() -> None:
    """The tokens prove it, the newer wrapping is remembered, and nothing else changes."""
    player = Player().play(IN_FORCE)
    labels = player.labels()
    player.ask_us("811", REWRAPPED, "@1", "#2")
    player.play("""
        2     links on                     -> install fps-hub.aaaaaa
        2     installed fps-hub.aaaaaa     -> (rewrapped fps-hub.aaaaaa), record
        2     durable                      -> 9814 811 #2 0000 @1, 9804 886 2 1AAAAAA @1
        3     9814 886 2 0000 @1           ->
    """)
    assert player.labels() == labels
    assert player.ring().hub.in_use.wrapped == b"Z" * 24
    assert [key.wrapped for key in player.held if key.label == "fps-hub.aaaaaa"] == [b"Z" * 24]


def test_another_wrapping_that_the_tokens_do_not_take_changes_nothing() -> None:
    """The key goes on under the one before."""
    player = Player().play(IN_FORCE)
    player.ask_us("811", REWRAPPED, "@1", "#2")
    player.play("""
        2     links on                     -> install fps-hub.aaaaaa
        2     failed fps-hub.aaaaaa no     -> (refused fps-hub.aaaaaa no), 9814 811 #2 1909 @1
    """)
    assert player.ring().hub.in_use.wrapped == b"A" * 24
    assert [key.wrapped for key in player.held if key.label == "fps-hub.aaaaaa"] == [b"A" * 24]


def test_the_key_on_trial_comes_under_another_transport_key() -> None:
    """It is still on trial, and verified anew; it is in nobody's place."""
    player = Player().play(ACCEPTED)
    player.ask_us("811", REWRAPPED, "@1", "#2")
    player.play("""
        2     links on                     -> install fps-hub.aaaaaa
        2     installed fps-hub.aaaaaa     -> (changed fps-hub.aaaaaa), record
        2     durable                      -> 9814 811 #2 0000 @1, 9804 886 2 1AAAAAA @1
        3     9814 886 2 0000 @1           -> (in force fps-hub.aaaaaa hub), record
    """)
    assert player.ring().hub.in_use.wrapped == b"Z" * 24
    assert [old.key.label for old in player.ring().hub.superseded] == ["fps-hub"]


def test_what_was_given_up_begins_again_when_the_hub_says_so() -> None:
    """With its 811 again, or its own 886."""
    player = (
        Player(verify_max=3)
        .play(GIVEN_UP)
        .play("""
        20    811 own A @2 #7             -> 9814 811 #7 0000 @2, record, 9804 886 4 2AAAAAA @2
        21    9814 886 4 0000 @2          -> (in force fps-own.aaaaaa own), record
        21    durable                     ->
    """)
    )
    assert player.labels()[0] == "fps-own.aaaaaa"
    player = (
        Player(verify_max=3)
        .play(GIVEN_UP)
        .play("""
        20    886 own A @2 #7             -> (hub verified fps-own.aaaaaa), 9814 886 #7 0000 @2, record,
                                      9804 886 4 2AAAAAA @2
        21    9814 886 4 0000 @2          -> (in force fps-own.aaaaaa own), record
        21    durable                     ->
    """)
    )
    assert player.labels()[0] == "fps-own.aaaaaa"


def test_a_response_to_an_earlier_attempt_counts() -> None:
    """Also when it comes after we gave up: the hub has the key."""
    Player().play(ACCEPTED).play("""
        5.2   timer                       -> (verification unanswered fps-hub.aaaaaa), 9804 886 2 1AAAAAA
        6     9814 886 1 0000 @1          -> (in force fps-hub.aaaaaa hub), record
        7     9814 886 2 0000 @2          -> (unplaced 886)
    """)
    player = Player(verify_max=3).play(GIVEN_UP)
    player.play("20    9814 886 2 0000 @1          -> (in force fps-own.aaaaaa own), record")


def test_without_a_link_no_attempt_is_lost() -> None:
    """What could not be sent does not count."""
    Player(verify_max=2).play(ACCEPTED).play("""
        1     links off                   ->
        5.2   timer                       -> (verification unanswered fps-hub.aaaaaa)
        10.2  timer                       ->
        15.2  timer                       ->
        16    links on                    ->
        20.2  timer                       -> 9804 886 2 1AAAAAA
        25.2  timer                       -> (verification unanswered fps-hub.aaaaaa),
                                      (given up fps-hub.aaaaaa hub), record
    """)


def test_in_force_when_changed() -> None:
    """As configured: from our answer on, which itself still bears a MAC by the key before. No crash comes between."""
    player = Player(in_force="changed")
    signed: list[str] = []
    transmit = player.transmit
    player.transmit = lambda link, message: (signed.append(player.keyring.own), transmit(link, message))[1]  # type: ignore[method-assign, func-returns-value]
    player.play("""
        0    811 own A @1 #1              -> install fps-own.aaaaaa
        0.1  installed fps-own.aaaaaa     -> (changed fps-own.aaaaaa), (in force fps-own.aaaaaa own), record
    """)
    assert player.labels()[0] == "fps-own"
    player.play("""
        0.2  durable                      -> 9814 811 #1 0000 @1, 9804 886 1 2AAAAAA @1
        0.3  restart                      -> record
        1    9814 886 1 0000 @1           -> (unplaced 886)
    """)
    assert signed == ["fps-own"]
    assert player.labels()[0] == "fps-own.aaaaaa"


def test_the_hub_verifies() -> None:
    """Its own 886: 0000 for the key on trial and the one in use, 1909 for any other."""
    player = Player()
    player.ask_us("886", "100FF00", "@1", "#1")
    player.ask_us("886", "2123456", "@1", "#2")
    assert player.said[1::2] == ["9814 886 #1 0000 @1", "9814 886 #2 0000 @1"]
    player.said.clear()
    player.play("""
        0    886 hub A @1 #3              -> (hub disagrees fps-hub hub), 9814 886 #3 1909 @1
    """).play(ACCEPTED).play("""
        0.5  886 hub A @1 #4              -> (hub verified fps-hub.aaaaaa), 9814 886 #4 0000 @1
        1    9814 886 1 0000 @1           -> (in force fps-hub.aaaaaa hub), record
        2    886 hub A @1 #5              -> (hub verified fps-hub.aaaaaa), 9814 886 #5 0000 @1
        3    886 own A @1 #6              -> (hub disagrees fps-own own), 9814 886 #6 1909 @1
    """)
    player.checks.clear()
    player.play("4    886 own 1 @1 #7             -> (hub disagrees fps-own own), 9814 886 #7 1909 @1")


def test_the_hub_cannot_ask_us_for_a_key() -> None:
    """Keys are the scheme's to give."""
    Player().play("0 885 own @1 #1 -> (hub asked), 9814 885 #1 1909 @1")


def test_an_operator_asks_for_a_key() -> None:
    """One question at a time; the hub's answer, and its silence, are said."""
    Player().play("""
        0    ask own                      -> 9804 885 1 2
        1    ask own                      -> it is asked for already
        1    9814 885 1 0000 @1           -> (asked fps-own 0000)
        2    811 own A @1 #1              -> install fps-own.aaaaaa
        2    ask own                      -> a key change is under way
        2    ask hub                      -> 9804 885 2 1
        3    9814 885 2 1909 @1           -> (asking refused fps-hub 1909)
        4    ask hub                      -> 9804 885 3 1
        9    timer                        -> (asking unanswered fps-hub)
        10   9814 885 3 0000 @1           -> (unplaced 885)
        11   links off                    ->
        11   ask hub                      -> no link stands
    """)


@pytest.mark.parametrize(
    ("sent", "number", "function_code"),
    [("0304050608", 1, "886"), ("", 1, "886"), ("0304050607", 2, "886"), ("0304050607", 1, "885")],
)
def test_a_response_names_its_request_by_de7_de11_and_de24(sent: str, number: int, function_code: str) -> None:
    """A 0000 from an earlier life of ours, whose ids were the same, puts no key in force."""
    player = Player().play(ACCEPTED)
    stale = NetworkResponse(
        mti="9814", transmission_time=sent, function_code=function_code, message_id=f"{number:06d}", action_code="0000"
    )
    player.keyring.on_response(stale, player.link("@1"), player.now)
    assert player.said == [f"(unplaced {function_code})"]
    assert player.labels()[1] == ("fps-hub", "fps-hub.aaaaaa")


def test_a_response_to_nothing_changes_nothing() -> None:
    """It is said."""
    Player().play("0 9814 886 77 0000 @1 -> (unplaced 886)\n0 9814 811 77 0000 @1 -> (unplaced 811)")


def test_the_ring_is_written_once_a_day() -> None:
    """So that it does not go with its segment."""
    Player().play("86399 early ->\n86400 timer -> record\n172799 early ->\n172800 timer -> record")


class Hub:
    """A hub that signs with a key from the moment that it accepted our verification of it, heard or not."""

    def __init__(self, player: Player) -> None:
        self.player = player
        self.signs = "fps-hub"
        self.sent = ""
        self.sends = 0
        self.lost: list[str] = []
        """Ids of attempts that it has not responded to."""

    def step(self, step: str, pause_s: float) -> None:
        """One thing happens, so long after the one before."""
        player = self.player
        player.now = Now(player.now.mono_s + pause_s, player.now.wall_ns + round(pause_s * 1e9))
        while (due_s := player.keyring.next_timer()) <= player.now.mono_s:
            player.keyring.handle_timer(Now(due_s, player.now.wall_ns))
        match step:
            case "new":
                self.sent = chr(ord("A") + self.sends % 6)
                self.sends += 1
                player.hear("811", ("hub", self.sent, "@1", f"#{self.sends}"))
            case "again" if self.sent:
                player.hear("811", ("hub", self.sent, "@2", f"#{self.sends}"))
            case "installed" | "failed":
                for said in [said for said in player.said if said.startswith("install ")]:
                    label = said.removeprefix("install ")
                    player.keyring.on_installed(label, step == "installed", "no", player.now)
                    player.said.remove(said)
            case "durable" | "restart":
                player._happen(step)
            case "accept" | "accept unheard" | "refuse":
                self._respond(step)
        player._invariants()

    def _respond(self, how: str) -> None:
        asked = [said.split() for said in self.player.said if said.startswith("9804 886 ")]
        self.player.said = [said for said in self.player.said if said.startswith("install ")]
        for _, _, number, data, *_ in asked:
            accepted = how != "refuse" and data == f"1{self.sent * 6}"
            if accepted:
                self.signs = f"fps-hub.{self.sent.lower() * 6}"
            if how != "accept unheard":
                self.player._happen("9814", "886", number, "0000" if accepted else "1909", "@1")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["new", "again", "installed", "installed", "failed", "durable", "durable", "restart", "accept",
                 "accept", "accept unheard", "refuse", "wait"]
            ),
            st.sampled_from([0.0, 0.0, 0.1, 1.0, 5.0, 61.0]),
        ),
        max_size=60,
    )
)  # fmt: skip
def test_what_the_hub_signs_with_we_can_verify(steps: list[tuple[str, float]]) -> None:
    """Whatever is lost, refused, repeated or forgotten by a crash, in whatever order."""
    player = Player(verify_max=3)
    hub = Hub(player)
    for step, pause_s in steps:
        hub.step(step, pause_s)
        assert hub.signs in player.keyring.verifiers()


class StrictHub:
    """A hub that puts our new key in force when it sees it verified, heard or not, and the overlap later takes only
    what that signs.
    """

    OVERLAP_S = 10.0

    def __init__(self, player: Player) -> None:
        self.player = player
        self.in_force = "fps-own"
        self.sent = ""
        self.sends = 0
        self.until_s: dict[str, float] = {}
        """Until when it takes a superseded key."""
        self.asked: list[tuple[str, str, str]] = []
        """Our verifications: message id, what signed it, the key that it verifies."""
        transmit = player.request

        def request(function_code: str, key_data: str, link: Any, sign_with: str = "") -> Sent | None:
            sent = transmit(function_code, key_data, link, sign_with)
            assert sent is not None
            label = f"fps-own.{key_data[1:].lower()}"
            self.asked.append((sent.message_id, sign_with or player.keyring.own, label))
            return sent

        player.request = request  # type: ignore[method-assign]

    def takes(self, label: str) -> bool:
        """Whether it takes what this key signs."""
        now_s = self.player.now.mono_s
        return label in {self.in_force, self.sent} or self.until_s.get(label, 0.0) > now_s

    def step(self, step: str, pause_s: float) -> None:
        """One thing happens, so long after the one before."""
        player = self.player
        until_s = player.now.mono_s + pause_s
        if step == "settle":
            self.install()
            player._happen("durable")
        while (due_s := player.keyring.next_timer()) <= until_s:
            player.now = Now(max(due_s, player.now.mono_s), player.now.wall_ns)
            player.keyring.handle_timer(player.now)
            if step == "settle":
                self.answer(heard=True)
                player._happen("durable")
        player.now = Now(until_s, player.now.wall_ns + round(pause_s * 1e9))
        match step:
            case "new" | "new at once" if self.sent in {"", self.in_force}:
                letter = chr(ord("A") + self.sends % 6)
                self.sends += 1
                self.sent = f"fps-own.{letter.lower() * 6}"
                player.hear("811", ("own", letter, "@1", f"#{self.sends}"))
                if step == "new at once":
                    self.install()
                    player._happen("durable")
            case "installed":
                self.install()
            case "durable" | "restart":
                player._happen(step)
            case "answer" | "answer unheard":
                self.answer(heard=step == "answer")
        player._invariants()

    def install(self) -> None:
        """The tokens have what they were asked to take."""
        said, self.player.said = self.player.said, []
        for label in [each.removeprefix("install ") for each in said if each.startswith("install ")]:
            self.player.keyring.on_installed(label, True, "", self.player.now)

    def answer(self, *, heard: bool) -> None:
        """Respond to what it can understand."""
        asked, self.asked = self.asked, []
        for message_id, signed_by, label in asked:
            if not self.takes(signed_by):
                continue
            right = label in {self.sent, self.in_force}
            if right and label != self.in_force:
                self.until_s[self.in_force] = self.player.now.mono_s + self.OVERLAP_S
                self.in_force = label
            if heard:
                self.player._happen("9814", "886", message_id, "0000" if right else "1909", "@1")


@pytest.mark.parametrize("in_force", ["verified", "changed"])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(
                ["new", "new at once", "new at once", "installed", "durable", "restart", "answer", "answer unheard",
                 "answer unheard", "wait"]
            ),
            st.sampled_from([0.0, 0.1, 5.0, 20.0, 200.0]),
        ),
        max_size=20,
    )
)  # fmt: skip
def test_in_the_end_the_hub_takes_what_we_sign(in_force: str, steps: list[tuple[str, float]]) -> None:
    """Whatever was lost, and however long we were away: without the hub's doing, by our verifications alone."""
    player = Player(verify_max=3, in_force=in_force)
    hub = StrictHub(player)
    for step, pause_s in steps:
        hub.step(step, pause_s)
        assert in_force == "changed" or player.keyring.own != hub.sent or hub.in_force == hub.sent
    hub.step("settle", 3 * REVIVE_EVERY_S)
    assert hub.takes(player.keyring.own)


def test_another_key_in_the_configuration_begins_anew() -> None:
    """A ceremony's new label prevails over what came in band for the old one."""
    player = Player().play(IN_FORCE)
    pair = msgspec.structs.replace(player.pair, mac=config.Mac(hub_key="fps-hub-2"))
    keyring = Keyring(pair, player, player.ring())
    assert (keyring.own, keyring.verifiers()) == ("fps-own", ("fps-hub-2",))


def test_what_is_the_keyrings() -> None:
    """9804 and 9814 about keys, and nothing else."""
    keyring = Player().keyring
    for message, taken in (
        (NetworkRequest(mti="9804", function_code="811"), True),
        (NetworkResponse(mti="9814", function_code="886"), True),
        (NetworkRequest(mti="9804", function_code="831"), False),
        (UsmAcknowledgement(mti="9834", function_code="811"), False),
    ):
        assert keyring.takes(message) is taken


def test_statistics_name_labels_only() -> None:
    """For `/statistics`."""
    statistics = Player().play(ACCEPTED).keyring.statistics()
    assert statistics["hub"] == {
        "in_use": "fps-hub", "on_trial": "fps-hub.aaaaaa", "given_up": False, "superseded": [], "installing": "",
    }  # fmt: skip
