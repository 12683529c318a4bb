"""Dials one party at the address of its name that has its turn. The package's docstring says what may happen."""

import ipaddress
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import trio

from gateway import log, metrics
from gateway.machine.aside import aside
from gateway.machine.shortage import is_shortage
from gateway.network.names import MACHINE, Answer, Network
from gateway.network.turns import PATIENCE_S, Lookups, Proof, Turns

STAGGER_S = 0.25
"""An address that has not connected within this time gets the next one beside it (RFC 8305)."""

C = TypeVar("C")
T = TypeVar("T")
_log = log.get("addresses")


class Reached(NamedTuple, Generic[C]):
    """A connection, and the address that it leads to. Report by `Dialler.heard` what it proves."""

    connection: C
    address: str


class Dialler:
    """Dials one party, under one name and port. Everything in the trio thread."""

    def __init__(self, party: str, host: str, port: int, network: Network = MACHINE) -> None:
        """`party` names it in logs and metrics; it comes from the configuration, so there are few."""
        self._party = party
        self._host = host
        self._port = port
        self._network = network
        self._named = not is_address(host)
        self._turns = Turns(() if self._named else (host,))
        self._lookups = Lookups()
        self._looked_up = trio.Event()
        self._why: OSError | None = None
        """Why the last lookup found nothing."""
        self._aside = trio.CapacityLimiter(1)
        if self._named:
            self._counts = {outcome: metrics.NAME_LOOKUPS.labels(party, outcome) for outcome in metrics.LOOKUP_OUTCOMES}
            self._trouble = metrics.NAME_LOOKUP_TROUBLE.labels(party)
            self._trouble.set(0)

    # --- dialling

    async def connect(self) -> Reached[trio.abc.Stream]:
        """Connect. The caller limits the time, and reports by `heard` what the connection proved. Raises `OSError`."""
        order = await self._order()
        if len(order) == 1:
            return await self._try(order[0])
        won: list[Reached[trio.abc.Stream]] = []
        errors: list[OSError] = []

        async def attempt(address: str, over: trio.Event) -> None:
            try:
                reached = await self._try(address)
            except OSError as error:
                errors.append(error)
                over.set()
                return
            if won:
                await trio.aclose_forcefully(reached.connection)
                return
            won.append(reached)
            nursery.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                for address in order:
                    over = trio.Event()
                    nursery.start_soon(attempt, address, over)
                    with trio.move_on_after(STAGGER_S):
                        await over.wait()
        except BaseException:  # given up at the moment when one was reached
            for reached in won:
                await trio.aclose_forcefully(reached.connection)
            raise
        if not won:
            raise OSError(None, f"none of {len(order)} addresses connects: {log.describe(errors[0])}") from errors[0]
        return won[0]

    async def aside(self, call: Callable[[], T]) -> T:
        """Run a call that a slow disk may hold up (reading TLS files), one at a time for this party. Raises what the
        call raises, and `OSError` when no thread can be started.
        """
        return await aside(call, self._aside)

    async def _try(self, address: str) -> Reached[trio.abc.Stream]:
        try:
            return Reached(await self._network.connect(address, self._port), address)
        except OSError as error:
            if is_shortage(error):  # that says nothing about the address
                metrics.SHORTAGES["dial"].inc()
            else:
                self.heard(address, Proof.NOTHING)
            raise
        except trio.Cancelled:  # it took too long, or another one was quicker
            self._note(address, Proof.NOTHING)
            raise

    # --- proofs

    def heard(self, address: str, proof: Proof) -> None:
        """A connection to this address proved something, or failed. After a failure the name is looked up without
        waiting for the next dial: it may lead elsewhere by now, while other connections stand.
        """
        self._note(address, proof)
        if proof is not Proof.PROVED:
            self._look_up()

    def _note(self, address: str, proof: Proof) -> None:
        self._turns.heard(address, proof)
        if proof is not Proof.PROVED:
            self._lookups.doubt()

    def keeps(self, address: str) -> bool:
        """Whether a connection to it may be used for more."""
        return self._turns.keeps(address)

    # --- names

    async def _order(self) -> list[str]:
        if self._named:
            self._look_up()
            with trio.move_on_after(self._lookups.wait_s(trio.current_time())):
                await self._answer()
            if self._lookups.overdue(trio.current_time()):
                self._counts["overdue"].inc()
                self._in_trouble(f"no answer within {PATIENCE_S:g} s")
            if not self._turns:
                await self._answer()  # no address is known
            if not self._turns:
                assert self._why is not None
                raise OSError(None, f"name not looked up: {self._why.strerror}")
        return self._turns.order()

    async def _answer(self) -> None:
        while self._lookups.under_way:
            await self._looked_up.wait()

    def _look_up(self) -> None:
        now_s = trio.current_time()
        if not self._named or not self._lookups.due(now_s):
            return
        self._lookups.began(now_s)
        self._looked_up = trio.Event()
        self._network.lookup(self._host, self._answered)

    def _answered(self, answer: Answer) -> None:
        news = self._lookups.answered(trio.current_time(), found=not isinstance(answer, OSError))
        if isinstance(answer, OSError):
            self._why = answer
            self._counts["failed"].inc()
            if news:
                self._in_trouble(log.describe(answer))
        else:
            self._turns.renew(answer)
            self._counts["found"].inc()
            if news:
                self._trouble.set(0)
                _log.info("name is looked up again", party=self._party, host=self._host)
        self._looked_up.set()

    def _in_trouble(self, reason: str) -> None:
        """Log once for each episode. `count`: the addresses that were known last, and are used meanwhile."""
        self._trouble.set(1)
        known = len(self._turns.order())
        _log.warning("name cannot be looked up", party=self._party, host=self._host, reason=reason, count=known)


def is_address(host: str) -> bool:
    """Whether it is a literal address, so that nothing has to be looked up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
