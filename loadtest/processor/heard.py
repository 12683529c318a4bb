"""The gateway's JSON as far as the mock processor needs it: questions, notices, submissions. Pure."""

import msgspec
from msgspec import Struct


class _Reason(Struct, frozen=True, gc=False):
    Prtry: str = ""


class _ReasonInformation(Struct, frozen=True, gc=False):
    Rsn: _Reason = _Reason()


class Status(Struct, frozen=True, gc=False):
    """A decision, as far as the mock needs it."""

    TxSts: str = ""
    StsRsnInf: _ReasonInformation = _ReasonInformation()

    @property
    def code(self) -> str:
        """DE26; empty when nothing was decided."""
        return self.StsRsnInf.Rsn.Prtry or ("0000" if self.TxSts == "ACSP" else "")


class Progress(Struct, gc=False):
    """The state of a submitted payment."""

    FPID: str
    state: str
    decided: Status = Status()
    by: str = ""


class _Problem(Struct, gc=False):
    code: str = ""


class Question(Struct, gc=False):
    """About a payment that came."""

    FPID: str


class Notice(Struct, gc=False):
    """A step that is told."""

    id: str
    kind: str
    FPID: str = ""
    decided: Status = Status()
    answered: Status = Status()

    @property
    def code(self) -> str:
        """The code that the journal has with the step, where the processor hears it of a payment of its own."""
        if self.kind == "CONTRADICTED":
            return self.answered.code
        return self.decided.code if self.kind == "SETTLED" else ""


decode_question = msgspec.json.Decoder(Question).decode
decode_notice = msgspec.json.Decoder(Notice).decode
_decode_progress = msgspec.json.Decoder(Progress).decode
_decode_problem = msgspec.json.Decoder(_Problem).decode


def declined_with(body: bytes) -> str:
    """The code with which the scheme would refuse the payment, when that is why it was not taken."""
    try:
        return _decode_problem(body).code
    except msgspec.DecodeError:
        return ""


def progress_of(body: bytes) -> Progress | None:
    """The state of the payment; None when the response does not give it."""
    try:
        return _decode_progress(body)
    except msgspec.DecodeError:
        return None
