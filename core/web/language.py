"""Which of our two languages a browser asks for."""

from __future__ import annotations

from starlette.datastructures import Headers

from core.errors import Language


def language_of(headers: Headers) -> Language:
    """The first of Korean and English in `Accept-Language`, by its weights; Korean when it names neither."""
    return preferred(headers.get("accept-language", ""))


def preferred(accepted: str) -> Language:
    """The rule behind `language_of`, over the header's text."""
    ranked = sorted((_entry(part) for part in accepted.split(",")), key=lambda entry: -entry[0])
    for weight, tag in ranked:
        primary = tag.partition("-")[0]
        if weight > 0 and primary == "ko":
            return "ko"
        if weight > 0 and primary == "en":
            return "en"
    return "ko"


def _entry(part: str) -> tuple[float, str]:
    tag, _, parameters = part.strip().lower().partition(";")
    weight = parameters.strip().removeprefix("q=")
    try:
        return (float(weight) if weight else 1.0, tag)
    except ValueError:
        return (0.0, tag)
