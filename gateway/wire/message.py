"""The messages as frozen values: one type for each kind, an attribute for each field that the kind usually carries.

Every value is text as on the wire, without the padding at the end: amounts have fourteen digits, dates eight. `""`
means that the field is absent: the scheme has no field that is present and empty. Build messages by keyword. `fps.toml`
says which data element an attribute is, and which are mandatory. This module knows no bytes and checks nothing.
"""

from typing import Any

from msgspec import Struct


class Message(Struct, frozen=True, gc=False):
    """The attributes that every message has."""

    # Not `kw_only`: msgspec takes 3 microseconds to place 24 keywords, and 0.5 to place all fields in order, as the
    # compiled plans do. All other code writes keywords.
    mti: str
    body: bytes = b""
    """The whole message as it came, with its MAC; empty for a message built here."""
    fault: int = 0
    """The first data element in error, by number: a bad value or a missing mandatory field. 0: none."""
    mac: str = ""
    """DE128 as it came: sixteen hex digits. `encode` leaves it out; `codec.join_mac` adds the MAC."""

    def __repr__(self) -> str:
        """Name the kind and no content: a traceback must not leak a payment."""
        return f"<{self.__class__.__name__} {self.mti}, {len(self.body)} bytes, fault {self.fault}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("mti", self.mti), ("fault", self.fault)]


class PaymentRequest(Message, frozen=True, gc=False):
    """9200 and 9201: a payment, in either direction, or its repeat."""

    processing_code: str = ""
    original_amount: str = ""
    rejected_amount: str = ""
    amount: str = ""
    exchange_rate: str = ""
    date_sent: str = ""
    settlement_date: str = ""
    settlement_cycle: str = ""
    trn: str = ""
    submitting_member: str = ""
    creditor_account: str = ""
    credit_items: str = ""
    debtor_agent: str = ""
    debtor_account: str = ""
    charges: str = ""
    agency_agent: str = ""
    agency_account: str = ""
    original_currency: str = ""
    currency: str = ""
    payment_data: str = ""
    end_to_end: str = ""
    numeric_reference: str = ""
    file_id: str = ""
    creditor_agent: str = ""
    sender: str = ""
    receiving_member: str = ""
    debtor_name: str = ""
    debtor_address: str = ""
    creditor_name: str = ""
    creditor_address: str = ""
    reference: str = ""
    remittance: str = ""
    regulatory: str = ""
    private: str = ""
    return_code: str = ""
    returned_fpid: str = ""


class PaymentResponse(Message, frozen=True, gc=False):
    """9210: the result of a payment."""

    processing_code: str = ""
    date_sent: str = ""
    settlement_date: str = ""
    action_code: str = ""
    asynchronous: str = ""
    settlement_cycle: str = ""
    trn: str = ""
    field_in_error: str = ""
    currency: str = ""
    redirected_agent: str = ""
    redirected_account: str = ""
    sender: str = ""


class ReversalRequest(Message, frozen=True, gc=False):
    """9420 and 9421: undo a payment."""

    processing_code: str = ""
    original_amount: str = ""
    amount: str = ""
    exchange_rate: str = ""
    date_sent: str = ""
    settlement_date: str = ""
    action_code: str = ""
    settlement_cycle: str = ""
    trn: str = ""
    submitting_member: str = ""
    creditor_account: str = ""
    debtor_agent: str = ""
    debtor_account: str = ""
    charges: str = ""
    agency_agent: str = ""
    agency_account: str = ""
    original_currency: str = ""
    currency: str = ""
    payment_data: str = ""
    end_to_end: str = ""
    numeric_reference: str = ""
    file_id: str = ""
    creditor_agent: str = ""
    sender: str = ""
    receiving_member: str = ""
    debtor_name: str = ""
    debtor_address: str = ""
    creditor_name: str = ""
    creditor_address: str = ""
    reference: str = ""
    remittance: str = ""
    regulatory: str = ""
    private: str = ""
    return_code: str = ""
    returned_fpid: str = ""


class ReversalResponse(Message, frozen=True, gc=False):
    """9430: the response to a reversal, always yes."""

    processing_code: str = ""
    date_sent: str = ""
    settlement_date: str = ""
    action_code: str = ""
    asynchronous: str = ""
    settlement_cycle: str = ""
    trn: str = ""
    field_in_error: str = ""
    currency: str = ""
    sender: str = ""


class Advice(Message, frozen=True, gc=False):
    """9624: something is wrong with a message. It has no response."""

    processing_code: str = ""
    transmission_time: str = ""
    message_id: str = ""
    date_sent: str = ""
    settlement_date: str = ""
    function_code: str = ""
    action_code: str = ""
    settlement_cycle: str = ""
    trn: str = ""
    field_in_error: str = ""
    currency: str = ""
    file_id: str = ""
    sender: str = ""
    institution: str = ""
    receiving_institution: str = ""
    private: str = ""
    information: str = ""
    return_code: str = ""
    returned_fpid: str = ""


class NetworkRequest(Message, frozen=True, gc=False):
    """9804: sign-on, sign-off, echo, keys."""

    transmission_time: str = ""
    message_id: str = ""
    date_sent: str = ""
    function_code: str = ""
    sender: str = ""
    institution: str = ""
    information: str = ""
    key_data: str = ""


class NetworkResponse(Message, frozen=True, gc=False):
    """9814: the response to a 9804."""

    transmission_time: str = ""
    message_id: str = ""
    date_sent: str = ""
    function_code: str = ""
    action_code: str = ""
    field_in_error: str = ""
    sender: str = ""
    institution: str = ""
    information: str = ""
    key_data: str = ""


class Usm(Message, frozen=True, gc=False):
    """9824: an unsolicited message, which brings news of the scheme."""

    transmission_time: str = ""
    message_id: str = ""
    date_sent: str = ""
    settlement_date: str = ""
    function_code: str = ""
    settlement_cycle: str = ""
    service_status: str = ""
    credit_items: str = ""
    response_time: str = ""
    suspension: str = ""
    suspension_previous: str = ""
    priority_groups: str = ""
    file_id: str = ""
    sitl_status: str = ""
    sitl_new: str = ""
    sitl_previous: str = ""
    stl_new: str = ""
    stl_previous: str = ""
    settlement_process: str = ""
    sender: str = ""
    receiving_member: str = ""
    institution: str = ""
    receiving_institution: str = ""
    institution_name: str = ""
    cap: str = ""
    cap_previous: str = ""
    cap_status: str = ""
    settlement_management: str = ""
    receiving_name: str = ""
    settlement_risk: str = ""
    private: str = ""
    information: str = ""
    return_code: str = ""
    returned_fpid: str = ""


class UsmAcknowledgement(Message, frozen=True, gc=False):
    """9834: the acknowledgement of a 9824."""

    transmission_time: str = ""
    message_id: str = ""
    date_sent: str = ""
    function_code: str = ""
    action_code: str = ""
    field_in_error: str = ""
    sender: str = ""
    institution: str = ""


TYPES: dict[str, type[Message]] = {
    "9200": PaymentRequest,
    "9201": PaymentRequest,
    "9210": PaymentResponse,
    "9420": ReversalRequest,
    "9421": ReversalRequest,
    "9430": ReversalResponse,
    "9624": Advice,
    "9804": NetworkRequest,
    "9814": NetworkResponse,
    "9824": Usm,
    "9834": UsmAcknowledgement,
}
"""Every message type of the scheme (docs/protocol.md section 2, certain)."""
