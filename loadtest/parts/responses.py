"""One HTTP response, as the mocks read it: an object for one call, thrown away with it.

The rule is the gateway's (`gateway.http.exchange`), and not its code, since the mocks judge it from outside: a
call has a whole response that began after its request was sent, or none.
"""

import httptools


class Reading:
    """The response to one request. `feed` it until it is `over`; `close` says that no more comes."""

    def __init__(self, bytes_max: int) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._bytes_max = bytes_max
        self._sized = False
        self.came_bytes = 0
        self.complete = False
        self.broken = False
        """It is no response, or a longer one than anybody would read."""
        self.keep = False
        """The connection may be used again."""
        self.status = 0
        self.body = b""
        self.retry_after = b""

    @property
    def over(self) -> bool:
        """No more of it is wanted."""
        return self.complete or self.broken

    def feed(self, chunk: bytes) -> None:
        """Something came."""
        first, self.came_bytes = not self.came_bytes, self.came_bytes + len(chunk)
        self.broken = self.came_bytes > self._bytes_max or (first and chunk[:1] != b"H")
        if self.broken:
            return
        try:
            self._parser.feed_data(chunk)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.broken, self.keep = not self.complete, False

    def close(self) -> None:
        """The connection ended. A response of no stated length is as long as that."""
        self.complete = self.complete or (self.status >= 200 and not self._sized)
        self.broken = not self.complete

    # --- what the parser calls

    def on_message_begin(self) -> None:
        """A status line begins."""
        if self.complete:
            self.keep = False  # more than was asked for
            return
        self._sized, self.status, self.body, self.retry_after = False, 0, b"", b""

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        lower = name.lower()
        self._sized |= lower in {b"content-length", b"transfer-encoding"}
        if lower == b"retry-after":
            self.retry_after = value

    def on_headers_complete(self) -> None:
        """The head is over."""
        self.status = self.status if self.complete else self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        if not self.complete:
            self.body = self.body + body if self.body else body

    def on_message_complete(self) -> None:
        """The message is over; an interim one says nothing."""
        if not self.complete and self.status >= 200:
            self.keep = self._parser.should_keep_alive()
            self.complete = True
