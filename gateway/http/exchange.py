"""One request's response, read from the bytes that come after the request has left. Pure.

An exchange is made for one request and thrown away with it, parser and all: nothing of one response can count for the
next. Only a whole response counts. It has:

* a head that begins with `HTTP/1.`, at the first byte that came after the request: a server that writes an empty line
  first, or another protocol, is not answering this request;
* a status of 200 or more; an interim response (1xx) says nothing, and 101 is another protocol;
* a body that ends where its head says, by Content-Length or by chunks. A head that states neither has a body up to the
  end of the connection, which counts when the other end said that this was all: not when the connection broke, and not
  when TLS ended without its close_notify (RFC 9112, section 8). 204 and 304 have no body.

Bytes behind a whole response were not asked for: the response stands, and the connection is not used again. Requests
are never HEAD: a response to one would look like any other, and have no body.
"""

from enum import Enum
from typing import NamedTuple

import httptools

HEAD_BYTES_MAX = 16_384
"""Added to the limit of the body for status line and headers."""
_BEGINS = b"HTTP/1."


class End(Enum):
    """How a connection ended, or why what came is no response."""

    CLOSED = "closed"
    """Nothing of a response had come."""
    CUT = "cut"
    """In the middle of a response."""
    MALFORMED = "malformed"
    """What came is not HTTP/1.1."""
    HUGE = "huge"
    """The response is longer than the limit."""
    UNASKED = "unasked"
    """Something came that answers nothing: before the request was sent, ahead of the response, or behind it."""


class Response(NamedTuple):
    """A whole response."""

    status: int
    body: bytes
    retry_after: bytes
    """The header of that name, or empty."""


class Exchange:
    """One request's response. `feed` it the bytes that come until it is `over`; `close` it when no more come."""

    # defaults on the class: an exchange is made for every question
    response: Response | None = None
    """Once it is whole."""
    keep = False
    """With a response: the connection may be used for another exchange."""
    end: End | None = None
    """Why there will be no response; with one, UNASKED: something came behind it."""
    _came = 0
    _first: bytes = b""
    _in_head = False
    _status = 0
    _body: bytes = b""
    _retry_after: bytes = b""
    _sized = False
    _coded = False

    def __init__(self, body_bytes_max: int) -> None:
        self._bytes_max = body_bytes_max + HEAD_BYTES_MAX
        self._parser = httptools.HttpResponseParser(self)

    @property
    def over(self) -> bool:
        """Whether it wants no more bytes."""
        return self.response is not None or self.end is not None

    def feed(self, chunk: bytes) -> None:
        """Take bytes that came, at least one."""
        if self._first != _BEGINS:
            self._first += chunk[: len(_BEGINS) - len(self._first)]
            if not _BEGINS.startswith(self._first):
                self.end = End.UNASKED if self._first[:1] in b"\r\n" else End.MALFORMED
                return
        self._came += len(chunk)
        if self._came > self._bytes_max:
            self.end = End.HUGE
        elif chunk[-1] in b"\r\n":
            # the parser swallows empty lines behind a message without a word: the last byte must be what ends it
            self._parse(chunk[:-1])
            if self.response is not None:
                self._surplus()
            elif self.end is None:
                self._parse(chunk[-1:])
        else:
            self._parse(chunk)

    def _parse(self, some: bytes) -> None:
        try:
            self._parser.feed_data(some)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if self.response is None:
                self.end = End.MALFORMED
            else:
                self._surplus()

    def close(self, *, orderly: bool) -> None:
        """No more bytes come. `orderly`: the other end said so itself, and nothing is missing."""
        if self._status >= 200 and not self._in_head and not self._sized and orderly:
            self.response = Response(self._status, self._body, self._retry_after)
        else:
            self.end = End.CUT if self._came else End.CLOSED

    def _surplus(self) -> None:
        """Note bytes that nobody asked for, behind the response."""
        self.keep = False
        self.end = End.UNASKED

    # --- what the parser calls

    def on_message_begin(self) -> None:
        """A status line begins: of the first message, or of one behind an interim response."""
        if self.response is not None:
            self._surplus()
            return
        self._in_head = True
        self._status = 0
        self._body = b""
        self._retry_after = b""
        self._sized = self._coded = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header. Trailers, which stand behind a chunked body, say nothing."""
        if not self._in_head:
            return
        length = len(name)
        if length == 14:
            if name.lower() == b"content-length":
                self._sized = True
        elif length == 17:
            if name.lower() == b"transfer-encoding":
                if self._coded or value.lower() != b"chunked":
                    raise ValueError("a coding that we cannot undo")
                self._sized = self._coded = True
        elif length == 11 and name.lower() == b"retry-after":
            self._retry_after = value

    def on_headers_complete(self) -> None:
        """The head is over."""
        self._in_head = False
        if self.response is not None:
            return
        self._status = self._parser.get_status_code()
        if self._status < 100 or self._status == 101:
            raise ValueError("no status of a response")

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        if self.response is None:
            self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        """The message is over. An interim response says nothing."""
        if self.response is None and self._status >= 200:
            # chunks of HTTP/1.0 are a framing that not everybody between us reads alike (RFC 9112, section 6.1)
            old = self._coded and self._parser.get_http_version() == "1.0"
            self.keep = self._parser.should_keep_alive() and not old
            self.response = Response(self._status, self._body, self._retry_after)
