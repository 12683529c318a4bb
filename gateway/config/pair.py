"""The settings that both sites must share: the scheme's rules, and what the bank has agreed with it."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from gateway.config.kinds import (
    AnyCode,
    Count,
    DaysApart,
    Group,
    HubCode,
    InstitutionId,
    KeyPart,
    KeyPlace,
    KeyUse,
    Name,
    PaymentTypeCode,
    RefusalCode,
    Seconds,
    SomeHubCode,
    StandInMode,
)


class Wire(Struct, frozen=True, forbid_unknown_fields=True):
    """The form of frames and messages (docs/protocol.md section 1)."""

    header_bytes: Literal[2, 4] = 4
    """Width of the length header."""
    header_format: Literal["binary", "ascii"] = "binary"
    """Form of the length: big-endian binary, or decimal digits."""
    header_inclusive: bool = False
    """Whether the length includes the header."""
    frame_bytes_max: Annotated[int, Meta(ge=512, le=65535)] = 8192
    """Longest frame. A longer one ends the connection, because its length cannot be right. Messages of the built-in
    field table stay below 4 KiB."""
    field_table: str = ""
    """Path of a field table that replaces the built-in `gateway/wire/fps.toml`."""
    usm_table: str = ""
    """Path of a table that replaces the built-in `gateway/wire/usm.toml`: the meanings of the values in unsolicited
    messages."""
    code_table: str = ""
    """Path of a table that replaces the built-in `gateway/wire/codes.toml`: the action codes, with who says each and
    what it says."""


class Mac(Struct, frozen=True, forbid_unknown_fields=True):
    """The message authentication code, DE128 (docs/protocol.md section 7). Each key is named by the label of a secret
    key in the token.
    """

    algorithm: Literal["aes-cmac", "hmac-sha256", "des3-retail"] = "aes-cmac"
    """How the 64 bits are made: the leftmost bits of AES-CMAC or HMAC-SHA-256, or the retail MAC of DES3."""
    hub_key: Name = "fps-hub"
    """The key that the hub signs with. We verify with it."""
    own_key: Name = "fps-own"
    """The key that we sign with."""
    seal_key: Name = "fps-seal"
    """The key that seals the journal's chain."""


class Keys(Struct, frozen=True, forbid_unknown_fields=True):
    """Key changes in band (docs/protocol.md section 7): how a new key travels, is proved, and comes into force."""

    transport_key: Name = "fps-transport"
    """The key that the hub wraps new keys with: the label of a key that may only unwrap, in every token."""
    wrapping: Literal["aes-key-wrap", "aes-key-wrap-pad", "des3-ecb", "des3-cbc"] = "aes-key-wrap"
    """How a key is wrapped: RFC 3394, RFC 5649, or triple DES (CBC from a zero vector). Where a token has another
    number for the mechanism, set `node.token.wrapping_mechanism`."""
    check_value: Literal["mac-zeros", "encrypt-zeros"] = "mac-zeros"
    """How a key's check value is made: the leftmost digits of its MAC over 16 zero bytes, or of a block of zeros that
    it encrypts."""
    layout: tuple[KeyPlace, ...] = (
        "use:1", "wrapped:*", "check:6",
    )  # fmt: skip
    """The parts of DE125 in their order, each with its width in characters. `*` takes what the others leave. Key and
    check value are hex digits."""
    change_carries: tuple[KeyPart, ...] = ("use", "wrapped", "check")
    """The parts that a key change (811) has. Without `use`, a change is about the key that we sign with."""
    verify_carries: tuple[KeyPart, ...] = ("use", "check")
    """The parts that a key verification (886) has."""
    request_carries: tuple[KeyPart, ...] = ("use",)
    """The parts that a request for a new key (885) has."""
    hub_use: KeyUse = "1"
    """The value of `use` for the key that the hub signs with."""
    own_use: KeyUse = "2"
    """The value of `use` for the key that we sign with."""
    in_force: Literal["verified", "changed"] = "verified"
    """When a new key comes into force: when the hub has accepted its verification (886), or already when we have
    accepted the change (811)."""
    overlap_s: Seconds = 60.0
    """How long the previous key is still accepted after a new one comes into force. At least
    `pair.deadlines.reply_within_s`, because payments in flight were signed with the previous key."""
    verify_every_s: Seconds = 5.0
    """Pause before a verification (886) is sent again, when the hub refused it or did not respond."""
    verify_max: Annotated[int, Meta(ge=1, le=100)] = 6
    """Verifications sent in all. After the last one the previous key stays in force, and people must look."""


class Deadlines(Struct, frozen=True, forbid_unknown_fields=True):
    """How long a payment may take. Each deadline counts from the first byte of the request (docs/protocol.md section
    6).
    """

    stand_in_after_s: Seconds = 5.0
    """Time that the processor has to answer. After it, stand-in answers."""
    decline_after_s: Annotated[float, Meta(ge=0, le=86400 * 30)] = 0.0
    """Time that the processor has to answer a payment that stand-in may not accept. After it, the payment is refused or
    left unanswered (`pair.stand_in.otherwise`). 0: three quarters of the way from `stand_in_after_s` to
    `reply_within_s`."""
    reply_within_s: Seconds = 9.0
    """Time that a reply has to leave. A later one is not sent at all: the hub would have given up."""
    hub_patience_s: Seconds = 10.0
    """Time after which the hub considers the receiver timed out. The value is not public: ask the scheme."""
    sender_answer_s: Seconds = 15.0
    """Time within which the sending bank must have its answer (certain)."""

    @property
    def last_moment_s(self) -> float:
        """`decline_after_s`, or the time that 0 stands for."""
        way_s = self.reply_within_s - self.stand_in_after_s
        return self.decline_after_s or self.stand_in_after_s + 0.75 * way_s


class StandIn(Struct, frozen=True, forbid_unknown_fields=True):
    """The gateway's own answer when the processor does not answer, and the payments that may have it.

    Limits are per process: a bank that takes payments at two sites and in several groups divides what it allows.
    """

    code: Annotated[str, Meta(pattern=r"^0[0-9]{3}\Z", description="four digits, the first of them 0")] = "0080"
    """The qualified accept that stand-in gives. It must be in the code table (`gateway/wire/codes.toml`), which says
    what each tells the sender. 0080 names no day and is never untrue; to promise a day is the bank's own decision. An
    earlier default was 0083, the next working day: a bank that means it must write it down."""
    mode: StandInMode = "timer"
    """timer: stand in when the processor has not answered in time. always: stand in at once, without asking (the
    processor is being maintained). never: do not stand in. An operator can switch the mode while the gateway runs
    (`fps-gateway stand-in`); the switch holds over restarts, until this setting is changed. The latest order counts."""
    amount_max: Annotated[int, Meta(ge=0, le=10**14)] = 0
    """Largest amount that stand-in may accept, in pence. 0: any."""
    daily_total_max: Annotated[int, Meta(ge=0, le=10**16)] = 0
    """Largest sum that stand-in may accept in one day, in pence. A day is a date in UTC, by the wall clock. Payments
    that are reversed later still count. 0: any."""
    payment_types: tuple[PaymentTypeCode, ...] = ()
    """Payment types that stand-in may accept. None: all."""
    sort_codes: tuple[Annotated[str, Meta(pattern=r"^[0-9]{1,11}\Z", description="1 to 11 digits")], ...] = ()
    """Beginnings of the beneficiary's sort code (DE95) that stand-in may accept. None: any."""
    withhold_while_suspended: bool = False
    """Whether stand-in is withheld while, by the scheme's news, the service, we or the sender are suspended. The hub
    refuses what a suspended sender submits, and has admitted all that it sends us. So this is only for a bank whose own
    rules ask for it."""
    otherwise: Literal["1909", "nothing"] = "1909"
    """The answer to a payment that stand-in may not accept, when the processor has not answered by `decline_after_s`: a
    refusal (system malfunction), or no answer, so that the hub reverses or repeats the payment. Stand-in always accepts
    what the scheme says must be accepted."""


class Submit(Struct, frozen=True, forbid_unknown_fields=True):
    """How a payment of ours is repeated until the hub has said what became of it."""

    answer_within_s: Seconds = 16.0
    """Time that the hub has to answer. After it, the payment is repeated (9201). The hub owes an answer after
    `pair.deadlines.sender_answer_s`."""
    pause_s: Seconds = 0.5
    """First pause before a repeat, when the link was lost or the hub's answer settled nothing. The pause doubles, up to
    `pause_max_s`."""
    pause_max_s: Seconds = 15.0
    """Longest pause before a repeat."""
    repeats_max: Annotated[int, Meta(ge=0, le=100)] = 5
    """Repeats of one payment at most. After the last one, a payment that may have left is UNKNOWN."""
    repeat_for_s: Seconds = 120.0
    """Age from which nothing is sent for a payment any more, counted from its submission, also over a restart. Only
    another submission by the processor begins anew."""
    inconclusive_codes: tuple[AnyCode, ...] = ("9909", "9913")
    """Answers of the hub that do not say what became of the payment: the hub malfunctioned, or knows the FPID
    already."""
    request_codes: tuple[SomeHubCode, ...] = ("9902", "9930", "9934", "9935", "9936")
    """Answers of the hub that judge the request, not the payment. Where an earlier request may have left, they do not
    settle the payment either."""


class News(Struct, frozen=True, forbid_unknown_fields=True):
    """What the scheme's news (9824) changes. Each `_code` refuses, here, a payment that the hub would refuse; an empty
    one leaves the refusal to the hub.
    """

    own_institutions: tuple[InstitutionId, ...] = ()
    """Our own ids and sort codes as DE100 may have them, besides DE98 of the payments that we submit and DE99 of those
    that we receive."""
    members: dict[InstitutionId, tuple[InstitutionId, ...]] = {}
    """For each institution that news may be about: the beginnings of the sort codes that it answers for. A sort code
    that equals an institution's id belongs to it without being listed."""
    service_suspended_code: HubCode = "9943"
    """The service is suspended."""
    sender_suspended_code: HubCode = "9944"
    """We are suspended."""
    receiver_suspended_code: HubCode = "9945"
    """The receiving institution is suspended."""
    group_unavailable_code: HubCode = "9912"
    """The receiving institution does not take this payment's priority group."""
    settlement_suspended_code: HubCode = ""
    """Settlement is suspended."""
    above_sitl_code: HubCode = "9940"
    """The amount is above our SITL."""
    above_stl_code: HubCode = "9941"
    """The amount is above our STL."""
    cap_reached_code: HubCode = "9942"
    """Our net sender cap is reached."""


class Session(Struct, frozen=True, forbid_unknown_fields=True):
    """Management of a link (sign-on, echo, sign-off)."""

    receive: bool = True
    """Whether to sign on to receive payments."""
    submit: bool = True
    """Whether to sign on to submit payments."""
    echo_after_s: Seconds = 30.0
    """Silence of the hub after which an echo is sent."""
    respond_within_s: Seconds = 5.0
    """Time that the hub has to respond to a management message of ours."""
    echo_misses_max: Count = 2
    """Unanswered echoes in a row after which the link is given up and dialled again."""
    half_frame_s: Seconds = 10.0
    """Time that the rest of a frame has to come, from its first byte."""
    retry_s: Seconds = 1.0
    """First pause before signing on again, when the hub refused a sign-on or did not respond. The pause doubles, up to
    `retry_max_s`."""
    retry_max_s: Seconds = 30.0
    """Longest pause before signing on again."""


class Dates(Struct, frozen=True, forbid_unknown_fields=True):
    """The dates (DE12) that a payment may bear when its FPID is not known here. Days are those of the calendar in the
    United Kingdom. A synchronous payment outside its window is refused (1930, DE44 012). The processor is asked about
    any other, with a mark (`unusual_date`), and stand-in does not accept it.
    """

    back_days: dict[PaymentTypeCode, DaysApart] = {}
    """Days back at most, by payment type. For a type that is not listed: 2 when it is synchronous; otherwise as long as
    FPIDs are surely remembered, which `pair.business_days` decides (7 business days are 11 of the calendar)."""
    ahead_days: dict[PaymentTypeCode, DaysApart] = {}
    """Days ahead at most, by payment type. For a type that is not listed: 1."""
    hub_clock_differs_s: Seconds = 7_200.0
    """Difference between the hub's clock (DE7) and ours at most. While every link shows more, people are alerted, and
    no payment is refused for its date. An hour may be the time zone, which DE7 does not say."""


class Pair(Struct, frozen=True, forbid_unknown_fields=True):
    """What both sites must share. Its fingerprint shows when they do not."""

    group: Group
    """The payment group that this process serves."""
    business_days: Annotated[int, Meta(ge=1, le=60)] = 7
    """How long an FPID is remembered, to recognise duplicates and repeats: in days without Saturdays and Sundays."""
    reversed_code: RefusalCode = "1100"
    """The refusal of a payment that comes after its reversal (1xxx: the receiver refuses)."""
    own_senders: tuple[InstitutionId, ...] = ()
    """DE98 of the payments that we submit. A payment that arrives with one of these is our own, come back, and is
    refused: 1930, and DE44 says 098. Returns and scheme returns may have them. Leave out an institution under which
    payments to ourselves go through the hub. Empty: no payment is refused for that."""
    refused_code: RefusalCode = "1100"
    """The refusal of a payment that the processor refuses (RJCT) without a usable code: without any, or with one
    that no receiver may say."""
    dates: Dates = Dates()
    wire: Wire = Wire()
    mac: Mac = Mac()
    keys: Keys = Keys()
    deadlines: Deadlines = Deadlines()
    stand_in: StandIn = StandIn()
    submit: Submit = Submit()
    news: News = News()
    session: Session = Session()


def days_spanned(business_days: int) -> int:
    """The most calendar days that so many business days and today can span: weekends do not count as business days.

    Bank holidays do count here, so around one an FPID may be remembered a day less: set `business_days` with that in
    mind.
    """
    return business_days + 2 * (business_days // 5 + 1) + 1
