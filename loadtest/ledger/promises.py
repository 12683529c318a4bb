"""The promises that a ledger checks, each by name and as a sentence, and how one fared. Pure."""

from msgspec import Struct

SHOWN_MAX = 5
"""Violations of an invariant that are shown; the rest are counted."""

INBOUND = {
    "accounted": "every payment sent ends in exactly one account",
    "hub-satisfied": "every reply is on its request's link, in form, its MAC right, its fields copied, its code known",
    "durable-before-reply": "every reply that the hub has was decided, with the same code, in the journal of the node "
    "that replied, and durable there before",
    "one-outcome": "no payment has two outcomes at one node, in its journal or in the hub's ears; two sites, which "
    "share nothing, differ only where one has stood in for the processor, which hears of that",
    "in-time": "every payment is replied to within the hub's patience, or accounted for as reversed or given up",
    "nobody-turned-away": "no payment is refused because the bank's own systems are down (1909), but where its rules "
    "say so",
    "received-once": "no payment is taken in twice, and none that the hub did not send",
    "reversals-recorded": "every reversal is answered positively, and recorded, durably, before it is answered",
    "answers-kept": "a decision recorded as the processor's is what the processor answered; a refusal that comes after "
    "stand-in is recorded as one, which is told",
    "asked-after-durable": "the processor is asked only about payments that a journal had received, durably, before",
    "content-kept": "what a journal receives, and what the processor is asked about and told, is what the hub sent",
}
"""Of payments that the hub sends."""

OUTBOUND = {
    "submissions-accounted": "every payment that the processor submitted ends in exactly one account",
    "taken-after-durable": "every submission that was acknowledged was durable in the journal of who did so, before",
    "submissions-end": "every outbound payment in a journal is settled, unknown or surely unsent in the end",
    "only-submitted": "nothing is recorded or leaves that the processor did not submit, under its own key",
    "sent-after-durable": "the hub sees no request and no repeat that was not durable in its sender's journal before",
    "sent-once": "what may have left goes again as a repeat, never as a new request",
    "executed-once": "no payment is carried out twice",
    "refused-means-nothing": "what was not taken (503), or could not be (4xx), was neither recorded nor sent",
    "never-failed": "no payment that may have left a node is reported by it as unsent, or as refused when it was "
    "carried out",
    "settled-as-answered": "an outcome is what the hub answered before, conclusively, and said by whom its code says",
    "settled-once": "no outbound payment has two outcomes",
    "outcome-as-recorded": "the processor hears no outcome that was not durable in the journal of who says so before",
    "both-ends-agree": "the sender of a payment hears what its receiver said in time, and what was accepted is not "
    "reversed; what its receiver refuses after the sender was told otherwise comes back, and nothing else does",
    "declined-by-news": "what is declined as the scheme would is declined after news that the hub sent, and that "
    "was durable in the journal of who declines",
    "hub-honest": "the hub passes on, decides and answers only what was submitted, accepts nothing that it did not "
    "pass on, passes it on as new once, and answers each with its one outcome, on a connection that asked",
    "processor-honest": "a processor's book says how an attempt went of every payment that it submitted, each under "
    "one key",
    "content-sent": "what a journal submits, what the hub gets and what the processor is told of is what it submitted",
}
"""Of payments that the processor submits."""

COMMON = {
    "told": "every step that must be told was acknowledged by the processor, or parked where people look; only what "
    "was parked is dropped, and then it is never told",
    "told-in-order": "notices about one payment reach the processor in the journal's order",
    "told-what-happened": "every notice has its step in the journal, durable before, and says what it says",
    "journal-whole": "the journal's positions have no gap and never go back; where it is known to be new, it begins "
    "with a start; what was durable in it stays as it was",
    "news-kept": "what news the hub had acknowledged stood in a journal, durably, before",
    "keys-kept": "each key that the hub was told is taken stood in a journal, durably, before",
    "mischief-answered": "each mischief got the answer that the scheme prescribes, and nothing else",
}
"""Of both."""

SIMULATED = {
    "always-answered": "every payment that comes to a node with a disk, a token and this link at work is replied to in "
    "time, whatever the processor does",
    "asked-first": "where nothing is broken, nothing is decided in the processor's stead that it was not asked about, "
    "or has answered",
    "within-rules": "stand-in accepts no more than its rules allow, each payment and each day, and no less; none of a "
    "sender that is suspended where the rules withhold it then; news is not forgotten",
    "always-taken": "every submission to a node with a disk, a token and a link at work is taken",
    "stops-rather-than-lies": "a process ends only when it is ended, or because of what was done to its disk; and then "
    "it does",
    "nothing-leaks": "no log line and no metric shows an account, a name, an amount, a reference or an FPID",
}
"""What only those can judge who know what was broken, where and when, and who see all that is shown: a simulation."""

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
        "content-sent",
    ),
    "Losing any one thing interrupts nobody": ("always-answered", "always-taken"),
    "It stops rather than lies": ("stops-rather-than-lies", "journal-whole"),
    "Nothing sensitive leaks": ("nothing-leaks",),
}  # fmt: skip
"""What the gateway promises, in the order of its design, and by which invariants each is judged."""
WITNESSES = ("hub-honest", "processor-honest")
"""Those are judged who testify."""


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
