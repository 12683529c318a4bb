"""The events since the last wake-up. Shells call these methods from the trio thread: each notes an event, and wakes the
engine.
"""

import trio

from gateway.engine.shells import HubLink
from gateway.payments.work import Answer, MacJob, Submission


class Inbox:
    """Holds what the next wake-up takes. For links it is the greater part of `hub.link.Inbox`."""

    def __init__(self) -> None:
        self._woken = trio.Event()
        self._frames: list[tuple[HubLink, list[tuple[float, bytes]]]] = []
        self._macs: list[list[MacJob]] = []
        self._answers: list[list[Answer]] = []
        self._sent: list[tuple[HubLink, list[object], str]] = []
        self._downs: list[HubLink] = []
        self._submitted: list[list[Submission]] = []
        self._installed: list[tuple[str, bool, str]] = []

    def wake(self) -> None:
        """Have the next wake-up come at once."""
        self._woken.set()

    @property
    def unread(self) -> int:
        """Messages and submissions that no wake-up has taken yet."""
        return sum(len(frames) for _, frames in self._frames) + sum(map(len, self._submitted))

    # --- from the journal, the signer and the processor

    def on_durable(self, _position: int) -> None:
        """The journal synced."""
        self._woken.set()

    def on_macs(self, jobs: list[MacJob]) -> None:
        """The signer is done with these."""
        self._macs.append(jobs)
        self._woken.set()

    def on_installed(self, label: str, ok: bool, why: str) -> None:  # noqa: FBT001 - as the signer says it
        """The tokens have this key, or have it not and why."""
        self._installed.append((label, ok, why))
        self._woken.set()

    def on_answers(self, answers: list[Answer]) -> None:
        """The processor answered these."""
        self._answers.append(answers)
        self._woken.set()

    def submit(self, submissions: list[Submission]) -> None:
        """The processor submits these. Each gets its `done`."""
        self._submitted.append(submissions)
        self._woken.set()

    # --- from links

    def link_up(self, link: HubLink) -> None:
        """A connection stands."""

    def link_down(self, link: HubLink, _reason: str) -> None:
        """A connection has ended; what it did not write came back through `unsent` before."""
        self._downs.append(link)
        self._woken.set()

    def frames(self, link: HubLink, frames: list[tuple[float, bytes]], _now_s: float) -> None:
        """A link read these frames, each with the time of its first byte."""
        self._frames.append((link, frames))
        self._woken.set()

    def sent(self, link: HubLink, contexts: list[object]) -> None:
        """A link wrote what these contexts stand for."""
        self._sent.append((link, contexts, ""))
        self._woken.set()

    def unsent(self, link: HubLink, contexts: list[object], *, surely: bool) -> None:
        """A link is gone. These were not written; or, not surely, were being written and may have left."""
        self._sent.append((link, contexts, "link-lost" if surely else "link-lost-writing"))
        self._woken.set()

    def expired(self, link: HubLink, contexts: list[object]) -> None:
        """These were not written: it was too late for them."""
        self._sent.append((link, contexts, "too-late"))
        self._woken.set()
