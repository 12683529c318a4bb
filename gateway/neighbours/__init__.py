"""Our other processes: they share nothing and vote on nothing, and each goes on without the others.

* `sibling`: the gateway of our group at the other site. We compare its `/ready` with our own configuration.
* `peers`: the other groups' processes in this data centre; each is told the scheme's news, in order, until it has it.
"""
