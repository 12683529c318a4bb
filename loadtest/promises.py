"""The promises that a ledger checks, each by name and as a sentence, and how one fared. Pure."""

from msgspec import Struct

SHOWN_MAX = 5
"""Violations of an invariant that are shown; the rest are counted."""

INBOUND = {
    "accounted": "every payment sent ends in exactly one account",
    "hub-satisfied": "every reply is on its request's link, in form, its MAC right, its fields copied, its code known",
    "durable-before-reply": "every reply that the hub has was decided in the journal, with the same code",
    "one-outcome": "no payment has two outcomes, in the journal or in the hub's ears",
    "in-time": "every payment is replied to within the hub's patience, or accounted for as reversed or given up",
    "nobody-turned-away": "no payment is refused because the bank's own systems are down (1909), but where its rules "
    "say so",
    "received-once": "no payment is taken in twice, and none that the hub did not send",
    "reversals-recorded": "every reversal is answered positively, and recorded as soon as it is answered",
    "answers-kept": "a decision recorded as the processor's is what the processor answered",
    "asked-after-durable": "the processor is asked only about payments that the journal received",
}
"""Of payments that the hub sends."""

OUTBOUND = {
    "submissions-accounted": "every payment that the processor submitted ends in exactly one account",
    "taken-after-durable": "every submission that was acknowledged is in the journal",
    "submissions-end": "every outbound payment in a journal is settled, unknown or surely unsent in the end",
    "only-submitted": "nothing is recorded or leaves that the processor did not submit, under its own key",
    "sent-after-durable": "the hub sees no request and no repeat that the journal did not hold before",
    "sent-once": "what may have left goes again as a repeat, never as a new request",
    "executed-once": "no payment is carried out twice",
    "refused-means-nothing": "what was not taken (503), or could not be (4xx), was neither recorded nor sent",
    "never-failed": "no payment that may have left is reported as unsent, or as refused when it was carried out",
    "settled-as-answered": "an outcome is what the hub answered, conclusively, and said by whom its code says",
    "settled-once": "no outbound payment has two outcomes",
    "outcome-as-recorded": "the processor hears no outcome that the journal does not hold",
    "both-ends-agree": "the sender of a payment hears what its receiver said in time, and what was accepted is not "
    "reversed; what its receiver refuses after the sender was told otherwise comes back, and nothing else does",
    "declined-by-news": "what is declined here is declined after news that the hub sent and the journal holds",
    "hub-honest": "the hub passes on, decides and answers only what was submitted, accepts nothing that it did not "
    "pass on, passes it on as new once, and answers each with its one outcome, on a connection that asked",
    "processor-honest": "a processor's book says how an attempt went of every payment that it submitted, each under "
    "one key",
}
"""Of payments that the processor submits."""

COMMON = {
    "told": "every step that must be told was acknowledged by the processor, or parked where people look",
    "told-in-order": "notices about one payment reach the processor in the journal's order",
    "told-what-happened": "every notice has its step in the journal, and says what it says",
    "journal-whole": "the journal's positions have no gap and never go back; where it is known to be new, it begins "
    "with a start",
    "news-kept": "what news the hub had acknowledged stands in a journal",
    "keys-kept": "each key that the hub was told is taken stands in a journal",
    "mischief-answered": "each mischief got the answer that the scheme prescribes, and nothing else",
}
"""Of both."""

INVARIANTS = {**INBOUND, **OUTBOUND, **COMMON}
"""Each promise by name. A verdict holds one entry for each, checked or not."""


class Invariant(Struct):
    """How one promise fared."""

    name: str
    sentence: str
    checked: int = 0
    violations: int = 0
    first: list[str] = []

    def check(self, holds: bool, what: str = "") -> None:  # noqa: FBT001 - the one thing this takes
        """Count a check, and a violation when it does not hold."""
        self.checked += 1
        if not holds:
            self.violations += 1
            if len(self.first) < SHOWN_MAX:
                self.first.append(what)


Promises = dict[str, Invariant]
"""All of `INVARIANTS`, by name."""


def promises() -> Promises:
    """Every promise, not checked yet."""
    return {name: Invariant(name, sentence, first=[]) for name, sentence in INVARIANTS.items()}


def listed(items: object) -> str:
    """What a set or list holds, in words."""
    shown = [str(item) for item in items] if isinstance(items, (list, set)) else [str(items)]
    return ", ".join(sorted(shown)) if shown else "nothing"
