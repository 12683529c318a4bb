"""Asks the tokens of a gateway to verify a journal's seals (`fps-gateway journal verify --config`).

It uses the signer, as a gateway does: a worker process for each token, and a token that hangs, or has other keys than
most, is kept out. Beside a running gateway, it has sessions of its own. A wrong PIN is tried once.

A seal names the key that made it. Only `pair.mac.seal_key` and the keys that the person names are believed: another key
of the token, such as one that the hub has too, must not vouch for a journal.
"""

import sys
from collections.abc import Awaitable, Callable, Sequence

import trio

from gateway import config, log
from gateway.clock import system_clock
from gateway.config import file as config_file
from gateway.journal.seals import Ask, FoundSeal, Opinion, SealVerdict
from gateway.machine import harmless
from gateway.payments.work import MacJob
from gateway.signer import process
from gateway.signer.pool import Signer

AT_ONCE = 4096
"""Seals given to the signer at once: fewer than may wait for a token there."""
WITHIN_S = 30.0
"""Time for all of these. A hanging token is found, and the others have done its part, long before."""

OpenWorker = Callable[[config.Token], Awaitable[process.Worker]]


def tokens_of(files: Sequence[str], older: Sequence[str]) -> Ask:
    """See `journal.verifying.TokensOf`."""
    configuration = config_file.load(*files)

    def run(found: Sequence[FoundSeal]) -> list[Opinion]:
        # the signer's lines about tokens in trouble are for the person, not part of the result
        writer = log.configure("error", "console", log.Writer(sys.stderr.buffer), out=sys.stderr)
        try:
            return trio.run(ask, found, configuration, older)
        finally:
            writer.close()

    return run


async def ask(
    found: Sequence[FoundSeal],
    configuration: config.Configuration,
    older: Sequence[str],
    open_worker: OpenWorker = process.start,
) -> list[Opinion]:
    """Ask about the seals, key by key: a token may lack old keys and still have the others."""
    opinions: dict[int, Opinion] = {}
    tokens = configuration.node.token
    for label in dict.fromkeys(seal.key for seal in found):
        seals = [seal for seal in found if seal.key == label]
        if label == configuration.pair.mac.seal_key or label in older:
            said, tokens = await _ask_about(seals, label, configuration, tokens, open_worker)
        else:
            # the writer of the seal chose the label
            named = f'"{harmless.line(label)}"'
            why = f"sealed with the key {named}, which is neither pair.mac.seal_key nor given with --key"
            said = [Opinion(SealVerdict.UNKNOWN, why)] * len(seals)
        opinions.update(zip((seal.at for seal in seals), said, strict=True))
    return [opinions[seal.at] for seal in found]


async def _ask_about(
    seals: list[FoundSeal],
    label: str,
    configuration: config.Configuration,
    tokens: tuple[config.Token, ...],
    open_worker: OpenWorker,
) -> tuple[list[Opinion], tuple[config.Token, ...]]:
    """Opinions on the seals of one key, and the tokens that may be asked about the next."""
    round_ = _Round()
    signer = Signer(
        tokens,
        configuration.pair.mac,
        system_clock,
        on_done=round_.on_done,
        extra_keys=(label,),
        keys=configuration.pair.keys,
        open_worker=open_worker,
    )
    signer.hold(())  # no messages are signed here: no other key is needed
    opinions: list[Opinion] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(signer.run)
        await _some_serve(signer, max([token.start_within_s for token in tokens], default=0.0))
        while signer.serving and len(opinions) < len(seals):
            opinions += await round_.ask(signer, seals[len(opinions) : len(opinions) + AT_ONCE])
        nursery.cancel_scope.cancel()
    health = signer.health()
    reasons = "; ".join(f"{name}: {each.why}" for name, each in health.items() if each.why)
    nobody = Opinion(SealVerdict.UNKNOWN, f'no token serves with the key "{label}": {reasons or "none is left"}')
    opinions += [nobody] * (len(seals) - len(opinions))
    return opinions, tuple(token for token in tokens if health[token.name].state != "wrong-pin")


async def _some_serve(signer: Signer, within_s: float) -> None:
    """Wait until a token serves, or each has reported why it does not."""
    with trio.move_on_after(within_s):
        while not signer.serving and any(health.state == "starting" for health in signer.health().values()):
            await signer.wait_changed()


class _Round:
    """The seals that the tokens verify at one time."""

    def __init__(self) -> None:
        self._jobs: list[MacJob] = []
        self._over = trio.Event()

    def on_done(self, _: list[MacJob]) -> None:
        """See `Signer`."""
        if all(job.done for job in self._jobs):
            self._over.set()

    async def ask(self, signer: Signer, seals: list[FoundSeal]) -> list[Opinion]:
        """The opinions of the serving tokens on these seals."""
        deadline_s = trio.current_time() + WITHIN_S
        self._jobs = [MacJob(seal.key, seal.chain, mac=seal.mac, deadline_s=deadline_s) for seal in seals]
        self._over = trio.Event()
        signer.submit(self._jobs)
        await self._over.wait()
        return [_opinion(seal, job) for seal, job in zip(seals, self._jobs, strict=True)]


def _opinion(seal: FoundSeal, job: MacJob) -> Opinion:
    if job.ok:
        return Opinion(SealVerdict.HOLDS)
    if job.error == "wrong-mac":
        what = f'it is not the MAC of the chain value of position {seal.position} under the key "{seal.key}":'
        return Opinion(SealVerdict.WRONG, f"{what} it was changed, or another key of that name made it")
    return Opinion(SealVerdict.UNKNOWN, f'no token answered within {WITHIN_S:g} s about the key "{seal.key}"')
