"""The law of a session, as tables: which state follows which, and which message is sent on the way. Pure data;
`session` obeys it.

**Directions.** We sign on to receive (891) and to submit (881) in two exchanges that know nothing of each other. Each
direction is a machine of its own over the table `DIRECTIONS`, and has at most one exchange outstanding: when our wish
changes while the hub has yet to respond, the machine remembers the wish and acts on the response. The wish follows from
four things: the configuration, `hold` (not ready: off to receive until `resume`), `drain` (off to receive for good;
payments in flight still get their replies) and `finish` (off in both directions, then `Finished`). They may be called
in any order and any number of times.

A sign-on that the hub refuses, or does not respond to in time, is repeated with doubling pauses for as long as the link
lives. When `SIGN_ONS_MAX` in a row have no response, in each direction that we want, and no payment comes meanwhile,
the hub is `Lost`, also when it answers echoes: the next connection may lead to a hub that answers all. After silence
the hub may have us signed on or not. So a sign-on in doubt that is no longer wanted is signed off, and a sign-off that
was refused or unanswered is repeated, while the gateway behaves as if it had succeeded.

**Echo.** After `echo_after_s` without a byte from the hub we send an echo (831); a sign-on that meets silence asks for
one at once. Any byte shows that the link lives. After `echo_misses_max` echoes in a row that met nothing but silence
the hub is `Lost`. When this process stood still, the hub may have gone without a word: an echo asks at once, and one
silence is enough. This is the table `ECHOES`. The hub's own echo always gets a response, also while draining and
finishing.

**The hub's other requests** are in the table `REQUESTS`. A 9814 copies DE7, DE11 and DE24, and says 0000, or 1909 for a
function that we do not have. Key management (811, 885, 886) does not come here: the engine hands it to `keyring`. A
sign-off by the hub is accepted, and we sign on again after a pause. A 9824 is acknowledged with 9834; the caller passes
it here only after it is durable. A 9624 is reported.

**Responses** are matched by DE7, DE11 and DE24. One that matches nothing (a wrong id, too late) changes nothing and is
reported.
"""

from enum import Enum
from typing import Final, Literal, NamedTuple

from gateway import config
from gateway.wire.codes import ACCEPTED, MALFUNCTION
from gateway.wire.message import Message

# --- actions


class Direction(Enum):
    """The purpose of a sign-on."""

    RECEIVE = "receive"
    SUBMIT = "submit"


def wanted(settings: config.Session) -> tuple[Direction, ...]:
    """The directions that we sign on in."""
    wants = {Direction.RECEIVE: settings.receive, Direction.SUBMIT: settings.submit}
    return tuple(direction for direction, is_wanted in wants.items() if is_wanted)


ReportName = Literal[
    "sign-on refused",
    "sign-on unanswered",
    "sign-off refused",
    "sign-off unanswered",
    "signed off by hub",
    "echo unanswered",
    "response unplaced",
    "advice",
    "usm",
    "function unsupported",
    "request malformed",
]


class Send(NamedTuple):
    """Send this message: it has no DE128 yet."""

    message: Message


class Changed(NamedTuple):
    """From now on we are, or are not, signed on in this direction."""

    direction: Direction
    on: bool


class Report(NamedTuple):
    """An event for logs and metrics; nothing has to be done about it."""

    name: ReportName
    direction: Direction | None = None
    function_code: str = ""
    code: str = ""
    """DE26, where the hub said one."""
    message_id: str = ""


class Lost(NamedTuple):
    """The hub is gone: close the connection and dial again."""

    reason: str


class Finished(NamedTuple):
    """Signed off in both directions as far as the hub lets us: close the connection."""


Action = Send | Changed | Report | Lost | Finished


# --- the table of a direction


class SignOnState(Enum):
    """Where a direction stands. An exchange is outstanding in the four states that say so."""

    OFF = "off"
    """Not signed on, and not wanted."""
    SIGNING_ON = "signing on"
    """Sign-on outstanding."""
    REVOKED = "signing on, revoked"
    """Sign-on outstanding, but no longer wanted."""
    ON = "on"
    SIGNING_OFF = "signing off"
    """Sign-off outstanding."""
    RESTORED = "signing off, restored"
    """Sign-off outstanding, but wanted again."""
    REFUSED = "refused"
    """Wanted, but the hub said no or signed us off: pausing."""
    IN_DOUBT = "in doubt"
    """Wanted; a sign-on went unanswered, so the hub may have us signed on or not: pausing."""
    LINGERING = "lingering"
    """Not wanted; the hub refused our sign-off or did not respond to it, and may have us signed on: pausing."""


class SignOnEvent(Enum):
    """Events of a direction."""

    WANT = "want"
    UNWANT = "unwant"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNCLEAR = "unclear"
    """No response in time; or a refusal of a sign-on after an exchange that had none: it may say "you are already"."""
    PAUSED = "paused"
    """The pause is over."""
    SIGNED_OFF = "signed off"
    """By a request of the hub."""


class SignOnDo(Enum):
    """Deeds that go with a change of state."""

    NOTHING = "nothing"
    SIGN_ON = "sign on"
    SIGN_OFF = "sign off"
    REST = "rest"
    """Start a pause, twice the last one."""


Transition = tuple[SignOnState, SignOnDo]

# A pair that is not here cannot happen: responses and time-outs need an exchange, the end of a pause needs a pause,
# and WANT and UNWANT alternate.
DIRECTIONS: Final[dict[tuple[SignOnState, SignOnEvent], Transition]] = {
    (SignOnState.OFF, SignOnEvent.WANT): (SignOnState.SIGNING_ON, SignOnDo.SIGN_ON),
    (SignOnState.OFF, SignOnEvent.SIGNED_OFF): (SignOnState.OFF, SignOnDo.NOTHING),
    (SignOnState.SIGNING_ON, SignOnEvent.UNWANT): (SignOnState.REVOKED, SignOnDo.NOTHING),
    (SignOnState.SIGNING_ON, SignOnEvent.ACCEPTED): (SignOnState.ON, SignOnDo.NOTHING),
    (SignOnState.SIGNING_ON, SignOnEvent.REFUSED): (SignOnState.REFUSED, SignOnDo.REST),
    (SignOnState.SIGNING_ON, SignOnEvent.UNCLEAR): (SignOnState.IN_DOUBT, SignOnDo.REST),
    # the two crossed: the hub's response to our sign-on comes after it and decides
    (SignOnState.SIGNING_ON, SignOnEvent.SIGNED_OFF): (SignOnState.SIGNING_ON, SignOnDo.NOTHING),
    (SignOnState.REVOKED, SignOnEvent.WANT): (SignOnState.SIGNING_ON, SignOnDo.NOTHING),
    (SignOnState.REVOKED, SignOnEvent.ACCEPTED): (SignOnState.SIGNING_OFF, SignOnDo.SIGN_OFF),
    (SignOnState.REVOKED, SignOnEvent.REFUSED): (SignOnState.OFF, SignOnDo.NOTHING),
    (SignOnState.REVOKED, SignOnEvent.UNCLEAR): (SignOnState.SIGNING_OFF, SignOnDo.SIGN_OFF),
    (SignOnState.REVOKED, SignOnEvent.SIGNED_OFF): (SignOnState.REVOKED, SignOnDo.NOTHING),
    (SignOnState.ON, SignOnEvent.UNWANT): (SignOnState.SIGNING_OFF, SignOnDo.SIGN_OFF),
    (SignOnState.ON, SignOnEvent.SIGNED_OFF): (SignOnState.REFUSED, SignOnDo.REST),
    (SignOnState.SIGNING_OFF, SignOnEvent.WANT): (SignOnState.RESTORED, SignOnDo.NOTHING),
    (SignOnState.SIGNING_OFF, SignOnEvent.ACCEPTED): (SignOnState.OFF, SignOnDo.NOTHING),
    (SignOnState.SIGNING_OFF, SignOnEvent.REFUSED): (SignOnState.LINGERING, SignOnDo.REST),
    (SignOnState.SIGNING_OFF, SignOnEvent.UNCLEAR): (SignOnState.LINGERING, SignOnDo.REST),
    (SignOnState.SIGNING_OFF, SignOnEvent.SIGNED_OFF): (SignOnState.SIGNING_OFF, SignOnDo.NOTHING),
    #
    # whatever became of the sign-off, a sign-on settles it
    (SignOnState.RESTORED, SignOnEvent.UNWANT): (SignOnState.SIGNING_OFF, SignOnDo.NOTHING),
    (SignOnState.RESTORED, SignOnEvent.ACCEPTED): (SignOnState.SIGNING_ON, SignOnDo.SIGN_ON),
    (SignOnState.RESTORED, SignOnEvent.REFUSED): (SignOnState.SIGNING_ON, SignOnDo.SIGN_ON),
    (SignOnState.RESTORED, SignOnEvent.UNCLEAR): (SignOnState.SIGNING_ON, SignOnDo.SIGN_ON),
    (SignOnState.RESTORED, SignOnEvent.SIGNED_OFF): (SignOnState.RESTORED, SignOnDo.NOTHING),
    (SignOnState.REFUSED, SignOnEvent.UNWANT): (SignOnState.OFF, SignOnDo.NOTHING),
    (SignOnState.REFUSED, SignOnEvent.PAUSED): (SignOnState.SIGNING_ON, SignOnDo.SIGN_ON),
    (SignOnState.REFUSED, SignOnEvent.SIGNED_OFF): (SignOnState.REFUSED, SignOnDo.NOTHING),
    (SignOnState.IN_DOUBT, SignOnEvent.UNWANT): (SignOnState.SIGNING_OFF, SignOnDo.SIGN_OFF),
    (SignOnState.IN_DOUBT, SignOnEvent.PAUSED): (SignOnState.SIGNING_ON, SignOnDo.SIGN_ON),
    # no request of ours is on its way to the hub any more: it has the last word
    (SignOnState.IN_DOUBT, SignOnEvent.SIGNED_OFF): (SignOnState.REFUSED, SignOnDo.NOTHING),
    (SignOnState.LINGERING, SignOnEvent.WANT): (SignOnState.SIGNING_ON, SignOnDo.SIGN_ON),
    (SignOnState.LINGERING, SignOnEvent.PAUSED): (SignOnState.SIGNING_OFF, SignOnDo.SIGN_OFF),
    (SignOnState.LINGERING, SignOnEvent.SIGNED_OFF): (SignOnState.OFF, SignOnDo.NOTHING),
}

SIGNING_ON: Final = frozenset({SignOnState.SIGNING_ON, SignOnState.REVOKED})
EXCHANGING: Final = SIGNING_ON | {SignOnState.SIGNING_OFF, SignOnState.RESTORED}
"""States with an exchange outstanding."""
RESTING: Final = frozenset({SignOnState.REFUSED, SignOnState.IN_DOUBT, SignOnState.LINGERING})
"""States with a pause running."""

SIGN_ON: Final = {Direction.RECEIVE: "891", Direction.SUBMIT: "881"}
SIGN_ONS_MAX: Final = 3
"""Sign-ons in a row without a response, in each direction that is wanted, after which the link is of no use."""
SIGN_OFF: Final = {Direction.RECEIVE: "892", Direction.SUBMIT: "882"}

# --- the table of echoes


class EchoState(Enum):
    """Where our own echoes stand."""

    LISTENING = "listening"
    ASKED = "asked"
    """An echo is outstanding, and nothing came since it was sent."""
    HEARD = "heard"
    """An echo is outstanding, but something else came: the link lives."""


class EchoEvent(Enum):
    """Events of our echoes."""

    SILENCE = "silence"
    FRAME = "frame"
    """Any bytes from the hub."""
    RESPONSE = "response"
    OVERDUE = "overdue"
    LAST_OVERDUE = "last overdue"
    """Overdue, and `echo_misses_max` reached."""
    DOUBT = "doubt"
    """This process stood still: bytes and echoes from before say nothing."""


class EchoDo(Enum):
    """Deeds that go with a change of state."""

    NOTHING = "nothing"
    ECHO = "echo"
    REPORT = "report"
    REPEAT = "report and echo"
    LOSE = "report and give up"


ECHOES: Final[dict[tuple[EchoState, EchoEvent], tuple[EchoState, EchoDo]]] = {
    (EchoState.LISTENING, EchoEvent.SILENCE): (EchoState.ASKED, EchoDo.ECHO),
    (EchoState.LISTENING, EchoEvent.FRAME): (EchoState.LISTENING, EchoDo.NOTHING),
    (EchoState.ASKED, EchoEvent.FRAME): (EchoState.HEARD, EchoDo.NOTHING),
    (EchoState.ASKED, EchoEvent.RESPONSE): (EchoState.LISTENING, EchoDo.NOTHING),
    (EchoState.ASKED, EchoEvent.OVERDUE): (EchoState.ASKED, EchoDo.REPEAT),
    (EchoState.ASKED, EchoEvent.LAST_OVERDUE): (EchoState.LISTENING, EchoDo.LOSE),
    (EchoState.HEARD, EchoEvent.FRAME): (EchoState.HEARD, EchoDo.NOTHING),
    (EchoState.HEARD, EchoEvent.RESPONSE): (EchoState.LISTENING, EchoDo.NOTHING),
    (EchoState.HEARD, EchoEvent.OVERDUE): (EchoState.LISTENING, EchoDo.REPORT),
    (EchoState.LISTENING, EchoEvent.DOUBT): (EchoState.ASKED, EchoDo.ECHO),
    (EchoState.ASKED, EchoEvent.DOUBT): (EchoState.ASKED, EchoDo.ECHO),
    (EchoState.HEARD, EchoEvent.DOUBT): (EchoState.ASKED, EchoDo.ECHO),
}

ECHO: Final = "831"

# --- the table of the hub's requests


class Response(NamedTuple):
    """How we respond to a 9804 of the hub."""

    code: str
    """DE26 of the 9814."""
    report: ReportName | None = None
    signs_off: Direction | None = None


REQUESTS: Final[dict[str, Response]] = {
    "831": Response(ACCEPTED),
    "882": Response(ACCEPTED, "signed off by hub", Direction.SUBMIT),
    "892": Response(ACCEPTED, "signed off by hub", Direction.RECEIVE),
}
"""By DE24. Every other request of the hub gets `UNKNOWN`; so does a sign-on, which is ours to ask for."""
UNKNOWN: Final = Response(MALFUNCTION, "function unsupported")
