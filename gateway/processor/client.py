"""The processor as the gateway's own parts know it: asked about payments (`asking`), told and inquired of (`calls`)."""

import random
from collections.abc import Callable
from typing import Any

import trio

from gateway import config
from gateway.http.directory import Directory
from gateway.http.hosts import Hosts
from gateway.http.statuses import Told
from gateway.network.names import MACHINE, Network
from gateway.payments.work import Answer, Ask
from gateway.processor.answers import Answers
from gateway.processor.asking import Asking, OnAnswers
from gateway.processor.calls import Calls


class Client:
    """Both sorts of requests over the same hosts: what one sort learns of an address, the other knows."""

    def __init__(
        self,
        settings: config.Processor,
        *,
        directory: Directory | None = None,
        network: Network = MACHINE,
        luck: Callable[[], float] = random.random,
        answers: Answers | None = None,
    ) -> None:
        """`network` and `luck` are what a simulation replaces; `answers` reads the answers, None: by the built-in
        codes. Raises `ConfigurationError`.
        """
        answers = answers or Answers()
        self.hosts = Hosts(settings, network, luck, directory=directory)
        self.asking = Asking(settings, self.hosts, answers, luck)
        self.calls = Calls(settings, self.hosts, answers)

    async def run(
        self, on_answers: OnAnswers, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep the connections and hand over the answers, until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.calls.run)
            await nursery.start(self.asking.run, on_answers)
            task_status.started()

    def ask(self, asks: list[Ask]) -> None:
        """Ask about these payments. Never blocks."""
        self.asking.ask(asks)

    def why_unasked(self, ask: Ask) -> str:
        """Why this question has not left, in words fit for a log; empty when no reason can be named."""
        return self.asking.why_unasked(ask)

    async def tell(self, key: str, body: bytes) -> Told:
        """Tell a notice, once. Always returns how it went, within `tell_within_s`."""
        return await self.calls.tell(key, body)

    async def inquire(self, fpid: str) -> Answer | None:
        """Ask what was decided on a payment; None: the processor does not know it. Raises `Unavailable`."""
        return await self.calls.inquire(fpid)

    def health(self) -> str:
        """Why the processor is not answering, as far as asking has shown; empty when it is, or nobody asked."""
        return self.asking.health()

    def statistics(self) -> dict[str, Any]:
        """Connections, what waits, and counts of questions by outcome since the start."""
        return self.asking.statistics()
