"""Looks at every token once and says how a pool would use them: for `fps-gateway hsm check`.

It uses the same worker processes as the gateway, all at once, each with its deadlines. It knows tokens and keys, not
how they are shown. A gateway may run beside it: this is one more login to each token, and changes nothing in it.
"""

import statistics
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

import trio

from gateway import config, log
from gateway.payments.work import Install
from gateway.signer import choice, messages, process
from gateway.signer.apart import Apart
from gateway.signer.messages import Held, Shown
from gateway.signer.outage import Outage, TokenState
from gateway.signer.tokens import read_outage, read_shown, start_of
from gateway.signer.wanted import Wanted

MACS = 21
"""MACs that are made to measure one, each in a batch of its own."""
TRIES_MAX = 3
"""Attempts to open a token: SoftHSM may fail a login that meets another one. A wrong PIN is never tried again."""
TRY_AGAIN_AFTER_S = 0.3

NOTHING = Shown({}, {})


class Seen(NamedTuple):
    """A token, as it showed itself."""

    token: config.Token
    outage: Outage | None
    """Why it would not serve; None: it would, if its keys are right."""
    shown: Shown = NOTHING
    mac_s: float | None = None
    """The median time for one MAC under our own key, there and back."""
    tries: int = 1


class Report(NamedTuple):
    """The use that a pool would make of them."""

    seen: list[Seen]
    """In the order of the configuration."""
    states: dict[str, Outage]
    """By name: `serving`, or why not."""
    labels: tuple[str, ...]
    """Of the keys that every token must have to serve."""
    transport_key: str
    groups: list[list[str]]
    """Names of tokens with the same keys, among those that have all of them; the first group is right."""
    used: list[str]
    """The serving tokens that get work."""
    transport_keys: list[list[str]]
    """Names of tokens with the same transport key, as far as they show its check value."""

    @property
    def serving(self) -> list[str]:
        """Names of the tokens that would serve."""
        return [name for name, outage in self.states.items() if outage.state == "serving"]

    @property
    def well(self) -> bool:
        """All would serve and have a transport key, the same one as far as they show it."""
        has_transport = all(self.transport_key not in each.shown.failures for each in self.seen)
        return len(self.serving) == len(self.seen) and has_transport and len(self.transport_keys) <= 1


async def survey(
    tokens: Sequence[config.Token],
    pair: config.Pair,
    more: Iterable[str] = (),
    *,
    open_worker: Callable[[config.Token], Awaitable[process.Worker]] = process.start,
) -> Report:
    """Look at all these tokens. `more`: labels of further keys that every token should have.

    Bounded by the longest `start_within_s` for each try, and the time for `MACS`. Cancelled, it leaves no process.
    """
    keys = [Install(label) for label in (pair.mac.hub_key, pair.mac.own_key, *more)]
    wanted = Wanted((pair.mac.seal_key,), keys, Apart(pair.mac))
    seen: dict[str, Seen] = {}

    async def look(token: config.Token) -> None:
        seen[token.name] = await _look(token, pair, tuple(wanted.needed), open_worker)

    async with trio.open_nursery() as nursery:
        for token in tokens:
            nursery.start_soon(look, token)
    return judge([seen[token.name] for token in tokens], wanted, pair.keys.transport_key)


def judge(seen: list[Seen], wanted: Wanted, transport_key: str) -> Report:
    """How a pool would use tokens that showed this. Pure."""
    shown = {each.token.name: each.shown for each in seen}
    groups = wanted.groups((each.token.name, each.shown) for each in seen if each.outage is None)
    states: dict[str, Outage] = {}
    for each in seen:
        name = each.token.name
        if each.outage is not None:
            states[name] = each.outage
        elif failure := wanted.failure_of(each.shown):
            states[name] = Outage("no-key", failure)
        elif clash := wanted.clash_of(each.shown):
            states[name] = Outage("same-keys", clash)
        elif name in groups[0]:
            states[name] = Outage("serving", "")
        else:
            why = wanted.difference(each.shown, shown[groups[0][0]], groups[0])
            states[name] = Outage("different-keys", why)
    serving = [each for each in seen if states[each.token.name].state == "serving"]
    chosen = choice.choose([choice.Candidate(each.token.local, each.mac_s or 0.0) for each in serving])
    transport: dict[str, list[str]] = {}
    for name, each_shown in shown.items():
        if check := each_shown.checks.get(transport_key):
            transport.setdefault(check, []).append(name)
    return Report(
        seen,
        states,
        tuple(wanted.needed),
        transport_key,
        groups,
        [serving[at].token.name for at in chosen],
        sorted(transport.values(), key=len, reverse=True),
    )


async def _look(
    token: config.Token,
    pair: config.Pair,
    labels: tuple[str, ...],
    open_worker: Callable[[config.Token], Awaitable[process.Worker]],
) -> Seen:
    """At one token, again when it fails to open."""
    tries = 1
    while (seen := await _look_once(token, pair, labels, open_worker)).outage is not None:
        if seen.outage.state != "failing" or tries == TRIES_MAX:
            break
        tries += 1
        await trio.sleep(TRY_AGAIN_AFTER_S)
    return seen._replace(tries=tries)


async def _look_once(
    token: config.Token,
    pair: config.Pair,
    labels: tuple[str, ...],
    open_worker: Callable[[config.Token], Awaitable[process.Worker]],
) -> Seen:
    try:
        worker = await open_worker(token)
    except OSError as error:
        return Seen(token, Outage("crashed", f"no worker could be started: {log.describe(error)}"))
    outage: Outage | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.pump)
            try:
                seen = await _ask(worker, token, pair, labels)
            except _Lost as lost:
                seen = Seen(token, outage := lost.outage)
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            ended = await worker.end(kill=outage is not None and outage.state == "hung")
    if outage is not None and outage.state == "crashed":
        seen = seen._replace(outage=Outage("crashed", f"crashed: the worker {ended}"))
    return seen


class _Lost(Exception):
    """The token or its worker gives no usable answer."""

    def __init__(self, state: TokenState, why: str = "") -> None:
        super().__init__(why)
        self.outage = Outage(state, why)


async def _ask(worker: process.Worker, token: config.Token, pair: config.Pair, labels: tuple[str, ...]) -> Seen:
    """The keys that it has, and how long a MAC takes. Raises `_Lost`."""
    told = tuple(Held(Install(label), needed=False) for label in labels)
    start = start_of(token, pair.mac, pair.keys, told, transport_shown=True)
    worker.send(messages.json_frame(messages.START, start))
    shown = read_shown(await _hear(worker, messages.HELLO, token.start_within_s, "not up"))
    took: list[float] = []
    if pair.mac.own_key in shown.values:
        index = labels.index(pair.mac.own_key)
        for number in range(MACS):
            began_s = trio.current_time()
            worker.send(messages.batch_frame(number, [(index, b"", messages.CHECK_TEXT)]))
            body = await _hear(worker, messages.RESULT, token.batch_within_s, "no answer")
            if messages.results(body)[1][0][0] != messages.OK:
                raise _Lost("failing", "the token failed in service")
            took.append(trio.current_time() - began_s)
    return Seen(token, None, shown, statistics.median(took) if took else None)


async def _hear(worker: process.Worker, wanted: int, within_s: float, otherwise: str) -> bytes:
    """The worker's answer. Raises `_Lost`."""
    with trio.move_on_after(within_s):
        try:
            kind, body = (await worker.receive())[0]
        except process.WorkerLost:
            raise _Lost("crashed") from None
        if kind == messages.FAULT:
            said = read_outage(body)
            raise _Lost(said.state, said.why)
        assert kind == wanted, "a worker of another version"
        return body
    raise _Lost("hung", f"hung: {otherwise} within {within_s:g} s")
