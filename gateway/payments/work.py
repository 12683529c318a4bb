"""Work that the engine hands to a shell and gets back with its result: a MAC to make or verify, a question to the
processor. Plain values with slots, made once for each payment and stage. The engine subclasses them.
"""

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from gateway.payments.outbound_law import State
from gateway.wire.message import PaymentRequest

MacError = Literal["", "wrong-mac", "unavailable"]


class MacJob:
    """One MAC, in a token: to make, or, when `mac` is given, to verify."""

    __slots__ = ("attempts", "context", "data", "deadline_s", "done", "error", "key", "mac", "made", "ok", "urgent")

    def __init__(self, key: str, data: bytes, *, deadline_s: float, mac: bytes = b"", context: Any = None) -> None:
        self.key = key
        """The label of the key."""
        self.data = data
        """The bytes that are covered."""
        self.mac = mac
        """Eight bytes to verify; none: make one."""
        self.deadline_s = deadline_s
        """On the monotonic clock. After it the result is of no use, and the error is `unavailable`."""
        self.context = context
        """The asker's."""
        self.ok = False
        """Made, or right."""
        self.made = b""
        """The MAC that was made: eight bytes."""
        self.error: MacError = ""
        self.done = False
        """The asker has been told."""
        self.attempts = 0
        """Tokens that were lost while they had this job."""
        self.urgent = not mac
        """Goes before jobs that are not urgent: replies that are owed before new payments."""


class Install(Struct, frozen=True, array_like=True, gc=False):
    """A key that every token holds: by its label alone when a ceremony brought it there, and with its value under the
    transport key when it came in band.
    """

    label: str
    wrapped: bytes = b""
    check: str = ""
    """Its check value, upper-case hex: a token that computes another one does not take the key. Empty: a ceremony's."""

    def __repr__(self) -> str:
        """Nothing that is in DE125: a wrapped key belongs into no log."""
        return f"<Install {self.label}>"


class Ask:
    """A payment to ask the processor about."""

    __slots__ = (
        "asked_s",
        "attempts",
        "context",
        "crossings",
        "deadline_s",
        "dropped",
        "fpid",
        "request",
        "unusual_date",
        "void",
    )

    def __init__(
        self,
        fpid: str,
        request: PaymentRequest,
        deadline_s: float,
        context: Any = None,
        *,
        unusual_date: bool = False,
    ) -> None:
        self.fpid = fpid
        self.request = request
        self.unusual_date = unusual_date
        """The processor must hear that its date is outside the window (`dates`)."""
        self.deadline_s = deadline_s
        """Its stand-in deadline, on the monotonic clock."""
        self.context = context
        """The asker's."""
        self.asked_s = 0.0
        self.attempts = 0
        self.crossings = 0
        """How often it was sent and not read, because its connection was being closed."""
        self.void = False
        """Set by the asker when it wants no answer any more: a question that has not left is not sent."""
        self.dropped = False
        """Set by the client when it had no room for this question: it is never sent."""


class Answer:
    """The processor's decision."""

    __slots__ = ("code", "context", "field", "fpid")

    def __init__(self, fpid: str, code: str, field: str, context: Any) -> None:
        self.fpid = fpid
        self.code = code
        """DE26."""
        self.field = field
        """DE44, three digits, or empty."""
        self.context = context
        """The ask's."""


class Standing(Struct, frozen=True, gc=False):
    """Where an outbound payment stands: what the processor hears when it submits or looks.

    Many are remembered: the garbage collector need not look at them.
    """

    fpid: str
    state: State
    """Every state but `SETTLED`, `UNKNOWN` and `UNSENT` means that it is under way."""
    code: str = ""
    """DE26, once settled; the hub's last inconclusive code when `UNKNOWN`, or empty."""
    field: str = ""
    """DE44, or empty."""
    by: str = ""
    """`receiver` or `hub`."""
    redirected_agent: str = ""
    """DE57, when the hub says that the account was redirected."""
    redirected_account: str = ""
    """DE58."""
    settlement: str = ""
    """DE15 and DE29, when the hub says them."""
    asynchronous: str = ""
    """DE27."""


Refused = Literal["", "unavailable", "conflict"]


class Submission:
    """A payment that the processor submits.

    The engine calls `done` in the trio thread, with the result set: when it is refused, or durable, or has an outcome
    already; and, with `wait`, once more when there is an outcome.
    """

    __slots__ = (
        "code", "content", "covered", "done", "key", "refused", "request", "stale", "standing", "void", "wait", "why",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        request: PaymentRequest,
        covered: bytes,
        content: bytes,
        done: Callable[["Submission"], None],
        *,
        wait: bool,
    ) -> None:
        self.key = key
        """The processor's idempotency key."""
        self.request = request
        """As it will leave: whole, with its TRN; `body` is empty. It fits the field table."""
        self.covered = covered
        """The same as bytes: the 9200 up to and without DE128."""
        self.content = content
        """Digest of what was submitted, eight bytes."""
        self.done = done
        self.wait = wait
        """To be told of the outcome too."""
        self.void = False
        """The submitter waits no longer, and has set this: `done` is not called again."""
        self.stale = ""
        """Why it may be too old to be taken up, in our words: the submitter may have given it up."""
        self.refused: Refused = ""
        """`unavailable`: nothing was recorded, try again or at the other site. `conflict`: the key, or the FPID, is
        another payment's. Empty: see `standing`."""
        self.why = ""
        """Why it is refused, in our words."""
        self.code = ""
        """`unavailable`, because the scheme would refuse it now: the code (DE26) that it would say."""
        self.standing: Standing | None = None

    def refuse(self, why: str) -> None:
        """Say that it is not taken: nothing is recorded, nothing leaves."""
        self.refused, self.why = "unavailable", why
        self.done(self)

    def report(self, standing: Standing) -> None:
        """Say where it stands, unless the submitter waits no longer."""
        if not self.void:
            self.standing = standing
            self.done(self)
