"""The journal: what is true about every payment, on disk. This is its format, and why it is so.

A journal is a directory (for its owner only) that one process has locked:

    lock                        flock'ed by the gateway that runs; holds its pid
    manifest                    what must be there: format, the journal's name, the oldest segment, every follower ever
    0000000001.segment …        the records, in files of `segment_bytes`, numbered without gaps
    NAME.cursor                 how far the follower NAME is
    SEGMENT-OFFSET-TURN.torn    evidence: what a start cut off

**Segment.** A page (4096 bytes) of header: magic `FPSJRNL` and a newline, format version (u32), zero (u32), number of
the segment (u64), its size (u64), position of its first record (u64), when it was begun (i64, ns), the journal's name
(16 bytes), the chain value before its first record (16), checksum of all that (16), zeros. Then batches, then zeros to
the end of the file. All integers are little-endian. A segment is allocated, filled with zeros and synced before it is
used, so that a sync while it is written has no metadata to write, and so that what a lost write leaves is known: zeros.
A segment whose file is there and holds nothing is the next one. There is one of these at most: it is made when the
first batch of the one before is durable. A file that is shorter than its segment, or a second one that holds nothing,
has lost something.

**Batch.** What one sync made durable: a mark, then records. The mark: `MRK` and 255, bytes of the records (u32),
position of the first (u64), count (u32), checksum (12 bytes, over the journal's name, the rest of the mark, and the
chain value), the chain value before the first record (16). A batch is there whole or not at all. A mark is written only
after the batch before has been synced: that is how a start knows which damage may be a lost write and which may not
(`recovery`). A mark without records is written when the journal is closed: everything before it was durable.

**Record.** Length of the whole (u32), position (u64), time (i64, ns since the epoch), link (u32), kind (u8), bytes of
the FPID (u8), zero (u16), FPID, body, chain value (16). The chain value is an unkeyed 16-byte BLAKE2b over the chain
value before it and the record: checksum and chain in one. It stands at the end, so that what is hashed, the chain value
before and the record, lies in one piece, on disk and in memory. The first chain value of a journal is its name, sixteen
random bytes. Positions count from 1 without gaps. Times may step back; nothing is ordered by them.

**Deletion.** A segment goes when every follower that was ever known has settled it, its newest record (or any before: a
clock that stepped back ages nothing) is older than the retention, and it is not the current one. `age` says which clock
is believed: none that steps while the gateway runs, and no time of a record that is still to come. The manifest says
first from which segment on the journal is kept, so that a missing one shows. A follower is in the manifest before it
has a cursor: a cursor file that disappears makes its follower read from the oldest record again (followers may see a
record twice), and until then nothing is deleted. A follower that is really gone is forgotten by hand: `fps-gateway
journal forget`.

**Versions.** One number stands for all of it: layout, kinds, bodies, manifest, cursors. The manifest says the newest
that anything in the directory may be of, and which gateway opened it last; a start raises it before it writes anything
else. So a newer format is always met there first, and refused as a whole, with both versions in the message, exit code
75 and nothing changed. A segment's header says of which format the segment is; more than the manifest says is damage.
Older formats are read. A kind that is not known is refused, too: a record that we do not understand is not one that we
may skip.

Whoever changes what is written (a kind, a field at the end of a body, a byte) raises `record.VERSION`: the tests fail
until then (tests/journal/test_formats.py says what to do). A release that must be possible to take back raises only
`record.VERSION_MAX`, reading what it does not write yet, and the next one `VERSION`: then each can be rolled back to
the one before. A release that raises both can be rolled forward only.

    2    LIFTED; the stamp of news after a step of the hub's clock (USM); superseded keys that are known for ever (KEYS)

    record     the layout: bytes ↔ records, marks, headers                          pure
    recovery   the decision table: what damage means                                pure
    manifest   the manifest and the cursors
    segment    reading: which segments there are, batch by batch through them all
    opening    a start: verify, cut a torn tail, hand every record over
    committer  writing: what is done to the disk, one thing after another
    age        how old a segment is, by which clock                 pure
    thread     the disk thread, which drives it
    writer     `Journal`: append, commit, durable
    cursor     `Follower`: read behind what is durable
    looking    reading beside a gateway that writes and deletes
    seals      the HSM's seals, against the chain
    verifying  `fps-gateway journal verify`
    showing    records for a person
    comparing  `fps-gateway journal compare`
"""
