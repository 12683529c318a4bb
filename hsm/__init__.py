"""Keys and tokens: for development made here, in SoftHSM; for production by the ceremony in README.md.

    .venv/bin/python -m hsm provision --dir DIR   tokens that all hold the same keys; run again, it adds what is missing
    .venv/bin/python -m hsm check --dir DIR       do all tokens hold the same keys?

`layout` knows what lies where in DIR, `provision` makes it, `check` compares.
"""
