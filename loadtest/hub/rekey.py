"""Keys that change in band (docs/protocol.md section 7), as the hub does it.

    hub → participant   9804/811   DE125: use, the key wrapped under the transport key, its check value
    participant → hub   9814/811   0000: it has the key; from now on the hub takes MACs by it
    participant → hub   9804/886   DE125: use, check value
    hub → participant   9814/886   0000: it is in force, and the hub signs with it when it is the hub's own

A participant may ask for a new key (885, DE125: use), and the hub may ask for a key's check value (886). The old key is
accepted from a participant for an overlap; what it still signs with it some seconds after the new one is in force is
counted (`switch.SIGNED_BEFORE`). What DE125 looks like is not public; this is the gateway's default layout.
Pure: new keys come from the caller.
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, get_args

from loadtest.hub.keys import MAC_BYTES, Mac
from loadtest.hub.parties import Link, Party
from loadtest.hub.switch import Switch
from loadtest.traffic import iso

Use = Literal["hub", "own"]
"""The party that signs with a key: the hub, or the participant."""
Spoilt = Literal["", "check", "wrapping"]
"""The intended fault of an announced key: the participant must refuse it."""
DIGIT: dict[Use, str] = {"hub": "1", "own": "2"}
USES: dict[str, Use] = {digit: use for use, digit in DIGIT.items()}
CHECK_DIGITS = 6
"""Three bytes, in hex."""
VERIFY_WITHIN_S = 60.0
"""Time that a participant may take from its 9814/811 to its 9804/886."""
REMEMBERED = 3
"""Superseded keys that are remembered at most, to recognise their use."""


class KeyBox(NamedTuple):
    """The hub's means to change one participant's keys."""

    mac_of: Callable[[bytes], Mac]
    """Makes MACs with this key. Raises ValueError when it does not fit the algorithm."""
    wrap: Callable[[bytes], bytes]
    """Wraps a key under the transport key."""
    in_use: Mapping[Use, bytes]
    """The keys at the start."""


class Change:
    """A key on its way to a participant."""

    __slots__ = ("check", "data", "everywhere", "mac", "open", "spoilt", "taken", "until_s", "use", "verified")

    def __init__(self, use: Use, mac: Mac, data: str, spoilt: Spoilt, *, everywhere: bool) -> None:
        self.use = use
        self.mac = mac
        self.check = check_value(mac)
        self.data = data
        """DE125 of the 9804/811."""
        self.spoilt = spoilt
        self.everywhere = everywhere
        """True: announced on every link, because several processes of the participant must learn of it."""
        self.open: dict[int, str] = {}
        """Link → DE11 of each 9804/811 without an answer."""
        self.taken = 0
        """Times that the participant answered it with 0000."""
        self.verified = False
        """True when the participant proved it on one link before it had taken it on all."""
        self.until_s = 0.0


class _Keys:
    """One participant's keys."""

    def __init__(self, box: KeyBox) -> None:
        self.box = box
        self.bytes = len(box.in_use["hub"])
        self.checks: dict[Use, str] = {use: check_value(box.mac_of(key)) for use, key in box.in_use.items()}
        self.changes: dict[Use, Change] = {}
        self.overlap_until_s: float | None = None
        self.superseded: list[Mac] = []
        """Superseded keys, remembered to recognise their use."""
        self.changed = 0


class Rekey:
    """The keys of all participants, and how they change."""

    def __init__(self, switch: Switch, boxes: Mapping[str, KeyBox], draw: Callable[[int], bytes]) -> None:
        """`boxes`: by participant; one that has none cannot change keys. `draw` makes so many random bytes."""
        self._switch = switch
        self._draw = draw
        self._keys = {name: _Keys(box) for name, box in boxes.items()}
        self._asked: dict[tuple[int, str], Use] = {}
        self._dropped: dict[tuple[int, str], Change] = {}
        """By link and DE11: the answers still to come to a change that one connection has refused."""

    # --- the hub begins

    def begin(self, party: Party, use: str, now_s: float, *, spoilt: str = "", everywhere: bool = False) -> str:
        """Announce a new key; returns its check value. Raises ValueError.

        `everywhere`: on each of the participant's links; in force when each has taken it, and one has proved it.
        """
        keys, spoil = self._of(party), _spoilt(spoilt)
        checked = _use(use)
        if checked in keys.changes:
            raise ValueError("a change of this key is under way")
        key = self._draw(keys.bytes)
        mac = keys.box.mac_of(key)
        check, wrapped = check_value(mac), keys.box.wrap(key).hex().upper()
        if spoil == "check":
            check = f"{int(check, 16) ^ 1:0{CHECK_DIGITS}X}"
        elif spoil == "wrapping":
            wrapped = f"{int(wrapped[:2], 16) ^ 1:02X}{wrapped[2:]}"
        data = DIGIT[checked] + wrapped + check
        width = self._switch.table.fields[125].width
        if len(data) > width:
            raise ValueError(f"DE125 would need {len(data)} characters, and holds {width}")
        change = Change(checked, mac, data, spoil, everywhere=everywhere)
        keys.changes[checked] = change
        self._announce(party, change, now_s)
        return change.check

    def _announce(self, party: Party, change: Change, now_s: float) -> None:
        """Send it where there is a link; without one, the next sign-on sends it."""
        links = self._switch.links_of(party, "usm")
        change.until_s = now_s + self._switch.settings.acknowledge_within_s
        for link in links if change.everywhere else links[:1]:
            change.open[link.number] = self._switch.manage(link, "9804", "811", {125: change.data})
            self._note(party, link, f"{change.use} announced", now_s, change.check)

    def verify(self, party: Party, use: str, now_s: float) -> None:
        """Ask the participant to confirm the check value of the key in use (886). Raises ValueError."""
        keys, checked = self._of(party), _use(use)
        links = self._switch.links_of(party, "usm")
        if not links:
            raise ValueError("no connection of this participant is signed on")
        number = self._switch.manage(links[0], "9804", "886", {125: DIGIT[checked] + keys.checks[checked]})
        self._asked[links[0].number, number] = checked
        self._note(party, links[0], f"{checked} asked about", now_s)

    # --- the participant says something

    def answered(self, link: Link, fields: iso.Fields, now_s: float) -> bool:
        """Take a 9814. False when it answers nothing about keys."""
        party, code = link.party, fields.get(26, "")
        use = self._asked.pop((link.number, fields[11]), None)
        if use is not None:
            if code != "0000":
                self._fault(link, f"says {code} to the check value of the key in use", now_s)
            self._note(party, link, f"{use} confirmed" if code == "0000" else f"{use} not confirmed", now_s)
            return True
        keys = self._keys.get(party.name)
        for change in keys.changes.values() if keys else ():
            if change.open.get(link.number) == fields[11]:
                break
        else:
            dropped = self._dropped.pop((link.number, fields[11]), None)
            if dropped is not None:
                self._judge(link, dropped, code, now_s)
            return dropped is not None
        assert keys is not None, "it has a change"
        del change.open[link.number]
        self._judge(link, change, code, now_s)
        if code != "0000" or change.spoilt:
            self._drop(party, keys, change, now_s, "refused")
        else:
            change.taken += 1
            if change.use == "own" and change.mac not in party.own:
                party.own = [*party.own, change.mac]
            self._note(party, link, f"{change.use} taken", now_s, change.check)
            self._if_taken(party, keys, change, now_s)
        return True

    def _judge(self, link: Link, change: Change, code: str, now_s: float) -> None:
        if (code == "0000") is bool(change.spoilt):
            self._fault(link, f"said {code} to a key that was {'spoilt' if change.spoilt else 'right'}", now_s)

    def _if_taken(self, party: Party, keys: _Keys, change: Change, now_s: float) -> None:
        """Start the time for proving the key, once no answer is missing."""
        if change.open or not change.taken:
            return
        change.until_s = now_s + VERIFY_WITHIN_S
        if change.verified:
            self._in_force(party, keys, change, now_s)

    def asked(self, link: Link, fields: iso.Fields, now_s: float) -> tuple[str, Callable[[], None]]:
        """A 9804/885 or 886 came: the code to answer with, and what to do once that is written."""
        party, data = link.party, fields.get(125, "")
        keys, use = self._keys.get(party.name), USES.get(data[:1])
        if keys is None or use is None:
            self._fault(link, f"9804/{fields[24]} without a use that there is", now_s)
            return "1909", _nothing
        if fields[24] == "885":
            if use in keys.changes or len(data) != 1:
                return "1909", _nothing
            self._note(party, link, f"{use} asked for", now_s)
            everywhere = self._switch.settings.asked_everywhere
            return "0000", lambda: _ignore(self.begin(party, use, now_s, everywhere=everywhere))
        check, change = data[1:], keys.changes.get(use)
        if change is not None and change.taken and link.number not in change.open and check == change.check:
            change.verified = True
            return "0000", lambda: self._if_taken(party, keys, change, now_s)
        if check == keys.checks[use]:
            return "0000", _nothing  # it did not hear our answer, or makes sure
        self._fault(link, f"9804/886 with a check value that is not that of the {use} key", now_s)
        return "1909", _nothing

    def _in_force(self, party: Party, keys: _Keys, change: Change, now_s: float) -> None:
        use = change.use
        del keys.changes[use]
        keys.checks[use] = change.check
        keys.changed += 1
        if use == "hub":
            party.mac = change.mac
        else:
            keys.superseded = [*party.own[:1], *keys.superseded][:REMEMBERED]
            party.before = party.own[0]
            party.own = [change.mac, party.before]
            party.alone_from_s = now_s + self._switch.settings.switch_within_s
            keys.overlap_until_s = now_s + self._switch.settings.overlap_s
        self._note(party, None, f"{use} in force", now_s)

    def _drop(self, party: Party, keys: _Keys, change: Change, now_s: float, why: str) -> None:
        del keys.changes[change.use]
        self._dropped.update(dict.fromkeys(change.open.items(), change))
        party.own = [mac for mac in party.own if mac is not change.mac]
        self._note(party, None, f"{change.use} {why}", now_s)

    def not_authentic(self, link: Link, body: bytes, now_s: float, fpid: str = "") -> None:
        """A message came whose MAC no key in use makes: a fault; was it a key that was right once, or may be yet?"""
        keys = self._keys.get(link.party.name)
        covered, mac = body[:-MAC_BYTES], body[-MAC_BYTES:]
        what, why = "its MAC", "wrong MAC"
        if keys is not None:
            if any(key(covered) == mac for key in keys.superseded):
                what, why = "a superseded key", "signed with a superseded key"
            elif any(change.mac(covered) == mac for change in keys.changes.values() if change.use == "own"):
                what, why = "a key not taken", "signed with a key that was announced, and not taken"
        self._switch.counts[f"refused for {what}"] += 1
        self._switch.fault(link, f"{body[:4].decode('ascii', 'replace')}: {why}", now_s, fpid)

    # --- time, and links that come and go

    def tick(self, now_s: float) -> None:
        """Give up changes that take too long, and superseded keys whose overlap is over."""
        for name, keys in self._keys.items():
            party = self._switch.parties[name]
            if keys.overlap_until_s is not None and keys.overlap_until_s <= now_s:
                keys.overlap_until_s = None
                on_trial = [change.mac for change in keys.changes.values() if change.use == "own" and change.taken]
                party.own = [party.own[0], *on_trial]
                self._note(party, None, "own superseded", now_s)
            for change in list(keys.changes.values()):
                if (change.open or change.taken) and change.until_s <= now_s:
                    missing = "9814/811" if change.open else "9804/886"
                    self._drop(party, keys, change, now_s, f"given up: no {missing}")
                    self._late(party, f"no {missing} in time")

    def _late(self, party: Party, why: str) -> None:
        self._switch.counts["faults"] += 1
        self._switch.faults.append(f"{party.name}: {why}")

    def signed_on(self, party: Party, now_s: float) -> None:
        """Announce the keys that had no link, now that there is one."""
        keys = self._keys.get(party.name)
        for change in keys.changes.values() if keys else ():
            if not change.open and not change.taken:
                self._announce(party, change, now_s)

    def link_down(self, link: Link, now_s: float) -> None:
        """Announce keys not acknowledged on a lost connection again on another."""
        self._dropped = {place: change for place, change in self._dropped.items() if place[0] != link.number}
        self._asked = {asked: use for asked, use in self._asked.items() if asked[0] != link.number}
        keys = self._keys.get(link.party.name)
        for change in list(keys.changes.values()) if keys else ():
            if change.open.pop(link.number, "") and not change.open and not change.taken:
                self._announce(link.party, change, now_s)
            elif keys is not None:
                self._if_taken(link.party, keys, change, now_s)

    # --- people

    def statistics(self) -> dict[str, dict[str, object]]:
        """By participant: check values in use, changes made and under way."""
        return {
            name: {
                "checks": dict(keys.checks),
                "changed": keys.changed,
                "under_way": {use: "taken" if change.taken else "announced" for use, change in keys.changes.items()},
                "overlap": keys.overlap_until_s is not None,
            }
            for name, keys in self._keys.items()
        }

    def _of(self, party: Party) -> _Keys:
        keys = self._keys.get(party.name)
        if keys is None:
            raise ValueError(f"{party.name} has no transport key")
        return keys

    def _note(self, party: Party, link: Link | None, what: str, now_s: float, check: str = "") -> None:
        self._switch.counts[f"key {what}"] += 1
        self._switch.event("key", "", now_s, link, code=check, why=f"{party.name}: {what}")

    def _fault(self, link: Link, why: str, now_s: float) -> None:
        self._switch.fault(link, f"keys: {why}", now_s)


def check_value(mac: Mac) -> str:
    """The leftmost three bytes of the MAC of sixteen zero bytes, as hex."""
    return mac(bytes(16))[:CHECK_DIGITS].decode()


def _use(text: str) -> Use:
    for use in DIGIT:
        if use == text:
            return use
    raise ValueError("use: hub or own")


def _spoilt(text: str) -> Spoilt:
    for spoilt in get_args(Spoilt):
        if spoilt == text:
            return spoilt  # type: ignore[no-any-return] # of a Literal's own values
    raise ValueError("spoil: check or wrapping")


def _nothing() -> None:
    pass


def _ignore(_: str) -> None:
    pass
