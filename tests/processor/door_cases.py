"""What the tests of the door compare responses with."""

from typing import Any

from tests.fakes.door import FPID, Response

PENDING = {"FPID": FPID, "TxId": "TEST00000000000001", "state": "PENDING"}


def why(status: str, code: str, says: str, **more: str) -> dict[str, Any]:
    """A status with its code and what that says."""
    return {"TxSts": status, "StsRsnInf": {"Rsn": {"Prtry": code}, "AddtlInf": says, **more}}


ACCEPTED = {"TxSts": "ACSP", "StsRsnInf": {"Rsn": {"Prtry": "0000"}}}

SETTLED = {**PENDING, "state": "SETTLED", "decided": ACCEPTED, "by": "receiver"}

SENSITIVE = ("SECRET", "12345678", "87654321", "123.45", "HIGH STREET", "INVOICE", "TEST0000")


def is_problem(response: Response, status: int) -> bool:
    """Whether it is a problem of this status, in the form of RFC 9457, that shows no value."""
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json["status"] == response.status
    assert response.json["title"]
    assert not any(value in response.body.decode() for value in SENSITIVE)
    return response.status == status
