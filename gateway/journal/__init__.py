"""The journal: the truth about every payment, on disk. This is its format, and the reasons for it.

A journal is a directory (for its owner only) that one process has locked:

    lock                        flock'ed by the running gateway; holds its pid
    manifest                    what must be there: format, the journal's name, the oldest segment, every follower ever
    0000000001.segment …        the records, in files of `segment_bytes`, numbered without gaps
    NAME.cursor                 how far the follower NAME has read
    SEGMENT-OFFSET-TURN.torn    evidence: the torn tail that a start cut off

**Segment.** A page (4096 bytes) of header: magic `FPSJRNL` and a newline, format version (u32), zero (u32), number of
the segment (u64), its size (u64), position of its first record (u64), time of its beginning (i64, ns), the journal's
name (16 bytes), the chain value before its first record (16), checksum of all that (16), zeros. Then batches, then
zeros to the end of the file. All integers are little-endian. The writer allocates a segment, fills it with zeros and
syncs it before use. So a sync during writing has no metadata to write, and a lost write leaves known content: zeros. A
segment whose file exists and holds nothing is the next one. There is at most one of these, made when the first batch of
its predecessor is durable. A file that is shorter than its segment, or a second empty one, has lost something.

**Batch.** The records that one sync made durable: a mark, then the records. The mark: `MRK` and 255, bytes of the
records (u32), position of the first (u64), count (u32), checksum (12 bytes, over the journal's name, the rest of the
mark, and the chain value), the chain value before the first record (16). A batch is there whole or not at all. The
writer writes a mark only after the previous batch has been synced. By this, a start knows which damage may be a lost
write and which may not (`recovery`). Closing the journal writes a mark without records: everything before it was
durable.

**Record.** Length of the whole (u32), position (u64), time (i64, ns since the epoch), link (u32), kind (u8), bytes of
the FPID (u8), zero (u16), FPID, body, chain value (16). The chain value is an unkeyed 16-byte BLAKE2b over the previous
chain value and the record: checksum and chain in one. It stands at the end, so that the hashed bytes, the previous
chain value and the record, lie in one piece, on disk and in memory. The first chain value of a journal is its name,
sixteen random bytes. Positions count from 1 without gaps. Times may step back, so they order nothing.

**Deletion.** A segment is deleted when three things hold: every follower ever known has settled it, its newest record
(or any before: a clock that stepped back ages nothing) is older than the retention, and it is not the current one.
`age` says which clock counts: none that steps while the gateway runs, and no record's time that lies in the future. The
manifest first says which segment is now the oldest, so that a missing one shows. A follower is in the manifest before
it has a cursor. If its cursor file disappears, the follower reads from the oldest record again (followers may see a
record twice), and until then nothing is deleted. A follower that is really gone must be removed by hand: `fps-gateway
journal forget`.

**Versions.** One number stands for layout, kinds, bodies, manifest and cursors together. The manifest gives the newest
version that anything in the directory may have, and the gateway that opened it last; a start raises the version before
it writes anything else. So a gateway meets a newer format there first. It refuses the journal as a whole, with both
versions in the message and exit code 75, and changes nothing. A segment's header gives the version of the segment; a
higher one than the manifest's is damage. Older versions are read. An unknown kind is refused, too: we may not skip a
record that we do not understand.

A change of what is written (a kind, a field at the end of a body, a byte) must raise `record.VERSION`: the tests fail
until it does (tests/journal/test_formats.py says what to do). A release that must be possible to roll back raises only
`record.VERSION_MAX` (it reads the format that it does not write yet), and the next release raises `VERSION`: then each
can be rolled back to the one before. A release that raises both can only be rolled forward.

    3    MESSAGE_IDS, KEY_ALLOWED; the forms of superseded keys, and those that an operator allows back (KEYS);
         SUBMIT_MODE, and UNKNOWN by a stop of submitting; DROPPED
    2    LIFTED; the stamp of news after a step of the hub's clock (USM); superseded keys that are known for ever (KEYS)

    record     the layout: bytes ↔ records, marks, headers                          pure
    recovery   the decision table: what damage means                                pure
    manifest   the manifest and the cursors
    segment    reading: which segments there are, batch by batch through them all
    opening    a start: verify, cut a torn tail, hand every record over
    committer  writing: the steps on the disk, in order
    age        how old a segment is, by which clock                 pure
    thread     the disk thread, which drives the committer
    writer     `Journal`: append, commit, durable
    cursor     `Follower`: reads behind the durable end
    looking    reading beside a gateway that writes and deletes
    seals      the HSM's seals, against the chain
    verifying  `fps-gateway journal verify`
    showing    records for a person
    comparing  `fps-gateway journal compare`
"""
