"""Every shape that an answer was seen or thought to have, and what becomes of it: the table, as data.

Who changes how answers are read changes a row here. The columns: what is said of the shape, the HTTP status, the body,
and the outcome. An outcome is `accepted`, `qualified 0081`, `refused 1114` or `refused 1930/120`; `refused 1100 !`
with a mark for a refusal that is not as agreed (people hear of it, with the rule that it breaks); or `nothing`, and the
payment is stood in for.
"""

import gzip
import json
import zlib
from typing import NamedTuple

R1114 = b'{"TxSts":"RJCT","StsRsnInf":{"Rsn":{"Prtry":"1114"}}}'
ACSP = b'{"TxSts":"ACSP"}'
ACTC = b'{"TxSts":"ACTC","StsRsnInf":{"Rsn":{"Prtry":"0081"}}}'


class Shape(NamedTuple):
    """One row."""

    what: str
    status: int
    body: bytes
    outcome: str


def _reason(text: str) -> bytes:
    return f'{{"TxSts":"RJCT","StsRsnInf":{text}}}'.encode()


def _code(text: str) -> bytes:
    return _reason(f'{{"Rsn":{{"Prtry":{text}}}}}')


def _field(text: str, code: str = "1930") -> bytes:
    return _reason(f'{{"Rsn":{{"Prtry":"{code}"}},"FldInErr":{text}}}')


AS_AGREED = [
    Shape("accepted", 200, ACSP, "accepted"),
    Shape("accepted, with its code", 200, b'{"TxSts":"ACSP","StsRsnInf":{"Rsn":{"Prtry":"0000"}}}', "accepted"),
    Shape("accepted, null for a reason", 200, b'{"TxSts":"ACSP","StsRsnInf":null}', "accepted"),
    Shape("accepted, spaces and line ends", 200, b' {"TxSts" :\n"ACSP"}\r\n', "accepted"),
    Shape("accepted, members that are not known", 200, b'{"Other":[{"a":{}}],"TxSts":"ACSP","at":1e999}', "accepted"),
    Shape("accepted, its name spelt otherwise", 200, b'{"\\u0054xSts":"ACSP"}', "accepted"),
    Shape("qualified", 200, ACTC, "qualified 0081"),
    Shape("qualified, in words too", 200,
          b'{"TxSts":"ACTC","StsRsnInf":{"Rsn":{"Prtry":"0081"},"AddtlInf":"today"}}', "qualified 0081"),
    Shape("refused", 200, R1114, "refused 1114"),
    Shape("refused, members that are not known", 200, R1114[:-1] + b',"FPID":"another","x":{"y":[1]}}', "refused 1114"),
    Shape("refused, spelt with escapes", 200, R1114.replace(b"RJCT", b"\\u0052JC\\u0054"), "refused 1114"),
    Shape("refused, a field in error", 200, _field('"120"'), "refused 1930/120"),
    Shape("refused, a field in error in short", 200, _field('"6"'), "refused 1930/006"),
    Shape("refused, the last field", 200, _field('"128"'), "refused 1930/128"),
    Shape("refused, a field beside another code", 200, _field('"35"', "1114"), "refused 1114"),
    Shape("refused, system malfunction", 200, _code('"1909"'), "refused 1909"),
    Shape("refused, another status within", 200, R1114[:-1] + b',"was":{"TxSts":"ACSP"}}', "refused 1114"),
]  # fmt: skip

REASON_OF_NO_USE = [
    Shape("a reason that nobody knows", 200, _code('"1999"'), "refused 1100 !"),
    Shape("a reason that is no code", 200, _code('"AC04"'), "refused 1100 !"),
    Shape("a reason that accepts", 200, _code('"0000"'), "refused 1100 !"),
    Shape("a reason that accepts later", 200, _code('"0083"'), "refused 1100 !"),
    Shape("a reason of the hub's", 200, _code('"9909"'), "refused 1100 !"),
    Shape("a reason of a reversal", 200, _code('"4021"'), "refused 1100 !"),
    Shape("a reason too short", 200, _code('"111"'), "refused 1100 !"),
    Shape("a reason too long", 200, _code('"11140"'), "refused 1100 !"),
    Shape("a reason with a space", 200, _code('" 1114"'), "refused 1100 !"),
    Shape("a reason in other digits", 200, _code('"1²14"'), "refused 1100 !"),
    Shape("an empty reason", 200, _code('""'), "refused 1100 !"),
    Shape("a number for a reason", 200, _code("1114"), "refused 1100 !"),
    Shape("null for a reason", 200, _code("null"), "refused 1100 !"),
    Shape("a list for a reason", 200, _code('["1114"]'), "refused 1100 !"),
    Shape("no reason", 200, b'{"TxSts":"RJCT"}', "refused 1100 !"),
    Shape("null where the reason is", 200, _reason("null"), "refused 1100 !"),
    Shape("a list where the reason is", 200, _reason('[{"Rsn":{"Prtry":"1114"}}]'), "refused 1100 !"),
    Shape("a reason without Prtry", 200, _reason('{"Rsn":{"Cd":"AC04"}}'), "refused 1100 !"),
    Shape("a reason at another place", 200, b'{"TxSts":"RJCT","Prtry":"1114"}', "refused 1100 !"),
    Shape("a syntax error that says not where", 200, _code('"1930"'), "refused 1100 !"),
    Shape("a syntax error at field 0", 200, _field('"000"'), "refused 1100 !"),
    Shape("a syntax error at field 129", 200, _field('"129"'), "refused 1100 !"),
    Shape("a syntax error at a field of four digits", 200, _field('"1200"'), "refused 1100 !"),
    Shape("a syntax error at no number", 200, _field('"x"'), "refused 1100 !"),
    Shape("a number for a field", 200, _field("120"), "refused 1100 !"),
    Shape("no field beside another code", 200, _field('"x"', "1114"), "refused 1114 !"),
]  # fmt: skip

REPEATED = [
    Shape("accepted, then refused", 200, b'{"TxSts":"ACSP","TxSts":"RJCT"}', "refused 1100 !"),
    Shape("refused, then accepted", 200, b'{"TxSts":"RJCT","TxSts":"ACSP"}', "refused 1100 !"),
    Shape("refused twice", 200, b'{"TxSts":"RJCT",' + R1114[1:], "refused 1100 !"),
    Shape("refused, the name spelt in two ways", 200, b'{"\\u0054xSts":"RJCT","TxSts":"ACSP"}', "refused 1100 !"),
    Shape("refused with two reasons", 200,
          b'{"TxSts":"RJCT","StsRsnInf":{"Rsn":{"Prtry":"1114","Prtry":"1160"}}}', "refused 1100 !"),
    Shape("refused, a strange member twice", 200, R1114[:-1] + b',"x":1,"x":1}', "refused 1100 !"),
    Shape("accepted twice", 200, b'{"TxSts":"ACSP","TxSts":"ACSP"}', "nothing"),
    Shape("accepted and qualified", 200, b'{"TxSts":"ACTC",' + ACTC[1:-1] + b',"TxSts":"ACSP"}', "nothing"),
    Shape("accepted, two reasons", 200,
          b'{"TxSts":"ACSP","StsRsnInf":{"Rsn":{"Prtry":"1114"}},"StsRsnInf":null}', "nothing"),
    Shape("accepted, a strange member twice", 200, b'{"TxSts":"ACSP","x":1,"x":1}', "nothing"),
    Shape("accepted, a member twice within", 200, b'{"TxSts":"ACSP","x":[{"y":1,"y":2}]}', "nothing"),
    Shape("accepted, a member twice behind a colon", 200, b'{"TxSts":"ACSP","x":"\\u003a","y":1,"y":2}', "nothing"),
]  # fmt: skip

ELSEWHERE = [
    Shape("accepted, refused within", 200, b'{"TxSts":"ACSP","x":[{"TxSts":"RJCT"}]}', "refused 1100 !"),
    Shape("refused within a wrapper", 200, b'{"FIToFIPmtStsRpt":{"TxInfAndSts":' + R1114 + b"}}", "refused 1100 !"),
    Shape("refused within a list", 200, b"[" + R1114 + b"]", "refused 1100 !"),
    Shape("refused within brackets", 200, b'{"TxSts":[{"value":"RJCT"}]}', "refused 1100 !"),
    Shape("refused, JSON within JSON", 200, json.dumps(R1114.decode()).encode(), "refused 1100 !"),
    Shape("refused, JSON in an envelope", 200,
          json.dumps({"statusCode": 200, "body": R1114.decode()}).encode(), "refused 1100 !"),
    Shape("refused, JSON in an envelope in a list in another", 502,
          json.dumps({"x": [json.dumps({"body": R1114.decode()})]}).encode(), "refused 1100 !"),
    Shape("accepted in an envelope", 200, json.dumps({"statusCode": 200, "body": ACSP.decode()}).encode(), "nothing"),
    Shape("the question in an envelope, with the words in a text", 400,
          json.dumps({"request": json.dumps({"RmtInf": {"Ustrd": '{"TxSts":"RJCT"'}})}).encode(), "nothing"),
    Shape("refused in small letters", 200, R1114.replace(b"RJCT", b"rjct"), "refused 1114 !"),
    Shape("refused with a space", 200, R1114.replace(b"RJCT", b"RJCT "), "refused 1114 !"),
    Shape("refused, the name in small letters", 200, R1114.replace(b"TxSts", b"txsts"), "refused 1100 !"),
    Shape("the word at another name", 200, b'{"TxSts":"ACSP","about":"RJCT"}', "accepted"),
    Shape("the word in a list of what is allowed", 200, b'{"allowed":["ACSP","RJCT"]}', "nothing"),
    Shape("the words in a text", 200, b'{"error":"TxSts must be ACSP or RJCT"}', "nothing"),
]  # fmt: skip

NO_JSON = [
    Shape("nothing at all", 200, b"", "nothing"),
    Shape("refused, cut off", 200, R1114[:-1], "refused 1100 !"),
    Shape("refused, cut off right behind", 200, R1114[:15], "refused 1100 !"),
    Shape("refused with escapes, cut off", 200, b'{"\\u0054xSts":"\\u0052JCT"', "refused 1100 !"),
    Shape("refused, more behind it", 200, R1114 + b"}", "refused 1100 !"),
    Shape("refused, two answers", 200, ACSP + R1114, "refused 1100 !"),
    Shape("refused, too deep", 200, b'{"TxSts":"RJCT","x":' + b"[" * 60_000, "refused 1100 !"),
    Shape("refused in XML", 200, b"<Doc><TxSts>RJCT</TxSts></Doc>", "refused 1100 !"),
    Shape("refused in JSON that a page shows", 500,
          b"<pre>" + R1114.replace(b'"', b"&quot;") + b"</pre>", "refused 1100 !"),
    Shape("refused in Python", 200, b"{'TxSts': 'RJCT'}", "refused 1100 !"),
    Shape("refused behind a byte order mark", 200, b"\xef\xbb\xbf" + R1114, "refused 1114 !"),
    Shape("refused in UTF-16", 200, R1114.decode().encode("utf-16"), "refused 1114 !"),
    Shape("refused in UTF-16 without a mark", 200, R1114.decode().encode("utf-16-be"), "refused 1114 !"),
    Shape("refused in UTF-32", 200, R1114.decode().encode("utf-32-le"), "refused 1114 !"),
    Shape("refused, a byte of another encoding", 200, R1114[:-1] + b',"x":"\xe9"}', "refused 1114 !"),
    Shape("refused, gzip", 200, gzip.compress(R1114), "refused 1114 !"),
    Shape("refused, gzip cut off", 200, gzip.compress(R1114)[:-9], "refused 1114 !"),
    Shape("refused, deflate", 200, zlib.compress(R1114), "refused 1114 !"),
    Shape("accepted, cut off", 200, ACSP[:-1], "nothing"),
    Shape("accepted, more behind it", 200, ACSP + b"}", "nothing"),
    Shape("accepted, a byte order mark", 200, b"\xef\xbb\xbf" + ACSP, "nothing"),
    Shape("accepted in UTF-16", 200, ACSP.decode().encode("utf-16"), "nothing"),
    Shape("accepted, gzip", 200, gzip.compress(ACSP), "nothing"),
    Shape("accepted, a byte of another encoding", 200, b'{"TxSts":"ACSP","x":"\xff"}', "nothing"),
    Shape("no gzip", 200, b"\x1f\x8b\x08", "nothing"),
    Shape("no deflate", 200, b"x?", "nothing"),
    Shape("too deep", 200, b'{"x":' + b"[" * 60_000, "nothing"),
    Shape("HTML", 200, b"<html>ok</html>", "nothing"),
]  # fmt: skip

OF_NO_STATUS = [
    Shape("an empty object", 200, b"{}", "nothing"),
    Shape("an empty list", 200, b"[]", "nothing"),
    Shape("null", 200, b"null", "nothing"),
    Shape("a string", 200, b'"ACSP"', "nothing"),
    Shape("JSON within JSON that is none", 200, b'"{"', "nothing"),
    Shape("a number for a status", 200, b'{"TxSts":1}', "nothing"),
    Shape("accepted in small letters", 200, b'{"TxSts":"acsp"}', "nothing"),
    Shape("a status of ISO 20022 that is none of ours", 200, b'{"TxSts":"PDNG"}', "nothing"),
    Shape("accepted with a reason that refuses", 200,
          b'{"TxSts":"ACSP","StsRsnInf":{"Rsn":{"Prtry":"1114"}}}', "nothing"),
    Shape("accepted with a field in error", 200, b'{"TxSts":"ACSP","StsRsnInf":{"FldInErr":"120"}}', "nothing"),
    Shape("qualified without a code", 200, b'{"TxSts":"ACTC"}', "nothing"),
    Shape("qualified, 0000", 200, b'{"TxSts":"ACTC","StsRsnInf":{"Rsn":{"Prtry":"0000"}}}', "nothing"),
    Shape("qualified, a code that nobody knows", 200,
          b'{"TxSts":"ACTC","StsRsnInf":{"Rsn":{"Prtry":"0086"}}}', "nothing"),
    Shape("qualified with a reason that refuses", 200,
          b'{"TxSts":"ACTC","StsRsnInf":{"Rsn":{"Prtry":"1114"}}}', "nothing"),
]  # fmt: skip

OTHER_STATUSES = [
    *(Shape(f"refused with {status}", status, R1114, "refused 1114 !")
      for status in (201, 202, 203, 302, 400, 404, 409, 422, 429, 500, 502, 503, 504)),
    *(Shape(f"accepted with {status}", status, ACSP, "nothing")
      for status in (201, 202, 204, 302, 400, 404, 409, 422, 429, 500, 502, 503, 504)),
    Shape("refused with 422, no reason", 422, b'{"TxSts":"RJCT"}', "refused 1100 !"),
    Shape("a problem", 422, b'{"title":"invalid","status":422}', "nothing"),
    Shape("no body", 404, b"", "nothing"),
]  # fmt: skip

SHAPES = [*AS_AGREED, *REASON_OF_NO_USE, *REPEATED, *ELSEWHERE, *NO_JSON, *OF_NO_STATUS, *OTHER_STATUSES]
