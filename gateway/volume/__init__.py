"""The replicated volume (DRBD) under the journal: whether it is in place, replicated, and in quorum.

    status    DRBD's own status, read into one shape: `drbdsetup status --json` (DRBD 9), `/proc/drbd` (8.4)
    verdict   what that means for this gateway: ok, degraded, unready; pure
    drbd      asks this machine; the only file that knows paths and programs
    report    the host's report, for a gateway in a container
    watch     refuses a start where the journal does not lie on the volume, then asks every few seconds

A sync that DRBD acknowledged is on the disks of all servers that were connected then. The journal cannot know how many
those were, and an operator does not see it: DRBD goes on with one copy in silence. Hence the policy:

    state     when                                                       and then
    ok        Primary, quorum, as many up-to-date copies as wanted
    degraded  fewer than wanted; StandAlone; blocks that differ          a warning; payments come as before
    unready   quorum lost, not Primary, I/O suspended, or fewer          signs off to receive, refuses submissions: the
              copies than the least                                      hub and the processor use the other site
    unknown   DRBD cannot be asked                                       a warning; the last state that was known holds

Unknown alone does not make a node unready: when quorum is really lost, the next sync fails (on-no-quorum io-error), and
a broken status program must not stop a site whose disks are well. Nor does it make a node ready again.

This room never decides about the journal, is never on a payment's way, and changes nothing in DRBD.
"""
