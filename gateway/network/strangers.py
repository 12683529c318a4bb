"""Places for clients that have proved nothing yet: few, short, shared out by address, and the oldest goes first.

A server learns who a client is by what the client shows: its certificate, or a whole request. Until then anybody who
reaches the port holds a connection, a descriptor and some of our time. Here is how much of these strangers get, so that
they cannot keep a client out that has something to show. Clients that have shown it are none of this file's business:
no crowd of strangers takes anything from them.

How a server uses it (`http.entrance` does, for TLS):

    with strangers.place(address) as place:     # somebody else may have had to go for it
        hello = await read_it                   # silence costs a place, and nothing else
        await place.turn()                      # handshakes are paced
        await handshake
        place.proved()
    if not place.is_proved:
        close it; place.why says why

The block is cancelled when the client takes too long, or when its place is needed for a newer one. Close the connection
behind the block, at once and without a farewell. Leaving the block gives the place back; whoever has proved itself is
served outside of it.

Places. All strangers together have `PLACES_MAX`. For one more, the oldest goes of the address that has most: a crowd at
one address pushes out its own, and beside any crowd one from elsewhere is let in. The newest always gets a place. So a
client that has something to show gets through, unless as many others come, within the milliseconds that its handshake
takes, as there are places.

Known addresses. Where somebody has proved himself in the last `KNOWN_FOR_S`, strangers from elsewhere take nothing:
such addresses have `KNOWN_PLACES_MAX` of their own, shared out by the same rule.

Work. A handshake takes a millisecond or two of the event loop, in which no payment is decided. So those of strangers
begin `WORK_PER_S` times a second at most, and `EACH_WORK_PER_S` times for one address. Beyond that they wait, in their
places, for the next second, or for the first of their address to prove itself: from then on its handshakes are not
counted, and a processor that opens many connections at once has them all at once.

An IPv6 address counts by its first 64 bits: a network hands out the rest, as many as anybody likes.
"""

import ipaddress
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import trio

PLACES_MAX = 128
"""Connections of strangers at once, at most."""
KNOWN_PLACES_MAX = 128
"""Connections from known addresses that have not proved themselves yet, at most."""
CONNECTIONS_MAX = PLACES_MAX + KNOWN_PLACES_MAX
"""Descriptors that all places together can take."""
KNOWN_MAX = 256
"""Known addresses, at most: the one whose last proof is oldest is forgotten."""
KNOWN_FOR_S = 86400.0
"""How long an address stays known after its last proof."""
WITHIN_S = 3.0
"""How long a client may take to prove itself: its first packet may be lost, and come again after a second."""
WORK_PER_S = 100
"""Handshakes with strangers that begin in a second, at most."""
EACH_WORK_PER_S = 20
"""Of these, handshakes with one address."""

LATE = "it took too long"
CROWDED = "its place was needed for a newer client"


def origin(address: str) -> str:
    """What counts as one address: an IPv6 address's network, an IPv4 address written either way."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.IPv6Network((found, 64), strict=False))
    return str(found)


def address_of(stream: trio.SocketStream) -> str:
    """The other end's address; empty where there is none: it is gone already, or the socket has no addresses."""
    try:
        name = stream.socket.getpeername()
    except OSError:
        return ""
    return str(name[0]) if isinstance(name, tuple) else ""


class Place:
    """One client's place, until it has proved itself or is gone."""

    def __init__(self, strangers: "Strangers", at: str, deadline_s: float) -> None:
        self._strangers = strangers
        self.at = at
        """Its address, as `origin` counts it."""
        self.scope = trio.CancelScope(deadline=deadline_s)
        self.is_proved = False
        self.why = ""
        """Why it had to go; empty: it did not, as far as is known here."""

    async def turn(self) -> None:
        """Wait until its handshake may begin."""
        await self._strangers.turn(self.at)

    def proved(self) -> None:
        """It has shown what is asked for: its address is known from now on."""
        self.is_proved = True
        self._strangers.is_known_from_now(self.at)


class _Room:
    """The places of one kind of address."""

    def __init__(self, places_max: int) -> None:
        self._places_max = places_max
        self._by_address: dict[str, deque[Place]] = {}
        self.taken = 0

    def take(self, place: Place) -> Place | None:
        """Give it a place. Returns the one that has to go for it."""
        leaving = None
        if self.taken >= self._places_max:
            leaving = max(self._by_address.values(), key=len)[0]
            self.give_back(leaving)
        self._by_address.setdefault(place.at, deque()).append(place)
        self.taken += 1
        return leaving

    def give_back(self, place: Place) -> None:
        """Free its place, if it still has one."""
        here = self._by_address.get(place.at)
        if here is None or place not in here:
            return
        here.remove(place)
        self.taken -= 1
        if not here:
            del self._by_address[place.at]


class Strangers:
    """The places at one door."""

    def __init__(self, within_s: float = WITHIN_S) -> None:
        self._within_s = within_s
        self._strange = _Room(PLACES_MAX)
        self._known_room = _Room(KNOWN_PLACES_MAX)
        self._known: dict[str, float] = {}
        """By address: until when; in the order of the last proofs."""
        self._proof = trio.Event()
        """Set when one more address is known."""
        self._second = 0
        self._begun: dict[str, int] = {}
        """Handshakes of strangers that were begun in this second, by address."""
        self.turned_away = 0
        """Clients that had to go unproved for the sake of others, since the start."""

    @property
    def here(self) -> int:
        """Clients that have not proved themselves yet."""
        return self._strange.taken + self._known_room.taken

    @contextmanager
    def place(self, address: str) -> Iterator[Place]:
        """A place for one client while the block runs; see above."""
        place = Place(self, origin(address), trio.current_time() + self._within_s)
        room = self._known_room if self._is_known(place.at) else self._strange
        leaving = room.take(place)
        if leaving is not None:
            self.turned_away += 1
            leaving.why = CROWDED
            leaving.scope.cancel()
        try:
            with place.scope:
                yield place
        finally:
            room.give_back(place)
        if place.scope.cancelled_caught and not place.why:
            place.why = LATE

    async def turn(self, at: str) -> None:
        """Wait until a handshake with this address may begin, and count it."""
        while not self._may_begin(at):
            with trio.move_on_at(self._second + 1.0):
                await self._proof.wait()

    def _may_begin(self, at: str) -> bool:
        if self._is_known(at):
            return True
        second = int(trio.current_time())
        if second != self._second:
            self._second, self._begun = second, {}
        here = self._begun.get(at, 0)
        if here >= EACH_WORK_PER_S or sum(self._begun.values()) >= WORK_PER_S:
            return False
        self._begun[at] = here + 1
        return True

    def is_known_from_now(self, at: str) -> None:
        """Somebody at this address has proved himself."""
        if not self._is_known(at):
            self._proof.set()
            self._proof = trio.Event()
        self._known.pop(at, None)
        self._known[at] = trio.current_time() + KNOWN_FOR_S
        if len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]

    def _is_known(self, at: str) -> bool:
        return self._known.get(at, 0.0) > trio.current_time()
