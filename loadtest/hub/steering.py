"""The requests that the hub's control socket understands: each is a method, named by `do`."""

from collections.abc import Awaitable, Callable
from typing import Any, get_args

import trio

from loadtest.hub.bank import SimulatedBank
from loadtest.hub.control import Request
from loadtest.hub.injections import Injection
from loadtest.hub.parties import Party, Sick, Sickness
from loadtest.hub.sites import Hub

CONTROLS = """control socket (--control PORT, 0 picks a free one): a JSON object a line, or, for curl, one as the body
of an HTTP request (curl -d '{"do":"statistics"}' http://127.0.0.1:PORT). Where
"participant" is said, it may be left out: the first one, or all where that makes sense.
  {"do":"start","rate":100,"duration":30,"model":"poisson","seed":1,"participant":"alpha","type":"10"}
                                    begin to send; replaces what is being sent to that participant
  {"do":"stop"}                     send nothing more
  {"do":"statistics"}               counts, latencies, links, keys, faults; with "recent":true also latencies since the
                                    last such asking
  {"do":"reset"}                    latencies start anew (after a warm-up)
  {"do":"mischief","what":"garbage","participant":"alpha"}    misbehave once, on some connection
  {"do":"drop","site":"a","participant":"alpha"}    hang up on a site's connections
  {"do":"close","site":"a"} / {"do":"open","site":"a"}   take a site away and bring it back, with "participant" for one,
                                    with "node":"sip-a" for one of its processes: that link stays down (drop, too)
  {"do":"inject","what":"swallow","count":1,"every":1,"after_s":1,"participant":"alpha"}
                                    spoil the answers to so many of the requests that come (of each `every` the last):
                                    swallow, late (by after_s), twice, drop (the link goes after the request),
                                    9909-after: carried out; lose (with the link), 9909, 650, 690: not carried out
  {"do":"sicken","site":"a","how":"mute","after_s":3}   make a site's links sick ("participant", "node": as above):
                                    silent (nothing leaves by them), deaf (payments that come get lost), mute (they are
                                    carried out and not answered), slow (answered after_s later); "how":"well": no more
  {"do":"inject","what":"none"}     spoil no more
  {"do":"bank","rule":"0000*9,1114","bank":"bank"}   how a bank of the hub's own answers from now on
  {"do":"key","use":"hub","participant":"alpha","spoil":""}   begin to change a key, the hub's or the participant's
                                    "own" (811, 886); "spoil":"check" or "wrapping": one that must be refused;
                                    "everywhere":true: on every link, for a participant of several processes.
                                    Replies with its check value; "statistics" says how it goes
  {"do":"verify-key","use":"own","participant":"alpha"}    have the check value of the key in use confirmed (886)
  {"do":"usm","function":"972","fields":{"67":"01","100":"600002"},"participant":"alpha"}
                                    send news (9824) to one or all, by one link or ("everywhere":true) by each; what it
                                    announces is enforced from now on
  {"do":"finish"}                   stop; when everything has its outcome, close the book, reply, and end"""


class Steering:
    """Turns requests into calls of the hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._does: dict[str, Callable[..., Awaitable[Request]]] = {
            "start": self._start,
            "stop": self._stop,
            "statistics": self._statistics,
            "reset": self._reset,
            "mischief": self._mischief,
            "drop": self._drop,
            "close": self._close,
            "open": self._open,
            "inject": self._inject,
            "sicken": self._sicken,
            "bank": self._bank,
            "key": self._key,
            "verify-key": self._verify_key,
            "usm": self._usm,
            "finish": self._finish,
        }

    async def __call__(self, request: Request) -> Request:
        """Do a request. Raises ValueError or TypeError when it cannot be done as asked."""
        do = str(request.pop("do", ""))
        if do not in self._does:
            raise ValueError(f"do: {', '.join(self._does)}")
        reply = await self._does[do](**request)
        self._hub.flush()
        return reply

    def _party(self, name: str | None) -> Party:
        """The participant of this name, or the first. Raises ValueError."""
        scheme = self._hub.scheme
        if name is None:
            return scheme.first
        party = scheme.parties.get(name)
        if party is None or party.bank is not None:
            raise ValueError(f"participant: {', '.join(one.name for one in self._dialling())}")
        return party

    def _dialling(self) -> list[Party]:
        return [party for party in self._hub.scheme.parties.values() if party.bank is None]

    # --- the load

    async def _start(
        self,
        rate: float,
        duration: float,
        model: Any = "poisson",
        seed: int | None = None,
        participant: str | None = None,
        type: str = "10",  # noqa: A002 - the word of the request
    ) -> Request:
        self._hub.start(rate, duration, model, seed, self._party(participant), type)
        return {}

    async def _stop(self) -> Request:
        self._hub.stop()
        return {}

    async def _reset(self) -> Request:
        self._hub.scheme.reset()
        return {}

    async def _finish(self) -> Request:
        await self._hub.finish()
        return self.totals()

    # --- trouble

    async def _mischief(self, what: str = "", participant: str | None = None) -> Request:
        return {"done": self._hub.misbehave_once(what, self._party(participant))}

    async def _drop(self, site: str, participant: str | None = None, node: str = "") -> Request:
        return {"dropped": self._hub.drop(site, self._party(participant) if participant else None, node)}

    async def _close(self, site: str, participant: str | None = None, node: str = "") -> Request:
        self._hub.closed |= {(name, site, node) for name in self._named(participant)}
        return await self._drop(site, participant, node)

    async def _open(self, site: str, participant: str | None = None, node: str = "") -> Request:
        names, closed = self._named(participant), self._hub.closed
        closed -= {one for one in closed if one[0] in names and one[1] == site and node in {"", one[2]}}
        return {}

    def _named(self, participant: str | None) -> list[str]:
        return [self._party(participant).name] if participant else [party.name for party in self._dialling()]

    async def _inject(
        self, what: Any, count: int = 1, every: int = 1, after_s: float = 1.0, participant: str | None = None
    ) -> Request:
        injections = self._hub.scheme.submissions.injections
        if what == "none":
            injections.clear()
        else:
            party = self._party(participant) if participant else None
            injections.add(Injection(what, count, every=every, after_s=after_s, party=party))
        return {}

    async def _sicken(
        self, site: str, how: Any, after_s: float = 1.0, participant: str | None = None, node: str = ""
    ) -> Request:
        if how not in {"well", *get_args(Sickness)}:
            raise ValueError(f"how: {', '.join(get_args(Sickness))} or well")
        sick = Sick(how, after_s) if how != "well" else None
        for name in self._named(participant):
            self._hub.scheme.switch.sicken(self._hub.scheme.parties[name], site, node, sick)
        return {}

    async def _bank(self, rule: str, bank: str | None = None) -> Request:
        banks = {name: party for name, party in self._hub.scheme.parties.items() if party.bank is not None}
        if not banks or (bank is not None and bank not in banks):
            raise ValueError(f"bank: {', '.join(banks) or 'there is none'}")
        banks[bank or next(iter(banks))].bank = SimulatedBank(rule)
        return {}

    # --- keys and news

    async def _key(
        self,
        use: str,
        participant: str | None = None,
        spoil: str = "",
        everywhere: bool = False,  # noqa: FBT001, FBT002 - a member of the request
    ) -> Request:
        party, now_s = self._party(participant), trio.current_time()
        return {"check": self._hub.scheme.rekey.begin(party, use, now_s, spoilt=spoil, everywhere=everywhere)}

    async def _verify_key(self, use: str, participant: str | None = None) -> Request:
        self._hub.scheme.rekey.verify(self._party(participant), use, trio.current_time())
        return {}

    async def _usm(
        self,
        function: str,
        fields: dict[str, str] | None = None,
        participant: str | None = None,
        everywhere: bool = False,  # noqa: FBT001, FBT002 - a member of the request
    ) -> Request:
        parties = [self._party(participant)] if participant else self._dialling()
        given = {int(number): str(value) for number, value in (fields or {}).items()}
        bulletins, now_s = self._hub.scheme.bulletins, trio.current_time()
        sent = bulletins.announce(parties, function, given, now_s, everywhere=everywhere)
        return {"sent": sent}

    # --- looking

    async def _statistics(self, recent: bool = False) -> Request:  # noqa: FBT001, FBT002 - a member of the request
        return {**self.totals(), "recent": self._hub.scheme.deliveries.latency.recent()} if recent else self.totals()

    def totals(self) -> Request:
        """All statistics, as JSON."""
        scheme = self._hub.scheme
        return {
            "now_s": trio.current_time(),
            "loading": self._hub.loading,
            "outstanding": scheme.outstanding,
            "pending_mischief": scheme.pending_mischief(),
            "pending_news": scheme.bulletins.outstanding,
            "counts": dict(scheme.counts),
            "codes": dict(scheme.responses.codes),
            "submitted": scheme.submissions.payments,
            "submitted_codes": dict(scheme.submissions.codes),
            "submitted_outcomes": dict(scheme.submissions.outcomes),
            "keys": scheme.rekey.statistics(),
            "faults": list(scheme.faults),
            "latency": scheme.deliveries.latency.summaries(),
            "links": [
                {
                    "number": link.number, "participant": link.party.name, "group": link.group, "site": link.site,
                    "node": link.node,
                    "receive": link.receive, "submit": link.submit, "waiting": len(link.waiting),
                    "reversing": len(link.reversing),
                }
                for link in scheme.links.values()
            ],
        }  # fmt: skip
