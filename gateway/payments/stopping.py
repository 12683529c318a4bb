"""Payments under way when an operator stops submitting, and starts it again. `submitting` is the switch itself.

A request that never left becomes UNSENT. A payment that may have left waits for the answer to its present attempt, and
is UNKNOWN without one. The start takes up again what the stop had cut off, over restarts too.
"""

from gateway import config
from gateway.clock import Now
from gateway.payments.departure import Departure
from gateway.payments.departures import Departures
from gateway.payments.outbound_law import State
from gateway.payments.submissions import Unfinished
from gateway.payments.submitting import STOPPED, Submitting
from gateway.payments.work import Standing

CLOCK_STEP_S = 1.0
"""A record that is further in the future than this was written by another clock."""
TAKEN_UP_PER_S = 1000
"""Payments that are taken up again each second after a stop: all at once would not fit into a link's buffer."""


class Stopping:
    """Stops and starts the payments under way, by order of an operator."""

    def __init__(self, settings: config.Submit, departures: Departures, submitting: Submitting) -> None:
        self._settings = settings
        self._departures = departures
        self._submitting = submitting

    def stop(self, now: Now) -> int:
        """Let nothing leave from here on, until `start`; returns the position of the record that makes this last."""
        position = self._submitting.stop(now)
        for payment in self._departures.in_flight.values():
            if payment.state is State.PAUSING:
                self._departures.set_timer(payment, now.mono_s)
        return position

    def start(self, position: int, now: Now) -> int | None:
        """The start recorded there is durable; returns how many payments are repeated now that the stop had cut off;
        None: another order came after it.
        """
        if not self._submitting.on_recorded(position):
            return None
        cut_off = [payment for payment in self._departures.unknown.values() if payment.reason == STOPPED]
        for number, payment in enumerate(cut_off):
            self._departures.take_up_again(payment, now.mono_s, now.mono_s + number / TAKEN_UP_PER_S)
        return len(cut_off)

    def on_restart(self, cut_off: dict[str, Unfinished], now: Now) -> None:
        """Take up what a stop had cut off: it waits for the start, or, where that is recorded already, is repeated."""
        departures = self._departures
        for fpid, left in cut_off.items():
            payment = Departure(
                left.key, fpid, left.content, left.covered, State.UNKNOWN, now.mono_s, left=True, reason=STOPPED,
                attempt=left.repeats + 1, durable=True,
            )  # fmt: skip
            known = departures.remembered.of_key(left.key)
            payment.standing = known.standing if known is not None else Standing(fpid, State.UNKNOWN)
            departures.unknown[fpid] = departures.by_key[left.key] = payment
            if not self._submitting.stopped:
                since_s = now.mono_s - self.age_s(self._submitting.since_ns, now)
                departures.take_up_again(payment, since_s, now.mono_s + self._settings.pause_s)

    def age_s(self, since_ns: int, now: Now) -> float:
        """How long ago that was, by the wall clock."""
        age_s = (now.wall_ns - since_ns) / 1e9
        # less than nothing: the clock was ahead then, or is behind now, and nobody knows how old it is
        return self._settings.repeat_for_s if age_s < -CLOCK_STEP_S else age_s

    @property
    def cut_off(self) -> int:
        """Payments that wait for the start."""
        return sum(payment.reason == STOPPED for payment in self._departures.unknown.values())
