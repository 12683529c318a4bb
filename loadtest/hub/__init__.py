"""The mock hub. `scheme` decides and is pure, with those that it asks; `sites` carries bytes and time.

`command` is its command line; a control socket (`control`, `steering`) tells a hub that runs what to do.
"""
