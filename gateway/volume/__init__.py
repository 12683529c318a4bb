"""The replicated volume (DRBD) under the journal: is it where we think, replicated, and in quorum, right now?

    status    what DRBD says of itself, read into one shape: `drbdsetup status --json` (DRBD 9), `/proc/drbd` (8.4)
    verdict   what that means for this gateway: ok, degraded, unready; pure
    drbd      asks this machine; the only file that knows paths and programs
    report    what the host says, for a gateway in a container
    watch     at the start: refuse where the journal does not lie on the volume; then ask every few seconds

A sync that DRBD acknowledged is on the disks of all servers that were connected then. How many those were is what the
journal cannot know and an operator does not see: DRBD goes on with one copy and says so to nobody. Hence the policy:

    state     when                                                       and then
    ok        Primary, quorum, as many up-to-date copies as wanted
    degraded  fewer than wanted; StandAlone; blocks that differ          a warning; payments come as before
    unready   quorum lost, not Primary, I/O suspended, or fewer          signs off to receive, refuses submissions: the
              copies than the least                                      hub and the processor use the other site
    unknown   DRBD cannot be asked                                       a warning; the last state that was known holds

Unknown alone makes nothing unready: when quorum is lost for real, the next sync fails (on-no-quorum io-error), and a
status program that is broken must not stop a site whose disks are well. Nor does it make anything ready again.

It never decides over the journal, is never on a payment's way, and changes nothing in DRBD.
"""
