"""What goes to a provider and what comes back, before anyone has judged it."""

from __future__ import annotations

from dataclasses import dataclass

Pairs = tuple[tuple[str, str], ...]
"""Names with values, in order; a name may come twice."""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request as it goes out. `url` carries no query; `params` is the query, not yet encoded."""

    method: str
    url: str
    params: Pairs = ()
    headers: Pairs = ()
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """One whole answer: `body` is decoded from any transfer or content encoding, but otherwise untouched."""

    status: int
    headers: Pairs
    body: bytes

    def header(self, name: str) -> str | None:
        """The first header of that name, whatever its case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)
