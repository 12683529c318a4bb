"""Any body as the processor's answer."""

from gateway.processor.answers import Answers, NotAnAnswer
from gateway.strict_json import objects_in, pairs_of
from tests.fuzz import jsons
from tests.fuzz.target import Target

ANSWERS = Answers()


def run(data: bytes) -> None:
    """A decision in the scheme's codes, or `NotAnAnswer` in our words; what is accepted is refused nowhere in it."""
    try:
        answer = ANSWERS.read(200, data)
    except NotAnAnswer as error:
        assert len(str(error)) < 100
        assert str(error).isascii()
        return
    assert len(answer.code) == 4
    assert answer.code.isascii()
    assert answer.code.isdigit()
    assert answer.code[:1] in "01"
    assert not answer.field or (len(answer.field) == 3 and 1 <= int(answer.field) <= 128 and answer.code[0] == "1")
    if answer.code[0] == "0":  # exactly right, and refused nowhere
        assert not answer.fault
        statuses = [value for pairs in objects_in(pairs_of(data)) for name, value in pairs if name == "TxSts"]
        assert ("ACSP" if answer.code == "0000" else "ACTC") in statuses
        assert "RJCT" not in statuses


def samples() -> list[bytes]:
    """Each kind."""
    return [
        b'{"TxSts":"ACSP"}',
        b'{"TxSts":"RJCT","StsRsnInf":{"Rsn":{"Prtry":"1114"},"FldInErr":"4"}}',
        b'{"TxSts":"ACTC","StsRsnInf":{"Rsn":{"Prtry":"0083"},"FldInErr":null}}',
        b'{"StsRsnInf":null,"x":[1,{"y":2.5e3}],"TxSts":"ACSP"}',
    ]


TARGET = Target(run, samples, jsons.spoil, jsons.WORDS)
