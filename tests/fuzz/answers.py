"""Any body as the processor's answer."""

import json

from gateway.processor.messages import NotAnAnswer, decided
from tests.fuzz import jsons
from tests.fuzz.target import Target


def run(data: bytes) -> None:
    """A decision in the scheme's codes, or `NotAnAnswer` in our words."""
    try:
        answer = decided(data)
    except NotAnAnswer as error:
        assert len(str(error)) < 60
        assert str(error).isascii()
        return
    assert len(answer.code) == 4
    assert answer.code.isascii()
    assert answer.code.isdigit()
    assert answer.code[:1] in "01"
    assert not answer.field or (len(answer.field) == 3 and 1 <= int(answer.field) <= 128 and answer.code[0] == "1")
    try:
        said = json.loads(data)
    except (RecursionError, UnicodeDecodeError):
        return  # in what nobody reads: msgspec passes over it
    assert said["TxSts"] == ("RJCT" if answer.code[0] == "1" else "ACSP" if answer.code == "0000" else "ACTC")


def samples() -> list[bytes]:
    """Each kind."""
    return [
        b'{"TxSts":"ACSP"}',
        b'{"TxSts":"RJCT","StsRsnInf":{"Rsn":{"Prtry":"1114"},"FldInErr":"4"}}',
        b'{"TxSts":"ACTC","StsRsnInf":{"Rsn":{"Prtry":"0083"},"FldInErr":null}}',
        b'{"StsRsnInf":null,"x":[1,{"y":2.5e3}],"TxSts":"ACSP"}',
    ]


TARGET = Target(run, samples, jsons.spoil, jsons.WORDS)
