"""The journal as the gateway sees it: append, commit, and a callback when it is durable.

`append` encodes and chains a record at once in the trio thread; `commit` hands all of them to the disk thread, which
takes everything that waits, writes it once, syncs once and wakes the trio thread once. So a batch holds the records
that came in while the disk was busy with the previous batch.
"""

import errno
import time
from collections.abc import Callable
from functools import partial
from hashlib import blake2b

import trio

from gateway import log, metrics
from gateway.config import JournalSettings
from gateway.disk import Directory, Disk
from gateway.errors import JournalFault, JournalFull, Refusal, Unavailable
from gateway.journal.age import BELIEVED_AFTER_S, DISAGREE_MAX_S, Anchor, settle_ages
from gateway.journal.committer import FULL_ERRORS, Chunk, Committer, Synced
from gateway.journal.cursor import Follower
from gateway.journal.opening import OnRecord, Opened, existing, open_directory, refuse_strangers
from gateway.journal.record import FPID_BYTES_MAX, HEAD, RECORD_BYTES_MIN, Record
from gateway.journal.segment import SegmentInfo
from gateway.journal.thread import DiskThread, Done, Driver, Result
from gateway.machine.shortage import is_shortage
from gateway.payments.steps import Kind

NO_PLACE = frozenset({
    errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG,
})  # fmt: skip
"""Errors of a start that are about the path, not about the disk."""
HOUSEKEEPING_S = 1.0
"""Pause between two savings of cursors, and between two tries on a full disk."""
RETENTION_EVERY_S = 60.0
"""Pause between two looks for segments to delete."""
RETIRED_MAX = 100
"""Segments handed over for deletion at once, at most."""
GROWTH_MAX = 4
"""What must find room for each byte that waits, so that no more is taken in than can be finished. When a hung disk goes
on, a payment's RECEIVED (the request) gives way to STOOD_IN (the request and the reply, which is no longer) and, when
the reply is too late, UNDELIVERED (the request again): three times its bytes. The fourth is for payments whose RECEIVED
was durable before the disk hung, and for what the HSM is verifying while we say that there is no room."""
ACT_BYTES_MAX = 4096
"""The record of an act is shorter: the door for acts takes short words only."""
PART_KEPT_FOR_ACTS = 0.0625
"""Share of a segment without a next one, and of what may wait for the disk, that only records of acts may use: people
must be able to act when the disk is full or hangs, and what they do must be known."""
PART_KEPT_FREE = 0.125
"""Share of a segment that is kept free, besides, when there is no next segment: for payments in flight none of whose
records waits."""
DAY_NS = 86_400_000_000_000

_log = log.get("journal")
_pack = HEAD.pack


class Journal:
    """One journal, opened by `open_journal`. For the trio thread only."""

    def __init__(
        self,
        settings: JournalSettings,
        directory: Directory,
        opened: Opened,
        driver: Driver,
        wall_ns: Callable[[], int],
    ) -> None:
        self.durable = opened.position - 1
        """Position of the last durable record, 0 for none."""
        self.durable_chain = opened.chain
        """The chain value of the last durable record: what a seal signs."""
        self.on_durable: Callable[[int], None]
        """Called in the trio thread with `durable`, once per sync. Set by `run`: nothing is durable before."""
        self.failed: JournalFault | None = None
        self._settings = settings
        self._directory = directory
        self._driver = driver
        self._wall_ns = wall_ns
        self._committer = Committer(directory, opened.manifest, settings.segment_bytes, opened.current, opened.unused)
        self._chunk_bytes_max = self._committer.batch_bytes_max
        settle_ages(opened.segments, wall_ns())
        self._segments = opened.segments
        self._cursors = opened.cursors
        self._followers: dict[str, Follower] = {}
        # what was appended and not yet handed over
        self._position = opened.position
        self._chain = opened.chain
        self._pieces: list[bytes] = []
        self._pieces_bytes = 0
        self._pieces_first = opened.position
        self._kinds = 0
        self._newest_ns = opened.segments[-1].newest_ns if opened.segments else 0
        # what was handed over and is not durable
        self._waiting_bytes = 0
        self._waiting_since: float | None = None
        self._handed_over = self.durable
        self._anchor: Anchor | None = None
        self._retention_at = 0.0
        self._stepped = False
        self._started = False
        self._closing = False
        self._over = trio.Event()
        self._synced_some = trio.Event()
        """Something became durable. Another one takes its place then."""

    @property
    def name(self) -> bytes:
        """The journal's name: sixteen random bytes."""
        return self._committer.manifest.journal

    @property
    def position(self) -> int:
        """Of the next record."""
        return self._position

    @property
    def oldest(self) -> int:
        """Position of the oldest record that is kept; in a new journal, of the first that will be."""
        return self._segments[0].first if self._segments else self.durable + 1

    # --- writing

    def append(self, kind: Kind, body: bytes = b"", *, fpid: str = "", link: int = 0, wall_ns: int) -> int:
        """Append a record and return its position; it is written at the next `commit`. Encodes at once, never blocks.

        Raises `JournalFault` when more than `waiting_bytes_max` would wait for the disk, or the journal has failed.
        """
        name = fpid.encode()
        length = RECORD_BYTES_MIN + len(name) + len(body)
        if self._waiting_bytes + length > self._settings.waiting_bytes_max or self._closing or self.failed is not None:
            raise self._refused()
        assert length <= self._chunk_bytes_max, "a record fits into a segment and into a batch"
        assert len(name) <= FPID_BYTES_MAX
        if self._pieces_bytes + length > self._chunk_bytes_max:
            self.commit()
        position = self._position
        # begins with the chain value before: so it is hashed, and so the pieces, one after another, are what is on disk
        data = b"".join((self._chain, _pack(length, position, wall_ns, link, kind, len(name), 0), name, body))
        self._chain = blake2b(data, digest_size=16).digest()
        self._pieces.append(data)
        self._pieces_bytes += length
        self._waiting_bytes += length
        self._kinds |= 1 << kind
        if wall_ns > self._newest_ns:  # noqa: PLR1730  max() costs a call, for each record
            self._newest_ns = wall_ns
        self._position = position + 1
        return position

    def commit(self) -> None:
        """Hand everything appended since the last commit to the disk. Does nothing when there is nothing."""
        if not self._pieces:
            return
        last = self._position - 1
        chunk = Chunk(
            self._pieces_first, last, b"".join(self._pieces), self._chain, self._kinds, self._newest_ns, self._wall_ns()
        )
        self._pieces.clear()
        self._pieces_bytes = self._kinds = 0
        self._pieces_first = self._position
        self._handed_over = last
        if self._waiting_since is None:
            self._waiting_since = trio.current_time()
        self._driver.submit(chunk)

    def has_room(self) -> bool:
        """Whether new payments may be taken in: those that are in flight must find room for their outcome."""
        if self.failed is not None or self._closing:
            return False
        needed_bytes = GROWTH_MAX * self._waiting_bytes
        if needed_bytes > self._settings.waiting_bytes_max * (1 - PART_KEPT_FOR_ACTS):
            return False
        committer = self._committer
        if not committer.no_next:
            return True
        kept_bytes = (PART_KEPT_FREE + PART_KEPT_FOR_ACTS) * self._settings.segment_bytes
        return committer.room_bytes - needed_bytes > kept_bytes

    def has_room_for_act(self) -> bool:
        """Whether the record of an act may be appended. On a full disk the payments in flight come first."""
        if self.failed is not None or self._closing:
            return False
        if self._waiting_bytes + ACT_BYTES_MAX > self._settings.waiting_bytes_max:
            return False
        committer = self._committer
        return not committer.no_next or committer.room_bytes - GROWTH_MAX * self._waiting_bytes > ACT_BYTES_MAX

    def health(self, now_s: float) -> str:
        """Why no new payments should come, or empty. `now_s` is on trio's clock."""
        if self.failed is not None:
            return str(self.failed)
        if not self._started:
            return "the journal is not running"
        since = self._waiting_since
        if since is not None and now_s - since > self._settings.stall_after_s:
            return f"sync stalled for {now_s - since:.1f} s"
        if self._committer.no_next:
            return f"no next segment: {self._committer.no_next}"
        if not self.has_room():
            return f"{self._waiting_bytes} bytes wait for the disk"
        return ""

    def stood_still(self, pause_s: float) -> None:
        """This process did not run for so long: that is no stall of the disk, which may have synced meanwhile."""
        if self._waiting_since is not None:
            self._waiting_since = min(self._waiting_since + pause_s, trio.current_time())

    def _refused(self) -> JournalFault:
        if self.failed is not None:
            return self.failed
        if self._closing:
            return JournalFault("the journal is closed")
        limit = self._settings.waiting_bytes_max
        return JournalFault(f"the journal is full: {self._waiting_bytes} bytes wait for the disk, of at most {limit}")

    # --- reading

    def follower(self, name: str, kinds: frozenset[Kind]) -> Follower:
        """The follower of this name, from where its cursor is; a new one from the oldest record that is kept."""
        assert name not in self._followers, "a follower is one task"
        cursor = self._cursors.get(name)
        if cursor is None:
            self._cursors[name] = 0
            self._driver.submit(_remember(name))
        elif cursor == 0:
            _log.warning("no cursor of a known follower: it reads from the oldest record again", follower=name)
        follower = Follower(name, kinds, cursor or self.oldest, self._directory, self._segments, self._driver.reads)
        self._followers[name] = follower
        return follower

    async def record(self, position: int) -> Record | None:
        """The record at this position; None when it is not durable yet, or not kept any more.

        Raises `JournalFault` when what is on the disk is not what was written.
        """
        if not self.oldest <= position <= self.durable:
            return None
        # Retention does not wait for one that only looks: the list is a copy, so that it does not shift under it.
        looking = Follower("look", frozenset(Kind), position, self._directory, list(self._segments), self._driver.reads)
        try:
            found = await looking.batch(1)
        except JournalFault:
            if position < self.oldest:
                return None
            raise
        return found[0]

    async def until_durable(self, position: int) -> None:
        """Wait until the record at this position, which was committed, is durable."""
        while self.durable < position:
            await self._synced_some.wait()

    # --- running

    async def run(
        self, on_durable: Callable[[int], None], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run until `aclose`. `on_durable` is called in the trio thread with `durable`, once per sync.

        Raises `JournalFault` when the disk failed. Cancelled, it stops saving cursors and deleting segments; what was
        handed over is written, and `aclose` still works.
        """
        self._start(on_durable)
        task_status.started()
        while not self._over.is_set():
            with trio.move_on_after(HOUSEKEEPING_S):
                await self._over.wait()
            if not self._closing and self.failed is None:
                self._keep_house()
        if self.failed is not None:
            raise self.failed

    async def aclose(self) -> None:
        """Make everything durable, save the cursors, mark the end as clean. The lock stays until the process ends.

        Raises `JournalFault` when the journal has failed, before or now: not everything is durable. Cancelled, it
        leaves what a kill leaves.
        """
        if self.failed is not None:
            raise self.failed
        if self._closing:
            return
        self.commit()
        self._closing = True
        for follower in self._followers.values():
            self._save(follower)
        position, chain = self._position, self._chain

        def close(committer: Committer) -> Callable[[], None]:
            committer.close(position, chain)
            return self._over.set

        self._driver.submit(close)
        if not self._started:
            self._start(_unheard)
        self._driver.stop()
        await self._over.wait()
        # `run` may be over by now: then nobody else says it
        if self.failed is not None:
            raise self.failed

    def _start(self, on_durable: Callable[[int], None]) -> None:
        self.on_durable = on_durable
        now_s = trio.current_time()
        self._anchor = Anchor(self._wall_ns(), now_s)
        self._retention_at = now_s + BELIEVED_AFTER_S
        self._started = True
        self._driver.start(self._committer, self._report)

    def _report(self, result: Result) -> None:
        """In the trio thread: what the driver has done."""
        if self.failed is not None:
            return  # the one thread failed while the other went on: nothing counts any more
        if isinstance(result, Synced):
            self._synced(result)
        elif isinstance(result, Done):
            result.then()
        else:
            self.failed = self._fault_of(result.error)
            self._over.set()

    def _fault_of(self, error: Exception) -> JournalFault:
        if isinstance(error, JournalFault):
            return error
        if isinstance(error, MemoryError):  # of ours, before anything was asked of the disk: what is on it is sound
            fault: JournalFault = JournalFull(f"journal {self._directory.path}: {log.describe(error)}")
        else:
            fault = JournalFault(f"journal {self._directory.path}: the disk failed: {log.describe(error)}")
        fault.__cause__ = error
        return fault

    def _synced(self, synced: Synced) -> None:
        now_s = trio.current_time()
        if self._waiting_since is not None:
            metrics.JOURNAL_SYNC_S.observe(now_s - self._waiting_since)
        metrics.JOURNAL_RECORDS.inc(synced.last - self.durable)
        metrics.JOURNAL_BYTES.inc(synced.bytes)
        self.durable, self.durable_chain = synced.last, synced.chain
        self._waiting_bytes -= synced.bytes
        self._waiting_since = now_s if self._handed_over > synced.last else None
        assert self._anchor is not None, "it was started"
        # what was written by now was not written later, whatever a record's time says
        newest_ns = min(synced.newest_ns, self._anchor.now_ns(now_s))
        info = self._segments[-1] if self._segments else None
        if info is None or info.number != synced.segment:
            info = SegmentInfo(synced.segment, synced.first, synced.last, synced.end, newest_ns)
            self._segments.append(info)
            metrics.JOURNAL_SEGMENTS.set(len(self._segments))
        else:
            info.last, info.end, info.newest_ns = synced.last, synced.end, newest_ns
        for follower in self._followers.values():
            follower.synced(info, synced.kinds)
        if self._synced_some.statistics().tasks_waiting:
            self._synced_some.set()
            self._synced_some = trio.Event()
        self.on_durable(synced.last)

    # --- housekeeping

    def _keep_house(self) -> None:
        for follower in self._followers.values():
            self._save(follower)
            metrics.JOURNAL_LAG.labels(follower.name).set(self.durable + 1 - follower.cursor)
        metrics.JOURNAL_WAITING_BYTES.set(self._waiting_bytes)
        if self._committer.no_next:
            self._driver.submit(_retry(self._directory))
        now_s = trio.current_time()
        if now_s >= self._retention_at:
            self._retention_at = now_s + RETENTION_EVERY_S
            if self._clocks_agree():
                self._retire()

    def _save(self, follower: Follower) -> None:
        """Have the cursor written, when it moved and no writing of it is under way."""
        position = follower.cursor
        if position in (follower.saved, follower.saving):
            return
        follower.saving = position

        def save(committer: Committer) -> Callable[[], None]:
            try:
                committer.save_cursor(follower.name, position)
            except Unavailable:
                return lambda: follower.saved_at(0)
            except OSError as error:
                if error.errno not in FULL_ERRORS:
                    raise
                return lambda: follower.saved_at(0)
            return lambda: follower.saved_at(position)

        self._driver.submit(save)

    def _clocks_agree(self) -> bool:
        """Whether the wall clock says what it should by the monotonic one. Logs each change."""
        assert self._anchor is not None, "it was started"
        step_s = self._anchor.step_s(self._wall_ns(), trio.current_time())
        stepped = abs(step_s) > DISAGREE_MAX_S
        if stepped and not self._stepped:
            _log.error("the wall clock stepped: no segment is deleted until it is back or a restart", elapsed_s=step_s)
        elif self._stepped and not stepped:
            _log.info("the wall clock is back: segments are deleted again")
        self._stepped = stepped
        return not stepped

    def _retire(self) -> None:
        """Delete the oldest segments, as far as every follower ever known is past them and their retention is over."""
        saved = dict(self._cursors)
        saved.update((name, follower.saved) for name, follower in self._followers.items())
        floor = min(saved.values(), default=self._position)
        assert self._anchor is not None, "it was started"
        cutoff_ns = self._anchor.now_ns(trio.current_time()) - int(self._settings.retention_days * DAY_NS)
        gone = 0
        for info in self._segments[:-1][:RETIRED_MAX]:
            if info.last >= floor or info.newest_ns >= cutoff_ns:
                break
            gone += 1
        if gone:
            _log.info("segments deleted", segments=gone, position=self._segments[gone].first)
            del self._segments[:gone]
            metrics.JOURNAL_SEGMENTS.set(len(self._segments))
            self._driver.submit(self._retire_before(self._segments[0].number))

    def _retire_before(self, number: int) -> Callable[[Committer], Callable[[], None]]:
        """Durable first, then, beside all commits, file by file: deleting one takes as long as a hundred syncs."""

        def retire(committer: Committer) -> Callable[[], None]:
            names = committer.retire(number)

            def delete() -> None:
                for name in names:
                    self._driver.aside(partial(self._directory.remove, name))
                self._driver.aside(self._directory.sync)

            return delete

        return retire


def _unheard(_durable: int) -> None:
    """For a journal that is closed without having run: nobody waits for its last records."""


def _nothing() -> None:
    """Nothing follows."""


def _retry(directory: Directory) -> Callable[[Committer], Callable[[], None]]:
    def retry(committer: Committer) -> Callable[[], None]:
        reason, free_bytes = committer.no_next, directory.free_bytes()
        committer.retry()
        return lambda: _log.warning("no next segment", reason=reason, free_bytes=free_bytes)

    return retry


def _remember(follower: str) -> Callable[[Committer], Callable[[], None]]:
    def remember(committer: Committer) -> Callable[[], None]:
        committer.remember(follower)
        return _nothing

    return remember


def open_journal(
    settings: JournalSettings,
    disk: Disk,
    *,
    on_record: OnRecord | None = None,
    wall_ns: Callable[[], int] = time.time_ns,
    driver: Driver | None = None,
    journal_id: bytes = b"",
    begin: bool = True,
) -> Journal:
    """Lock the directory, verify the whole journal, cut a torn tail, hand every record to `on_record`, oldest first.

    Blocks, about 3 s for a million records; inside or outside of `trio.run`. `journal_id` names a new journal (sixteen
    bytes; random when empty), which is made where there is none, or without `begin` is not. Raises `Refusal`, with
    nothing changed, when another process holds the journal, when there is none (without `begin`), where the place is
    none for a journal (a file, another's, full of other things) or, as `recovery.Newer`, when a newer gateway wrote it;
    `recovery.Corrupt` (a `JournalFault`) where it does not add up; `JournalFault` when the disk fails; `Unavailable`
    when it is too full to start on, or this process is short of what opening takes: later a start finds everything as
    it was.
    """
    try:
        directory = disk.directory(settings.dir, create=True) if begin else existing(disk, settings.dir)
        refuse_strangers(directory)
        directory.lock()
        opened = open_directory(directory, on_record, journal_id)
        return Journal(settings, directory, opened, driver or DiskThread(), wall_ns)
    except OSError as error:
        what = f"journal {settings.dir} cannot be opened: {log.describe(error)}"
        if error.errno in NO_PLACE:
            raise Refusal(f"{what}: node.journal.dir must be a directory of its own, and the gateway's") from error
        later = error.errno in FULL_ERRORS or is_shortage(error)
        raise Unavailable(what) if later else JournalFault(what) from error
