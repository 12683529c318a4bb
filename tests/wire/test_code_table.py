"""A bank's own action codes: one that the table has is known everywhere, and one that it lacks nowhere."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway import config
from gateway.commands import config as config_command
from gateway.commands import decode
from gateway.errors import ConfigurationError
from gateway.exitcodes import ExitCode
from gateway.machine.arguments import Parser
from gateway.payments import standin, steps
from gateway.payments.steps import Kind
from gateway.processor.answers import Answers, NotAnAnswer
from gateway.processor.messages import encode
from gateway.processor.notices import notice_of
from gateway.processor.openapi import document, processor_document
from gateway.processor.writing import progress_of
from gateway.sdk import answers
from gateway.wire import codes
from gateway.wire.codec import Codec, fpid_of, join_mac
from gateway.wire.message import PaymentResponse
from tests.fakes.engine import PAIR, World, submission
from tests.fakes.example import example
from tests.fakes.outbound import Heard, answer
from tests.fakes.processor import Record, payment

BUILT_IN = (Path(codes.__file__).parent / "codes.toml").read_text(encoding="utf-8")
OWN = BUILT_IN.replace(
    '0084 = "credited after the next working day"', '0086 = "credited when the bank is open"'
).replace('1114 = "account unknown"', '1115 = "account unheard of"')
"""0086 and 1115 in place of 0084 and 1114."""
KNOWN = "0080, 0081, 0082, 0083, 0086, 0085"
WORDS = "credited when the bank is open"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The table as a file."""
    path = tmp_path / "codes.toml"
    path.write_text(OWN, encoding="utf-8")
    return path


@pytest.fixture
def codec(path: Path) -> Codec:
    """A codec that has it."""
    return Codec(None, codes.load(path))


def said(status: str, code: str) -> bytes:
    """An answer of the processor."""
    return json.dumps({"TxSts": status, "StsRsnInf": {"Rsn": {"Prtry": code}}}).encode()


def test_an_answer_is_read_by_it(codec: Codec) -> None:
    """A code that the table has is taken; one that it lacks is no accept, and no reason of a refusal."""
    reader = Answers(codec.action_codes)
    assert reader.read(200, said("ACTC", "0086")).code == "0086"
    assert reader.read(200, said("RJCT", "1115")).code == "1115"
    assert reader.read(200, said("RJCT", "1114")).code == "1100"
    with pytest.raises(NotAnAnswer):
        reader.read(200, said("ACTC", "0084"))


def test_what_may_be_configured_follows_it(codec: Codec) -> None:
    """Stand-in says a qualified accept of the table; a refusal of ours has a receiver's code that needs no field."""
    good = config.Pair(group="sip", stand_in=config.StandIn(code="0086"), refused_code="1115", reversed_code="1115")
    standin.check(good, codec)
    bad = config.Pair(group="sip", stand_in=config.StandIn(code="0084"), refused_code="1114", reversed_code="1930")
    with pytest.raises(ConfigurationError) as raised:
        standin.check(bad, codec)
    assert raised.value.mistakes == [
        f"pair.stand_in.code: 0084 is no qualified accept of the code table, which has {KNOWN}",
        "pair.reversed_code: 1930 has to say which field",
        "pair.refused_code: 1114 is no receiver's code in the code table",
    ]


@pytest.mark.parametrize(("code", "ends"), [("0086", ExitCode.ENDED), ("0084", ExitCode.CONFIGURATION)])
def test_config_check_says_what_the_sender_is_told(
    code: str, ends: ExitCode, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the words of the table that is configured."""
    file = tmp_path / "gateway.toml"
    own = f'[pair]\ngroup = "sip"\n[pair.wire]\ncode_table = "{path}"\n[pair.stand_in]\ncode = "{code}"\n'
    file.write_text(example("node") + own, encoding="utf-8")
    assert config_command.check(file) == ends
    told = f"of what stand-in accepts the sender is told: accepted, to be {WORDS} (0086)\n"
    assert (told in capsys.readouterr().out) is (ends is ExitCode.ENDED)


def test_stand_in_says_it_and_the_processor_is_told_what_it_means(codec: Codec) -> None:
    """The reply has the code, and the notice has its words."""
    world = World(msgspec.structs.replace(PAIR, stand_in=config.StandIn(code="0086")), codec)
    fpid, request = payment()
    body = steps.Decision("0086", "", bytes(8), b"", join_mac(codec.encode(request), bytes(8)))
    notice = notice_of(Record(1, 0, Kind.STOOD_IN, fpid, steps.pack(body)), "node", codec)
    assert json.loads(encode(notice))["decided"] == {
        "TxSts": "ACTC", "StsRsnInf": {"Rsn": {"Prtry": "0086"}, "AddtlInf": WORDS}
    }  # fmt: skip
    assert world.engine.inbound.stand_in.statistics(world.now.wall_ns)["code"] == "0086"


@pytest.mark.parametrize(("code", "settled"), [("0086", True), ("0085", True), ("0084", False)])
def test_a_payment_of_ours_that_gets_it_is_settled(code: str, settled: bool, codec: Codec) -> None:  # noqa: FBT001 - a row
    """A qualified accept settles it and says when it is credited; a code that nobody knows settles nothing."""
    world, heard = World(PAIR, codec), Heard()
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    answer(world, code)
    world.settle()
    assert ("SETTLED" in heard.states) is settled
    if settled:
        standing = heard.all[-1].standing
        assert standing is not None
        progress = progress_of(standing, codec.action_codes)
        decided: Any = json.loads(encode(progress))["decided"]
        assert decided["TxSts"] == "ACTC"
        assert decided["StsRsnInf"]["AddtlInf"] == codec.action_codes.says(code)
        word = answers.submitted(standing.fpid, 200, encode(progress))
        assert word.met is answers.Met.SETTLED
        assert word.progress is not None
        assert isinstance(word.progress.decided, msgspec.Struct)
        assert answers.says(word.progress.decided) == codec.action_codes.says(code)


def test_decode_says_its_words(path: Path, codec: Codec, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside DE26, in the words of the table that is named."""
    request = payment()[1]
    response = PaymentResponse(
        mti="9210", processing_code=request.processing_code, date_sent=request.date_sent, action_code="0086",
        trn=request.trn, currency=request.currency, sender=request.sender,
    )  # fmt: skip
    assert fpid_of(response)
    capture = tmp_path / "capture"
    capture.write_bytes(join_mac(codec.encode(response), bytes(8)))
    parser = Parser()
    decode.add_parser(parser.add_subparsers())
    for arguments, words in (([], False), (["--codes", str(path)], True)):
        chosen = parser.parse_args(["decode", str(capture), *arguments])
        assert chosen.run(chosen) == 0
        assert (f"0086  {WORDS}\n" in capsys.readouterr().out) is words


def test_the_documents_list_it(codec: Codec) -> None:
    """The document for the teams at the other end has every code of the table with its words, and no other."""
    for made in (document(codec.action_codes), processor_document(codec.action_codes)):
        text = made["components"]["schemas"]["Status"]["description"]
        for table in (codec.action_codes.qualified, codec.action_codes.receiver, codec.action_codes.hub):
            assert all(f"{code} {says}" in text for code, says in table.items())
        assert "0084" not in text
        assert "1114" not in text
    assert "0084 credited after the next working day" in document()["components"]["schemas"]["Status"]["description"]
