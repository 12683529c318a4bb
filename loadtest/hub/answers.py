"""How the hub answers what participants submit: a 9210 or 9624 on the connection that asked, as well as injections and
sick links let it. Pure.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from loadtest.hub.injections import Injection
from loadtest.hub.parties import Link, Party
from loadtest.hub.requests import Request, Requests
from loadtest.hub.switch import Switch
from loadtest.ledger.entries import HubEvent
from loadtest.traffic import iso
from loadtest.traffic.agenda import Agenda

Route = Callable[[Request], Party | None]
"""Finds the receiver of a payment; None: there is none."""


class Outcome(NamedTuple):
    """The outcome of a payment."""

    code: str
    """DE26."""
    field: str = ""
    """DE44."""
    asynchronous: str = "0"
    """DE27: 1 when its sender is answered before its receiver has decided."""


INCONCLUSIVE = Outcome("9909")


class Answers:
    """Writes the answers, or keeps them back."""

    def __init__(self, switch: Switch, requests: Requests, agenda: Agenda, route: Route) -> None:
        """`route` finds the receiver, which may have moved an account."""
        self.settlement = (switch.settings.settlement_date + switch.settings.settlement_cycle).encode()
        """DE15 and DE29."""
        self.codes: Counter[str] = Counter()
        """Number of answers by code: a payment that was submitted again has several."""
        self.kept_back = 0
        """Number of answers that leave later."""
        self._switch = switch
        self._requests = requests
        self._agenda = agenda
        self._route = route
        self._counts = switch.counts

    def give(self, link: Link, request: Request, outcome: Outcome, injection: Injection | None, now_s: float) -> None:
        """Answer one request, on its connection."""
        what = injection.what if injection is not None else ""
        if injection is not None and what == "late":
            self._later(injection.after_s, link, request, outcome, what, now_s)
            return
        if what == "swallow":
            self._counts["answers swallowed"] += 1
            return
        if what == "9909-after":
            outcome = INCONCLUSIVE
        for _ in range(2 if what == "twice" else 1):
            self._write(link, request, outcome, what, now_s)

    def not_carried_out(self, link: Link, request: Request, what: str, now_s: float) -> None:
        """Answer a request as far as this injection allows."""
        if what == "lose":
            self.hang_up(link)
        elif what == "9909":
            self._write(link, request, INCONCLUSIVE, what, now_s)
        else:
            self.advise(link, what, request)

    def hang_up(self, link: Link) -> None:
        """Have the shell close the connection."""
        link.closing = "a fault on demand"
        self._switch.roster(link.party)

    def advise(self, link: Link, function: str, request: Request | None) -> None:
        """Say in a 9624 what is wrong with a request, and name the request where that could be read."""
        fields: iso.Fields = {}
        if request is not None:
            fields = {
                3: request.key[:6].decode(), 12: request.key[6:].decode(), 31: request.trn[2:].decode(iso.TEXT),
                51: request.currency.decode(), 98: request.sender.decode(iso.TEXT),
            }  # fmt: skip
        self._counts[f"advised {function}"] += 1
        self._switch.manage(link, "9624", function, fields)

    def _later(self, after_s: float, link: Link, request: Request, outcome: Outcome, why: str, now_s: float) -> None:
        self.kept_back += 1
        self._agenda.add(now_s + after_s, partial(self._write_late, link, request, outcome, why))

    def _write_late(self, link: Link, request: Request, outcome: Outcome, why: str, now_s: float) -> None:
        self.kept_back -= 1
        self._transmit(link, request, outcome, why, now_s)

    def _write(self, link: Link, request: Request, outcome: Outcome, why: str, now_s: float) -> None:
        sick = link.sick
        if sick is not None and sick.how in {"mute", "silent"}:
            self._counts["answers lost on a sick link"] += 1
        elif sick is not None and sick.how == "slow":
            self._later(sick.after_s, link, request, outcome, why, now_s)
        else:
            self._transmit(link, request, outcome, why, now_s)

    def _transmit(self, link: Link, request: Request, outcome: Outcome, why: str, now_s: float) -> None:
        if link.down or link.retired or link.closing:
            self._counts["answers undeliverable"] += 1
            return
        redirection = None
        if outcome.code[:1] == "0" and (receiver := self._route(request)) is not None and receiver.redirections:
            redirection = receiver.redirections.get(request.account)
        code, field, asynchronous = outcome
        self._switch.transmit(
            link,
            self._requests.answer(request, code, asynchronous, self.settlement, field=field, redirection=redirection),
        )
        self.codes[code] += 1
        self._counts["answered"] += 1
        self._switch.book(
            HubEvent(
                "answered", request.name, now_s, now_s, link.number, link.site, "9210", code, False, why,
                link.party.member,
            )
        )  # fmt: skip
