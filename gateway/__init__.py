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

Who may import whom. A module imports from rows above its own, or from its own folder but not from below; a story may
import its stages. tests/test_layout.py reads this table and holds every module to it:

    errors shortage clock written strict_json quiet arguments console
    entry log metrics config disk exitcodes standstill aside descriptors
    config_rules addresses signals papers limit listening foreign
    config_file
    wire                                                                      pure from here: no I/O, no clock, no log
    law steps fates
    inbound_law outbound_law
    work
    table pages days dates outcomes submissions permits ring keyring news hubclock standin verify inbound departure
        ejection outbound hub.session hub.rules journal.record journal.recovery volume.status volume.verdict
    hub journal signer processor ops volume engine notify                     shells: they meet in daemon
    outside reload rulebook allowance
    daemon
    decode drain_command hsm_command init_command diagram seal_check completion    what a person types
    here
    config_command
    sdk                                                                       what a bank's processor imports
    __main__
"""

__version__ = "0.1.0"
"""The one place that says it: pyproject.toml reads it here."""
__released__ = "2026-11-30"
"""The day on which this version was made. A wall clock that shows an earlier one is wrong, and the gateway says so. Who
changes the version changes it: tests/test_dates.py holds one to the other."""
