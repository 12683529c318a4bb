"""What the gateway is made of that is not ours: the packages of the locks, their known vulnerabilities, their licences.

    .venv/bin/python -m supply audit         has a locked package a known vulnerability, or a licence we do not take?
    .venv/bin/python -m supply renew         ask OSV again, and write `advisories.json` (needs a network)
    .venv/bin/python -m supply sbom WHEEL    the bill of materials of this wheel, beside it

`locks` reads the locks. `advisories` and `licences` judge what is in them, and know neither clock nor network. `osv`
asks, `sbom` writes. Three files are the data: `advisories.json` (what is published, and when we asked),
`accepted.toml` (what we live with, why, and until when), `licences.toml` (which licences we take).
"""
