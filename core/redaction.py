"""Redaction: takes secrets and personal numbers out of whatever is about to be logged, stored or shown.

Three kinds of rules, in this order:

    by value    each secret that is configured, as it is and in the forms that carriers give it
    by name     whatever stands under a telling name: a password, a key, a token, a resident number
    by shape    what can be told by its looks alone: keys, tokens, resident, card and telephone numbers

What is taken out leaves `***` behind; of a telephone number the ends stay. Redacting twice changes nothing more.
Names of people, addresses and e-mail addresses stay: operators need them, and they are personal data, not secrets.
"""

from __future__ import annotations

import base64
import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from core.model.message import Pairs

MASK: Final = "***"
CAP_BYTES: Final = 16 * 1024

_SHORTEST_SECRET: Final = 6
"""A shorter secret is masked by its name alone: as a value it would be found everywhere."""

# ---------------------------------------------------------------- by name

_TELLING_ENDINGS: Final = (
    *("authorization", "cookie", "cookies", "csrf", "sessionid", "credential", "credentials", "signature"),
    *("password", "passwd", "passphrase", "passcode", "pwd", "secret", "token", "codeverifier"),
    *("apikey", "accesskey", "accesskeyid", "secretkey", "servicekey", "confmkey", "authkey", "privatekey"),
    *("signingkey", "encryptionkey", "비밀번호", "인증번호", "인증키", "비밀키", "카드번호", "계좌번호"),
    *("주민번호", "주민등록번호", "외국인등록번호", "여권번호", "운전면허번호"),
)
_TELLING_NAMES: Final = frozenset(
    {"auth", "pass", "pw", "pin", "otp", "cvc", "cvv", "sid", "sig", "dsn"}
    | {"rrn", "ssn", "jumin", "juminno", "accountno", "cardno", "cardnumber"}
)
_TELLING_IN_A_QUERY: Final = frozenset({"key", "code", "state"})
_WHOLE_LINE: Final = ("authorization", "cookie", "cookies")


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether what stands under `name` is a secret, whatever the case, the separators and the Hangul form."""
    bare = _bare(name)
    return bare in _TELLING_NAMES or bare.endswith(_TELLING_ENDINGS)


@lru_cache(maxsize=4096)
def _is_secret_in_query(name: str) -> bool:
    decoded = unquote_plus(name)
    return is_secret_name(decoded) or _bare(decoded) in _TELLING_IN_A_QUERY


@lru_cache(maxsize=4096)
def _takes_whole_line(name: str) -> bool:
    return _bare(name).endswith(_WHOLE_LINE)


def _bare(name: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())


class _NameRule(NamedTuple):
    """Where a name with its value stands in a text: `name` ends right before the value."""

    name: re.Pattern[str]
    value: re.Pattern[str]
    is_secret: Callable[[str], bool] = is_secret_name


# Every pattern takes time in proportion to the text: runs are possessive or bounded, and a run begins only where
# none is going on. That is looked at after the first character, so that the search can leap to such a character.
_QUOTED: Final = r"""
      \\["'](?:[^\\"']|\\\\(?:\\?.))++(?:\\["']|\Z)        # a string in a string
    | \\{2,}["'][^"']*+["']?                               # a string deeper still
    | [bru]?"(?:[^"\\]|\\.)++(?:"|\Z)
    | [bru]?'(?:[^'\\]|\\.)++(?:'|\Z)
"""
_VALUE: Final = re.compile(
    _QUOTED
    + r"""
    | (?![\[\]{}(),]|(?:null|none|true|false|undefined)\b)[^\s&"'<>;]*[^\s&"'<>;,)}\]\\]
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_LINE: Final = re.compile(_QUOTED + r"""| (?:[^\r\n"'<>\\]|(?<==)"[^"\r\n]*+")++""", re.VERBOSE | re.DOTALL)
_NAME_RULES: Final = (
    _NameRule(  # in JSON, in a log line, in what Python prints
        re.compile(
            r"""(?P<name>[\w-](?<![\w-][\w-])[\w-]++)(?:\\*["'])?\s{0,3}(?:=>|[:=]|%3[AaDd])[\s\[(]{0,3}"""
        ),
        _VALUE,
    ),
    _NameRule(  # a pair in what Python prints
        re.compile(r"""\(b?["'](?P<name>[\w-]{2,}+)["'],\s{0,3}"""), _VALUE
    ),
    _NameRule(  # in the query of an address
        re.compile(r"""[?&\#](?P<name>[\w.%\[\]-]{1,64})="""),
        re.compile(r"""[^&\#\s"'<>\\]++"""),
        _is_secret_in_query,
    ),
    _NameRule(  # in XML
        re.compile(r"<(?:[\w-]{1,40}:)?(?P<name>[\w.-]{2,64})(?:\s[^<>]{0,200})?>(?:<!\[CDATA\[)?"),
        re.compile(r"[^<\]]++"),
    ),
    _NameRule(  # in a multipart form
        re.compile(
            r"""name="(?P<name>[^"\r\n]{1,64})"[^\r\n]{0,200}+(?:\r?\n[^\r\n]{1,200}+){0,4}+\r?\n\r?\n"""
        ),
        re.compile(r"[^\r\n]++"),
    ),
)


def _mask_named(text: str, rule: _NameRule) -> str:
    kept: list[str] = []
    done = 0
    for found in rule.name.finditer(text):
        name = found["name"]
        if found.start() < done or not rule.is_secret(name):
            continue
        pattern = _LINE if rule.value is _VALUE and _takes_whole_line(name) else rule.value
        value = pattern.match(text, found.end())
        if value is not None:
            kept += text[done : found.end()], _masked(value[0])
            done = value.end()
    return "".join([*kept, text[done:]]) if done else text


def _masked(value: str) -> str:
    """The mask, in the quotes that the value stands in, so that what is around it can still be read."""
    opening = re.match(r"""[bru]?(\\*["'])""", value)
    return f"{opening[0]}{MASK}{opening[1]}" if opening else MASK


# ---------------------------------------------------------------- by shape

_GAP: Final = "[\u200b\u200c\u200d\ufeff]"
_DASH: Final = "(?:[-\u2010-\u2015\u2212\uff0d ]|%2[Dd])"
_LONGEST_WORD: Final = 24

_TWELFTH_DIGIT_WEIGHTS: Final = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
_YEARS_OF_1900: Final = range(29, 100)
_YEARS_OF_2000: Final = range(41)
_YEARS_THAT_MILLISECONDS_LOOK_LIKE: Final = range(14, 21)


class _ShapeRule(NamedTuple):
    """What a secret looks like, and what is left of it."""

    shape: re.Pattern[str]
    left: Callable[[re.Match[str]], str]


def _nothing(_found: re.Match[str]) -> str:
    return MASK


def _but_first(found: re.Match[str]) -> str:
    return f"{found[1]}{MASK}"


def _but_ends(found: re.Match[str]) -> str:
    return f"{found[1]}{MASK}{found[2]}"


def _scheme(found: re.Match[str]) -> str:
    """A Basic or Bearer credential is taken out, a sentence with one of these words stays."""
    word = found[2].rstrip(".")
    is_word = word.isalpha() and word[1:].islower() and len(word) < _LONGEST_WORD
    return found[0] if is_word else f"{found[1]}{MASK}"


def _resident(found: re.Match[str]) -> str:
    number = _digits(found[0])
    is_joined = len(found[0]) == len(number)
    return MASK if _is_resident_number(number, is_joined=is_joined) else found[0]


def _is_resident_number(number: list[int], *, is_joined: bool) -> bool:
    """Whether 13 digits number a person who may be alive: a date of birth, then a digit for century and sex.

    Corporations have numbers of the same form, which the century tells apart. The last digit is a checksum
    only in numbers given before October 2020, so that it proves nothing by itself; it decides where 13 joined
    digits may as well be milliseconds since 1970.
    """
    year, month, day = (number[place] * 10 + number[place + 1] for place in (0, 2, 4))
    years = {1: _YEARS_OF_1900, 2: _YEARS_OF_1900, 3: _YEARS_OF_2000, 4: _YEARS_OF_2000}
    kind = number[6] - 4 if number[6] > max(years) else number[6]  # foreigners have 5 to 8
    if year not in years.get(kind, ()) or month not in range(1, 13) or day not in range(1, 32):
        return False
    if is_joined and year in _YEARS_THAT_MILLISECONDS_LOOK_LIKE:
        weighed = sum(digit * weight for digit, weight in zip(number, _TWELFTH_DIGIT_WEIGHTS, strict=False))
        return (11 - weighed % 11) % 10 == number[12]
    return True


def _card(found: re.Match[str]) -> str:
    """A number that keeps the checksum of cards (Luhn's)."""
    doubled = (digit * (1 + place % 2) for place, digit in enumerate(reversed(_digits(found[0]))))
    is_card = sum(sum(divmod(digit, 10)) for digit in doubled) % 10 == 0
    return MASK if is_card else found[0]


def _digits(text: str) -> list[int]:
    return [unicodedata.decimal(char) for char in re.sub("%2[Dd]", "", text) if char.isdecimal()]


_RESIDENT_DATE: Final = rf"\d(?<!\d\d)(?<!\d{_GAP}\d)(?:{_GAP}?\d){{5}}"
_SHAPE_RULES: Final = (
    _ShapeRule(  # private keys
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)",
            re.DOTALL,
        ),
        _nothing,
    ),
    # passwords, and tokens in their place, in addresses
    _ShapeRule(re.compile(r"""(://[^\s/:@?\#"'<>]*:)[^\s/"'<>?\#]*(?=@)"""), _but_first),
    _ShapeRule(re.compile(r"""(://)[^\s/:@?\#"'<>*]++(?=@)"""), _but_first),
    # credentials of HTTP
    _ShapeRule(
        re.compile(
            r"([bB](?<![\w-].)(?:[eE][aA][rR][eE][rR]|[aA][sS][iI][cC])(?:\s{1,3}|\+|%20))([\w.~+/=%-]{6,}+)"
        ),
        _scheme,
    ),
    # JSON web tokens
    _ShapeRule(
        re.compile(r"eyJ(?<![\w-]eyJ)[A-Za-z0-9_-]{5,}+\.[A-Za-z0-9_-]{5,}+(?:\.[A-Za-z0-9_-]*+)?"), _nothing
    ),
    # keys and tokens that tell by their beginning whose they are
    _ShapeRule(
        re.compile(
            r"(?:sk_live_|sk_test_|rk_live_|rk_test_|whsec_|gh[opsru]_|github_pat_|glpat-|xox[abeprs]-|AKIA|ASIA|"
            r"AIza|gAAAA|SG\.|bongsu_)(?=[A-Za-z_=.-]{0,40}\d)[A-Za-z0-9_=.-]{10,}+"
        ),
        _nothing,
    ),
    # resident registration numbers
    _ShapeRule(
        re.compile(rf"{_RESIDENT_DATE}{_GAP}?{_DASH}{_GAP}?\d(?:{_GAP}?\d){{6}}(?!\d)"),
        _resident,
    ),
    _ShapeRule(
        re.compile(rf"{_RESIDENT_DATE}(?<![A-Za-z]\d{{6}})(?:{_GAP}?\d){{7}}(?![0-9A-Za-z])"), _resident
    ),
    # card numbers
    _ShapeRule(
        re.compile(r"[2-69](?<![\w.].)(?<!\d{4}[ -].)\d{3}(?:[ -]?\d{4}){3}(?!\w|\.\d|(?:[ -]\d{4}){2})"),
        _card,
    ),
    _ShapeRule(re.compile(r"3(?<![\w.]3)[47]\d\d[ -]?\d{6}[ -]?\d{5}(?!\w|\.\d)"), _card),
    # telephone numbers: mobile, mobile from abroad, fixed
    _ShapeRule(
        re.compile(r"(0(?<![0-9A-Za-z.]0)1[016789]\)?[ .-]?)\d{3,4}([ .-]?\d{4})(?![0-9A-Za-z])"), _but_ends
    ),
    _ShapeRule(
        re.compile(
            r"(82(?:(?<![0-9A-Za-z.]82)|(?<=%2[Bb]82))[ -]?(?:\(0\)|0)?[ -]?1[016789][ -]?)"
            r"\d{3,4}([ -]?\d{4})(?![0-9A-Za-z])"
        ),
        _but_ends,
    ),
    _ShapeRule(re.compile(r"(0(?<![\w.-]0)(?:2|[3-6]\d|70)-)\d{3,4}(-\d{4})(?![\w-])"), _but_ends),
)


# ---------------------------------------------------------------- by value


def _forms(secret: str) -> set[str]:
    """The forms in which carriers hold a secret."""
    raw = secret.encode("utf-8", "surrogatepass")
    decoded = unquote(secret)  # some providers hand out their keys percent-encoded
    once = {quote(raw, safe=""), quote(raw), quote_plus(raw)}
    encoded = once | {quote(form, safe="") for form in once}
    escaped = json.dumps(secret)[1:-1]
    forms = {
        secret,
        decoded,
        escaped,
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(escaped)[1:-1],
    }
    forms |= encoded | {re.sub("%..", lambda found: found[0].lower(), form) for form in encoded}
    forms |= {
        html.escape(secret),
        repr(secret)[1:-1],
        secret.replace('"', '""'),
        raw.hex(),
        raw.hex().upper(),
    }
    return forms | _base64_forms(raw)


def _base64_forms(raw: bytes) -> set[str]:
    """What base64 makes of `raw` wherever it stands in the encoded bytes, without the characters of its neighbours."""
    forms = set()
    for offset in range(3):
        # Of the first and the last character, some bits may belong to a neighbour.
        first = (offset * 8 + 5) // 6
        last = (offset + len(raw)) * 8 // 6
        text = base64.b64encode(b"\0" * offset + raw + b"\0\0").decode()[first:last]
        forms |= {text, text.replace("+", "-").replace("/", "_")}
    return forms


# ---------------------------------------------------------------- the redactor


class Redactor:
    """Redacts by the three kinds of rules. It is pure, and threads may share it."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """`secrets` are the values that are configured; those shorter than 6 characters are left to their names."""
        forms = {form for secret in secrets if len(secret) >= _SHORTEST_SECRET for form in _forms(secret)}
        forms = {form for form in forms if len(form) >= _SHORTEST_SECRET}
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))

    def text(self, text: str) -> str:
        """Any text: a message, a traceback, a log line."""
        for form in self._forms:
            text = text.replace(form, MASK)
        for rule in _NAME_RULES:
            text = _mask_named(text, rule)
        for shape, left in _SHAPE_RULES:
            text = shape.sub(left, text)
        return text

    def url(self, url: str) -> str:
        """An address, with or without a query."""
        return self.text(_mask_query(url))

    def pairs(self, pairs: Pairs) -> Pairs:
        """Headers, parameters or form fields."""
        return tuple(
            (self.text(name), MASK if value and _is_secret_in_query(name) else self.text(value))
            for name, value in pairs
        )

    def body(self, body: bytes | None, content_type: str | None) -> str | None:
        """What a body said, cut at 16 KiB once it is redacted; of a binary one, only how large it is.

        None when there is no body.
        """
        if not body:
            return None
        kind = (content_type or "").lower()
        text = _decoded(body, kind)
        if text is None:
            return f"({len(body):,} bytes that are not text)"
        if "x-www-form-urlencoded" in kind:
            text = _mask_query("?" + text)[1:]
        return cut(self.text(_mask_json(text)))


def cut(text: str, cap: int = CAP_BYTES) -> str:
    """The text, or its first `cap` bytes in UTF-8 with a note of what is missing. No mask is cut in two."""
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) <= cap:
        return text
    kept = encoded[:cap].decode("utf-8", "ignore")
    if text[len(kept)] == MASK[0]:
        kept = kept.rstrip(MASK[0])
    return f"{kept}… (cut: {len(encoded):,} bytes in all)"


def _decoded(body: bytes, kind: str) -> str | None:
    """The body as text, or None when it is none."""
    if b"\0" in body or kind.startswith(("image/", "audio/", "video/", "font/", "application/octet-stream")):
        return None
    charset = re.search(r"charset=[\"']?([\w-]{1,40})", kind)
    for encoding in (charset[1] if charset else "utf-8", "utf-8", "cp949"):
        try:
            return body.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return None


def _mask_query(url: str) -> str:
    # Names may be percent-encoded Hangul, which the rules for text do not read.
    return re.sub(
        r"([?&#])([^=&#\s]{1,200})=([^&#\s]+)",
        lambda found: f"{found[1]}{found[2]}={MASK}" if _is_secret_in_query(found[2]) else found[0],
        url,
    )


def _mask_json(text: str) -> str:
    """JSON with what stands under telling names masked, and with its escapes undone; anything else as it is."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        document = json.loads(text)
        masked = _mask_document(document)
    except (ValueError, RecursionError):
        return text
    if masked == document and "\\u" not in text:
        return text
    return json.dumps(masked, ensure_ascii=False)


_Json = None | bool | int | float | str | list["_Json"] | dict[str, "_Json"]


def _mask_document(value: _Json, *, is_secret: bool = False) -> _Json:
    if isinstance(value, dict):
        return {
            key: _mask_document(item, is_secret=is_secret or is_secret_name(key))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_mask_document(item, is_secret=is_secret) for item in value]
    if value is None or isinstance(value, bool) or value == "":
        return value
    if is_secret:
        return MASK
    return _mask_json(value) if isinstance(value, str) else value
