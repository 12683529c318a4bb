"""The promises that a ledger checks, each as a name and a sentence, and the result of checking one. Pure."""

from msgspec import Struct

SHOWN_MAX = 5
"""Violations of an invariant that are shown at most; the rest are counted."""

INBOUND = {
    "accounted": "every payment sent ends in exactly one account",
    "hub-satisfied": "every reply is on its request's link, in form, its MAC right, its fields copied, its code known",
    "durable-before-reply": "every reply that the hub has was decided, with the same code, in the journal of the node "
    "that replied, and durable there before",
    "one-outcome": "no payment has two outcomes at one node, in its journal or in its replies; two sites, which share "
    "nothing, differ only where one has stood in for the processor, which hears of that",
    "in-time": "every payment is replied to within the hub's patience, or accounted for as reversed or given up",
    "nobody-turned-away": "no payment is refused because the bank's own systems are down (1909), but where its rules "
    "say so",
    "received-once": "no payment is received twice, and none that the hub did not send",
    "reversals-recorded": "every reversal is answered positively, and recorded, durably, before it is answered",
    "answers-kept": "a decision recorded as the processor's is what the processor answered; a refusal that comes after "
    "stand-in is recorded as one, which is told",
    "asked-after-durable": "the processor is asked only about payments that a journal had received, durably, before",
    "content-kept": "the content that a journal receives and that the processor is asked about and told is that which "
    "the hub sent",
}
"""Promises about payments that the hub sends."""

OUTBOUND = {
    "submissions-accounted": "every payment that the processor submitted ends in exactly one account",
    "taken-after-durable": "every acknowledged submission was durable before in the journal of the node that "
    "acknowledged it",
    "submissions-end": "every outbound payment in a journal is settled, unknown or certainly unsent in the end",
    "only-submitted": "nothing is recorded or leaves that the processor did not submit, under its own key",
    "sent-after-durable": "the hub sees no request and no repeat that was not durable in its sender's journal before",
    "sent-once": "a payment that may have left is sent again as a repeat, never as a new request",
    "executed-once": "no payment is carried out twice",
    "refused-means-nothing": "a submission that was not taken (503), or could not be (4xx), was neither recorded nor "
    "sent",
    "never-failed": "no payment that may have left a node is reported by it as unsent, or as refused when it was "
    "carried out",
    "settled-as-answered": "an outcome is a conclusive answer that the hub gave before, by the party that its code "
    "names",
    "settled-once": "no outbound payment has two outcomes",
    "outcome-as-recorded": "the processor hears no outcome that was not durable before in the journal of the node that "
    "gives it",
    "both-ends-agree": "the sender of a payment hears its receiver's timely answer, and an accepted payment is not "
    "reversed; a payment comes back if its receiver refuses it after the sender was told otherwise, and only then",
    "declined-by-news": "a node declines in the scheme's place only after the hub sent news, and after that news was "
    "durable in the node's journal",
    "hub-honest": "the hub passes on, decides and answers only submitted payments, accepts none that it did not pass "
    "on, passes each on as new once, and answers each with its one outcome, on a connection that asked",
    "processor-honest": "a processor's book has the result of an attempt for every payment that it submitted, each "
    "under one key",
    "content-sent": "the content that a journal has, that the hub gets and that the processor is told of is that which "
    "the processor submitted",
}
"""Promises about payments that the processor submits."""

COMMON = {
    "told": "every step that must be told was acknowledged by the processor, or parked where people look; only what "
    "was parked is dropped, and then it is never told",
    "told-in-order": "notices about one payment reach the processor in the journal's order",
    "told-what-happened": "every notice has a step in the journal, which was durable before and says the same",
    "journal-whole": "the journal's positions have no gap and never go back; a journal known to be new begins with a "
    "start; its durable part never changes",
    "news-kept": "all news that was acknowledged to the hub was durable in a journal before",
    "keys-kept": "each key that was reported to the hub as taken was durable in a journal before",
    "mischief-answered": "each mischief got the answer that the scheme prescribes, and nothing else",
}
"""Promises about both."""

SIMULATED = {
    "always-answered": "every payment that comes to a node with a working disk, token and link is replied to in time, "
    "whatever the processor does",
    "asked-first": "where nothing is broken, no payment is decided in the processor's stead before the processor is "
    "asked about it, or after it has answered",
    "within-rules": "stand-in accepts no more than its rules allow, each payment and each day, and no less; it accepts "
    "none from a suspended sender where the rules forbid that; news is not forgotten",
    "always-taken": "every submission to a node with a working disk, token and link is taken",
    "stopped": "while submitting is stopped at a node, the hub gets no request and no repeat from there that had not "
    "left before",
    "stops-rather-than-lies": "a process ends when it is told to, or when its disk fails it; and for no other reason",
    "nothing-leaks": "no log line and no metric shows an account, a name, an amount, a reference or an FPID",
}
"""Promises that only a simulation can judge: it knows what was broken, where and when, and sees all output."""

INVARIANTS = {**INBOUND, **OUTBOUND, **COMMON, **SIMULATED}
"""Each promise by name. A verdict holds one entry for each, checked or not."""

NINE = {
    "Nothing acts before it is durable": (
        "durable-before-reply", "asked-after-durable", "reversals-recorded", "taken-after-durable",
        "sent-after-durable", "outcome-as-recorded", "told-what-happened", "news-kept", "keys-kept",
    ),
    "One outcome per payment": (
        "one-outcome", "received-once", "answers-kept", "content-kept", "settled-once", "settled-as-answered",
        "executed-once", "both-ends-agree",
    ),
    "A reply leaves on the connection that brought its request, or not at all": (
        "hub-satisfied", "accounted", "mischief-answered",
    ),
    "Every payment is answered in time": (
        "in-time", "nobody-turned-away", "always-answered", "asked-first", "within-rules",
    ),
    "Nothing is forgotten": ("told", "told-in-order", "told-what-happened", "accounted", "submissions-accounted"),
    "An outbound payment that may have left is never reported as failed": (
        "never-failed", "sent-once", "submissions-end", "only-submitted", "refused-means-nothing", "declined-by-news",
        "content-sent", "stopped",
    ),
    "Losing any one thing interrupts nobody": ("always-answered", "always-taken"),
    "It stops rather than lies": ("stops-rather-than-lies", "journal-whole"),
    "Nothing sensitive leaks": ("nothing-leaks",),
}  # fmt: skip
"""The gateway's promises, in the order of its design, with the invariants by which each is judged."""
WITNESSES = ("hub-honest", "processor-honest")
"""The invariants that judge the witnesses."""


class Invariant(Struct):
    """One promise, and the results of checking it."""

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
    """Every promise, unchecked."""
    return {name: Invariant(name, sentence, first=[]) for name, sentence in INVARIANTS.items()}


def listed(items: object) -> str:
    """The items of a set or list, in words."""
    shown = [str(item) for item in items] if isinstance(items, (list, set)) else [str(items)]
    return ", ".join(sorted(shown)) if shown else "nothing"
