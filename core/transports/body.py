"""The body of an answer, put together and decoded chunk by chunk, and bounded before it is inflated."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from core.transports.attempt import malformed

MAX_BODY_BYTES = 2 * 1024 * 1024
"""The largest answer taken, both as it comes over the wire and decoded."""


class Body:
    """Takes a body in, and never holds more than `MAX_BODY_BYTES` of it beyond one chunk."""

    def __init__(self, encoding: str) -> None:
        """Raises `TransportFault` for an encoding that was not asked for; "" is none."""
        self._decoder = _decoder(encoding)
        self._wire_bytes = 0
        self._plain = bytearray()

    def add(self, chunk: bytes) -> None:
        """Take the next chunk. Raises `TransportFault` beyond the bound, or when it is not in the encoding."""
        self._wire_bytes += len(chunk)
        if self._wire_bytes > MAX_BODY_BYTES:
            raise malformed(f"the answer is larger than {MAX_BODY_BYTES} bytes")
        self._plain += self._decoder.decode(chunk, MAX_BODY_BYTES - len(self._plain))

    def whole(self) -> bytes:
        """All of it, decoded. Raises `TransportFault` when its encoding says that there should be more."""
        self._decoder.finish()
        return bytes(self._plain)


class _Identity:
    """A body that is what it is."""

    def decode(self, chunk: bytes, room: int) -> bytes:  # noqa: ARG002 -- the bound on wire bytes is the same.
        return chunk

    def finish(self) -> None:
        """There is no end mark to miss."""


@dataclass(slots=True)
class _Gzip:
    """A gzip body, of any number of members, never inflated past the room that is left."""

    _member: zlib._Decompress = field(default_factory=lambda: zlib.decompressobj(31))
    _has_begun: bool = False

    def decode(self, chunk: bytes, room: int) -> bytes:
        """What `chunk` decodes to. Raises `TransportFault` beyond `room` bytes or on anything but gzip."""
        plain = bytearray()
        while chunk:
            if self._member.eof:
                self._member = zlib.decompressobj(31)
            self._has_begun = True
            try:
                plain += self._member.decompress(chunk, room - len(plain) + 1)
            except zlib.error as error:
                raise malformed("the answer is not the gzip that it says it is") from error
            if len(plain) > room:
                raise malformed(f"the decoded answer is larger than {MAX_BODY_BYTES} bytes")
            chunk = self._member.unused_data
        return bytes(plain)

    def finish(self) -> None:
        """Raises `TransportFault` when the last member has no end."""
        if self._has_begun and not self._member.eof:
            raise malformed("the compressed answer ends too soon")


def _decoder(encoding: str) -> _Identity | _Gzip:
    match encoding.strip().lower():
        case "" | "identity":
            return _Identity()
        case "gzip" | "x-gzip":
            return _Gzip()
        case _:  # several layers, too: we asked for one.
            raise malformed("the answer is encoded in a way that we did not ask for")
