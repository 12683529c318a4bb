"""Keys and tokens for development, in SoftHSM. For production, the ceremony in README.md makes them.

    .venv/bin/python -m hsm provision --dir DIR   tokens that all hold the same keys; run again, it adds what is missing
    .venv/bin/python -m hsm check --dir DIR       check that all tokens hold the same keys

`layout` knows the files of DIR, `provision` makes them, `check` compares.
"""
