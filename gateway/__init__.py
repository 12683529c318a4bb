"""The Faster Payments gateway. This is the map.

The flow of a payment that arrives, and where each step is:

    hub.link ── frames ──→ engine ── decode (wire), verify the MAC (signer) ──→ inbound, the story
    inbound ── record (journal) ── ask (processor) ── answer or stand-in ── record, MAC ── reply ──→ hub.link
    journal ──→ processor.forwarder tells the processor what it has to know, until it acknowledges

And of one that leaves:

    processor.door ── submissions ──→ engine ──→ outbound, the story ── record (journal), MAC (signer) ──→ hub.link
    hub.link ── answer ──→ engine ── verify ──→ outbound ── record ──→ door and forwarder

Keys change by the story `keyring`, what the scheme lets us do by the story `news`.

The nouns: hub, link, frame, message, request, answer, reply, step, record, segment, position, cursor, follower, site,
pair, node, ask, tell, stand in, submit, settle. Each has one meaning, and each thing one word.

The rooms; each says in its own docstring what is in it:

    machine      this process, as its machine runs it     hub          the connections with the hub
    config log   settings; what is said                   journal      what is true about every payment, on disk
    wire         bytes ↔ messages                         signer       the workers of the tokens
    memory       compact containers                       processor    asking it, telling it, taking what it submits
    payments     THE STORIES AND THEIR LAWS               ops volume   what people see and do; the disk below
    scheme acts  keys and news; what people do            engine       where events meet the stories
    network      names, dialling, listening, TLS          neighbours   our other processes
    http         connections, both ways                   running      checks, signals, health
    commands     what a person types                      sdk          what a bank's processor imports

Who may import whom. A module imports from rows above its own, or from its own room; nobody imports in a circle.
tests/test_layout.py reads this table and holds every module to it:

    errors clock strict_json backoff
    machine                                                                   this process, as its machine runs it
    entry metrics exitcodes disk
    log config
    wire                                                                      pure from here: no I/O, no clock, no log
    memory
    payments
    scheme hub.session hub.echoes hub.exchanges hub.rules hub.budget
        journal.record journal.recovery volume.status volume.verdict
    acts
    network notify                                                            shells from here
    http
    hub journal signer processor ops volume engine                            they meet in daemon
    neighbours
    running
    outside
    daemon
    commands                                                                  what a person types
    sdk                                                                       what a bank's processor imports
    __main__
"""

__version__ = "0.1.0"
"""The one place that says it: pyproject.toml reads it here."""
__released__ = "2026-11-30"
"""The day on which this version was made. A wall clock that shows an earlier one is wrong, and the gateway says so. Who
changes the version changes it: tests/payments/test_dates.py holds one to the other."""
