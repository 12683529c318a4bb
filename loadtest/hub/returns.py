"""The scheme return, by which the hub brings back a payment refused after its sender was told 0000. Pure."""

from gateway.wire.fields import FieldTable
from loadtest.hub.parties import Ends
from loadtest.hub.switch import HubSettings
from loadtest.traffic import iso, payments

RETURN_CODES = {
    "1114": "00000001", "1160": "00000002", "1161": "00000003", "1167": "00000004", "1163": "00000005",
    "1162": "00000006", "1165": "00000008", "1170": "00000010", "1168": "00000011", "1166": "00000012",
    "1169": "00000013",
}  # fmt: skip
"""DE26 of a refusal → DE126 of the scheme return (docs/protocol.md section 5); for all others:"""
NO_REASON = "00000014"


def scheme_return(
    table: FieldTable, body: bytes, settings: HubSettings, code: str, *, number: int, original: bytes, sender: str,
    receiver: str,
) -> tuple[payments.Made, Ends]:  # fmt: skip
    """The return of the payment in `body`, and what its response must copy.

    `code`: the refusal. `number`: of this return among the hub's own. `original`: the payment's FPID. `sender` and
    `receiver`: the institutions that the return goes between, which are the payment's, the other way round.
    """
    _, old = iso.read(table, body)
    trn = f"SR{number:016d}"
    date, cycle = settings.settlement_date, settings.settlement_cycle
    fields: iso.Fields = {
        3: "25" + old[3][2:], 6: old[6], 12: date, 15: date, 29: cycle, 31: trn, 35: old[43], 42: old[95], 43: old[35],
        46: old.get(46, "001003SHA"), 51: old[51], 61: old.get(61, "00100200"), 95: old[42], 98: sender, 99: receiver,
        116: old.get(118, "SCHEME RETURN")[:40], 118: old[116], 126: RETURN_CODES.get(code, NO_REASON),
        127: original.decode(iso.TEXT),
    }  # fmt: skip
    fpid = f"{trn}25{date}{fields[51]}{sender:<11}"
    ends = ((fields[3] + date).encode(), f"{fields[51]}{sender:<11}".encode())
    return payments.Made(trn.encode(), fpid, iso.write(table, "9200", fields)), ends
