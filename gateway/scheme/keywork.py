"""What the story of the keys hands to the shells: its commands, and its notes for people."""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final, NamedTuple, Protocol

from gateway.payments.links import Link
from gateway.payments.steps import Kind
from gateway.payments.work import Install
from gateway.wire.message import Message


class Note(Enum):
    """What people may want to hear of."""

    CHANGED = auto()
    IN_FORCE = auto()
    REFUSED = auto()
    MALFORMED = auto()
    REPLACED = auto()
    REWRAPPED = auto()
    VERIFICATION_REFUSED = auto()
    VERIFICATION_UNANSWERED = auto()
    GIVEN_UP = auto()
    HUB_VERIFIED = auto()
    HUB_DISAGREES = auto()
    HUB_ASKED = auto()
    SUPERSEDED_AGAIN = auto()
    ALLOWED = auto()
    ASKED = auto()
    ASKING_REFUSED = auto()
    ASKING_UNANSWERED = auto()
    OVERLAP_OVER = auto()
    UNPLACED = auto()


SAID: Final[dict[Note, tuple[str, str]]] = {
    Note.CHANGED: ("info", "new key accepted: the tokens have it"),
    Note.IN_FORCE: ("warning", "new key in force"),
    Note.REFUSED: ("error", "new key refused"),
    Note.MALFORMED: ("error", "key message refused: its key data cannot be taken apart"),
    Note.REWRAPPED: ("info", "key in use came under another transport key: the tokens have it"),
    Note.REPLACED: ("warning", "key on trial replaced by another one"),
    Note.VERIFICATION_REFUSED: ("warning", "key verification refused by the hub"),
    Note.VERIFICATION_UNANSWERED: ("warning", "key verification unanswered"),
    Note.GIVEN_UP: ("error", "new key not verified: the key before stays in force"),
    Note.HUB_VERIFIED: ("info", "the hub verified a key"),
    Note.HUB_DISAGREES: ("error", "the hub verifies a key that we do not have"),
    Note.HUB_ASKED: ("warning", "the hub asks us for a key, which is its own to give"),
    Note.SUPERSEDED_AGAIN: ("error", "key refused: it was superseded, and comes back only by an operator's act"),
    Note.ALLOWED: ("warning", "an operator allows a superseded key to come back"),
    Note.ASKED: ("info", "new key asked for"),
    Note.ASKING_REFUSED: ("error", "the hub gives no new key"),
    Note.ASKING_UNANSWERED: ("error", "the request for a new key is unanswered"),
    Note.OVERLAP_OVER: ("info", "superseded key accepted no longer"),
    Note.UNPLACED: ("warning", "response about keys belongs to nothing we asked"),
}
"""How loud each note is, and how it is said."""

Done = Callable[[str], None]
"""Hears why an operator's order was refused, or nothing once it is durable."""


class Sent(NamedTuple):
    """How a response names the request that it is to, besides DE24."""

    transmission_time: str
    """DE7."""
    message_id: str
    """DE11."""


class Commands(Protocol):
    """What the story asks of the shells. None of these may call back at once: what comes of them comes later."""

    def record(self, kind: Kind, body: bytes, fpid: str, link: Link) -> int:
        """Append a record; returns its position."""

    def when_keys_recorded(self, position: int) -> None:
        """Bring `on_recorded` when everything up to `position` is durable."""

    def when_allowed(self, position: int, done: Done) -> None:
        """Call `done("")` when everything up to `position` is durable."""

    def transmit(self, link: Link, message: Message) -> None:
        """Send a response by this link, with a MAC by the key that is `own` now; lost when the link is gone."""

    def request(self, function_code: str, key_data: str, link: Link | None, sign_with: str = "") -> Sent | None:
        """Send a 9804 by this link, or, when it is gone or None, by any that stands; with a MAC by the key of the label
        `sign_with`, or else the one that is `own` now. Returns how its response names it; None when there is no link.
        """

    def hold(self, keys: tuple[Install, ...]) -> None:
        """From now on tokens must have these keys (and the seal key) to serve, and no others."""

    def install(self, key: Install) -> None:
        """Have every serving token take this key, too; bring `on_installed`."""

    def check_of(self, label: str) -> str:
        """The check value of a key as the tokens compute it, upper-case hex; empty when none has said."""

    def note_key(self, note: Note, label: str, detail: str = "") -> None:
        """Something worth a log line or a count (`SAID`); the label may be shown, and the detail."""
