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
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from itertools import pairwise
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from core.model.message import Pairs

MASK: Final = "***"
CAP_BYTES: Final = 16 * 1024

_MARGIN: Final = 1_200
"""So many characters are enough to tell every secret by, whatever comes after them; all but the length of one that
is known by its value. The longest is the head of a field in a multipart form."""

_SHORTEST_SECRET: Final = 6
"""A shorter secret is masked by its name alone: as a value it would be found everywhere."""

_SHORT: Final = 64
"""So many characters has a name, or a value, that is likely to come again."""

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


@lru_cache(maxsize=4096)
def _ends_telling(reversed_name: str) -> bool:
    return is_secret_name(reversed_name[::-1])


_LAST_WORD_REVERSED: Final = re.compile(r"\\*([\w-]+)")


@lru_cache(maxsize=4096)
def _is_telling_key(key: str) -> bool:
    """Whether a key of JSON is a telling name, or its last word is."""
    word = _LAST_WORD_REVERSED.match(key[::-1])
    return is_secret_name(key) or (word is not None and _ends_telling(word[1]))


class _Rule(NamedTuple):
    """Masks secrets of one kind. `may_match` tells quickly of most texts that `mask` leaves them as they are."""

    may_match: Callable[[str], bool]
    mask: Callable[[str], str]


def _has(piece: str) -> Callable[[str], bool]:
    return lambda text: piece in text


class _Named(NamedTuple):
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
_LINE: Final = re.compile(
    _QUOTED + r"""| (?:[^\r\n"'<>\\]|(?<==)"[^"\r\n]*+(?:"|\Z))++""", re.VERBOSE | re.DOTALL
)
_PLAIN: Final = _Named(  # in JSON, in a log line, in what Python prints
    re.compile(
        r"""(?P<name>[\w-](?<![\w-][\w-])[\w-]++)(?:\\*["'])?\s{0,3}(?:=>|[:=]|%3[AaDd])[\s\[(]{0,3}"""
    ),
    _VALUE,
)
_PLAIN_NAME_REVERSED: Final = re.compile(r"""[:=]\s{0,3}(?:["']\\*+)?([\w-]{2,}+)""")
_PRINTED_PAIR: Final = _Named(re.compile(r"""\(b?["'](?P<name>[\w-]{2,}+)["'],\s{0,3}"""), _VALUE)
_QUERY: Final = _Named(
    re.compile(r"""[?&\#](?P<name>[\w.%\[\]-]{1,64})="""),
    re.compile(r"""[^&\#\s"'<>\\]++"""),
    _is_secret_in_query,
)
_XML: Final = _Named(
    re.compile(r"<(?:[\w-]{1,40}:)?(?P<name>[\w.-]{2,64})(?:\s[^<>]{0,200})?>(?:<!\[CDATA\[)?"),
    re.compile(r"[^<\]]++"),
)
_MULTIPART: Final = _Named(
    re.compile(r"""name="(?P<name>[^"\r\n]{1,64})"[^\r\n]{0,200}+(?:\r?\n[^\r\n]{1,200}+){0,4}+\r?\n\r?\n"""),
    re.compile(r"[^\r\n]++"),
)


def _may_name_secrets(text: str) -> bool:
    """Whether the plain rule can find anything: some telling name stands before a colon or an equals sign.

    Read backwards, a search can leap from one such sign to the next, and words that stand before none cost nothing.
    """
    if "%3" in text:
        return True
    return any(map(_ends_telling, set(_PLAIN_NAME_REVERSED.findall(text[::-1]))))


def _mask_named(rule: _Named, text: str) -> str:
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


_NAME_RULES: Final = (
    _Rule(_may_name_secrets, partial(_mask_named, _PLAIN)),
    _Rule(_has("("), partial(_mask_named, _PRINTED_PAIR)),
    _Rule(_has("="), partial(_mask_named, _QUERY)),
    _Rule(_has("<"), partial(_mask_named, _XML)),
    _Rule(_has('name="'), partial(_mask_named, _MULTIPART)),
)


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


def _shape(pattern: str, left: Callable[[re.Match[str]], str] | str = MASK) -> Callable[[str], str]:
    """What masks whatever looks like this; `left` is what is left of it."""
    return partial(re.compile(pattern, re.DOTALL).sub, left)


def _has_scheme(text: str) -> bool:
    lower = text.encode("utf-8", "surrogatepass").lower()  # far faster than str.lower, and ASCII is enough
    return b"bearer" in lower or b"basic" in lower


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


_RESIDENT_DATE: Final = rf"\d(?<!\d\d)(?:{_GAP}?\d){{5}}"
_NUMBERS: Final = (
    # resident registration numbers
    _shape(rf"{_RESIDENT_DATE}{_GAP}?{_DASH}{_GAP}?\d(?:{_GAP}?\d){{6}}(?!\d)", _resident),
    _shape(rf"{_RESIDENT_DATE}(?<![A-Za-z]\d{{6}})(?:{_GAP}?\d){{7}}(?![0-9A-Za-z])", _resident),
    # card numbers
    _shape(r"[2-69](?<![\w.].)(?<!\d{4}[ -].)\d{3}(?:[ -]?\d{4}){3}(?!\w|\.\d|(?:[ -]\d{4}){2})", _card),
    _shape(r"3(?<![\w.]3)[47]\d\d[ -]?\d{6}[ -]?\d{5}(?!\w|\.\d)", _card),
    # telephone numbers: mobile, mobile from abroad, fixed
    _shape(r"(0(?<![0-9A-Za-z.]0)1[016789]\)?[ .-]?)\d{3,4}([ .-]?\d{4})(?![0-9A-Za-z])", _but_ends),
    _shape(
        r"(82(?:(?<![0-9A-Za-z.]82)|(?<=%2[Bb]82))[ -]?(?:\(0\)|0)?[ -]?1[016789][ -]?)"
        r"\d{3,4}([ -]?\d{4})(?![0-9A-Za-z])",
        _but_ends,
    ),
    _shape(r"(0(?<![\w.-]0)(?:2|[3-6]\d|70)-)\d{3,4}(-\d{4})(?![\w-])", _but_ends),
)

# One search tells whether any of the rules for numbers can match. It looks more closely only where a row of nine
# digits or more begins, and digits are what is not known to be another character: such a set is one look at a map,
# where "\\d" asks the Unicode database for every character of the text.
_ZEROS: Final = (
    *(0x30, 0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50),
    *(0xED0, 0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40),
    *(0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10),
)
_NO_DIGITS: Final = "".join(
    f"\\u{after + 10:04x}-\\u{zero - 1:04x}" for after, zero in pairwise((-10, *_ZEROS, 0x10000))
)
_DIGIT: Final = f"[^{_NO_DIGITS}]"
_BETWEEN_DIGITS: Final = r"[-\u2010-\u2015\u2212\uff0d \u200b\u200c\u200d\ufeff().%Dd]"
_MAY_BE_NUMBER: Final = re.compile(
    rf"""{_DIGIT}(?<![0-9].)(?=(?:{_BETWEEN_DIGITS}{{0,3}}{_DIGIT}){{8}})(?:
          (?:{_GAP}?{_DIGIT}){{5}}{_GAP}?{_DASH}?{_GAP}?{_DIGIT}(?:{_GAP}?{_DIGIT}){{6}}(?![0-9])
        | (?<=[2-69]){_DIGIT}{{3}}(?:[ -]?{_DIGIT}{{4}}){{3}}(?!\w)
        | (?<=3)[47]{_DIGIT}{{2}}[ -]?{_DIGIT}{{6}}[ -]?{_DIGIT}{{5}}(?!\w)
        | (?<=0)1[016789]\)?[ .-]?{_DIGIT}{{3,4}}[ .-]?{_DIGIT}{{4}}(?![0-9A-Za-z])
        | (?<=8)2[ -]?(?:\(0\)|0)?[ -]?1[016789][ -]?{_DIGIT}{{3,4}}[ -]?{_DIGIT}{{4}}(?![0-9A-Za-z])
        | (?<=0)(?:2|[3-6]{_DIGIT}|70)-{_DIGIT}{{3,4}}-{_DIGIT}{{4}}(?![\w-])
    )""",
    re.VERBOSE,
)


_BEGINNING: Final = re.compile(
    r"sk_live_|sk_test_|rk_live_|rk_test_|whsec_|gh[opsru]_|github_pat_|glpat-|xox[abeprs]-|AKIA|ASIA|AIza|gAAAA|"
    r"SG\.|bongsu_"
)


def _may_begin_token(text: str) -> bool:
    return _BEGINNING.search(text) is not None


def _may_have_numbers(text: str) -> bool:
    return _MAY_BE_NUMBER.search(text) is not None


def _mask_numbers(text: str) -> str:
    for mask in _NUMBERS:
        text = mask(text)
    return text


_SHAPE_RULES: Final = (
    # private keys
    _Rule(
        _has("PRIVATE KEY-----"),
        _shape(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)"
        ),
    ),
    # passwords, and tokens in their place, in addresses
    _Rule(_has("@"), _shape(r"""(://[^\s/:@?\#"'<>]*:)[^\s/"'<>?\#]*(?=@)""", _but_first)),
    _Rule(_has("@"), _shape(r"""(://)[^\s/:@?\#"'<>*]++(?=@)""", _but_first)),
    # credentials of HTTP
    _Rule(
        _has_scheme,
        _shape(
            r"([bB](?<![\w-].)(?:[eE][aA][rR][eE][rR]|[aA][sS][iI][cC])(?:\s{1,3}|\+|%20))([\w.~+/=%-]{6,}+)",
            _scheme,
        ),
    ),
    # JSON web tokens
    _Rule(
        _has("eyJ"),
        _shape(r"eyJ(?<![\w-]eyJ)[A-Za-z0-9_-]{5,}+\.[A-Za-z0-9_-]{5,}+(?:\.[A-Za-z0-9_-]*+)?"),
    ),
    # keys and tokens that tell by their beginning whose they are
    _Rule(
        _may_begin_token,
        _shape(rf"(?:{_BEGINNING.pattern})(?=[A-Za-z_=.-]{{0,40}}\d)[A-Za-z0-9_=.-]{{10,}}+"),
    ),
    # resident registration, card and telephone numbers
    _Rule(_may_have_numbers, _mask_numbers),
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

_RULES: Final = (*_NAME_RULES, *_SHAPE_RULES)
_MOST_PASSES: Final = 4
"""What is taken out may uncover what stood right beside it: a token that began within a number, say."""


class Redactor:
    """Redacts by the three kinds of rules. It is pure, and threads may share it."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """`secrets` are the values that are configured; those shorter than 6 characters are left to their names."""
        forms = {form for secret in secrets if len(secret) >= _SHORTEST_SECRET for form in _forms(secret)}
        forms = {form for form in forms if len(form) >= _SHORTEST_SECRET}
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))
        self._margin = max(_MARGIN, *map(len, self._forms)) if self._forms else _MARGIN
        # Of a longer body, no more is read: enough to fill what is kept, and to lose what is near the end.
        self.most_bytes = 2 * CAP_BYTES + 8 * self._margin
        # Headers are nearly the same from call to call: what is left of a short one is remembered.
        self._short = lru_cache(maxsize=1024)(self.text)

    def text(self, text: str) -> str:
        """Any text: a message, a traceback, a log line."""
        return self._text(text, text)

    def _text(self, text: str, told: str) -> str:
        """The text redacted. `told` has in it whatever any rule may match (`_told`), and is perhaps shorter."""
        for _ in range(_MOST_PASSES):
            redacted = self._pass(text, told)
            if redacted == text:
                break
            text = told = redacted
        return text

    def _pass(self, text: str, told: str) -> str:
        redacted = text
        for form in self._forms:
            redacted = redacted.replace(form, MASK)
        for rule in _RULES:
            seen = told if redacted is text or redacted == text else redacted
            if rule.may_match(seen):
                redacted = rule.mask(redacted)
        return redacted

    def url(self, url: str) -> str:
        """An address, with or without a query."""
        return self.text(_mask_query(url))

    def pairs(self, pairs: Pairs) -> Pairs:
        """Headers, parameters or form fields."""
        return tuple(
            (self._piece(name), MASK if value and _is_secret_in_query(name) else self._piece(value))
            for name, value in pairs
        )

    def _piece(self, text: str) -> str:
        return self._short(text) if len(text) <= _SHORT else self.text(text)

    def body(self, body: bytes | None, content_type: str | None) -> str | None:
        """What a body said, redacted and cut at 16 KiB; of a binary one, only how large it is. None when there is none.

        Of a body that is much longer than what is kept, only a beginning is read at all. What is near the end of
        that is dropped: it may be the beginning of a secret that can no longer be told by it.
        """
        if not body:
            return None
        kind = (content_type or "").lower()
        text = _decoded(body, kind, self.most_bytes)
        if text is None:
            return f"({len(body):,} bytes that are not text)"
        is_whole = len(body) <= self.most_bytes
        closing = ""
        if not is_whole:
            text, closing = _ended(text)
        if "x-www-form-urlencoded" in kind:
            text = _mask_query("?" + text)[1:]
        text, told = _mask_json(text + closing)
        redacted = self._text(text.removesuffix(closing), told)
        if is_whole:
            return cut(redacted)
        # A mask may be longer than what it stands for, but a name with its value grows by half at the most.
        return cut(_without_edge(redacted, 2 * self._margin), size=len(body))


def cut(text: str, cap: int = CAP_BYTES, size: int | None = None) -> str:
    """The text, or its first `cap` bytes in UTF-8 with a note of what is missing. No mask is cut in two.

    `size` is how many bytes there were when the text is only the beginning of them, and has the note in any case.
    """
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) <= cap:
        return text if size is None else f"{text}… (cut: {size:,} bytes in all)"
    kept = encoded[:cap].decode("utf-8", "ignore")
    if text[len(kept)] == MASK[0]:
        kept = kept.rstrip(MASK[0])
    return f"{kept}… (cut: {len(encoded) if size is None else size:,} bytes in all)"


def _decoded(body: bytes, kind: str, most: int) -> str | None:
    """The body, or what begins in its first `most` bytes, as text; None when it is none."""
    if b"\0" in body or kind.startswith(("image/", "audio/", "video/", "font/", "application/octet-stream")):
        return None
    charset = re.search(r"charset=[\"']?([\w-]{1,40})", kind)
    for encoding in (charset[1] if charset else "utf-8", "utf-8", "cp949"):
        try:
            if len(body) <= most:
                return body.decode(encoding)
            return getincrementaldecoder(encoding)().decode(body[:most])
        except (UnicodeDecodeError, LookupError):
            continue
    return None


# ---------------------------------------------------------------- the beginning of a text

_JSON_MARK: Final = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)|[\[\]{},]', re.DOTALL)
_CLOSING: Final = {"[": "]", "{": "}"}
_RUN_REVERSED: Final = re.compile(r"""[^\s"'<>]*""")
_LONG_BEGINNINGS: Final = ("://", "eyJ")
"""How secrets begin that only their end can tell, however far away it is."""


def _ended(text: str) -> tuple[str, str]:
    """The beginning of a text, ended where it can be read; and for a beginning of JSON, what would close it."""
    if not _looks_like_json(text):
        return text.rstrip("\\"), ""  # of an escape there may be half
    end = 0
    for mark in _JSON_MARK.finditer(text):
        if mark[0] == ",":
            end = mark.start()
        elif mark[0] in _CLOSING:
            end = mark.end()
    open_ones: list[str] = []
    for mark in _JSON_MARK.finditer(text, 0, end):
        if mark[0] in _CLOSING:
            open_ones.append(_CLOSING[mark[0]])
        elif open_ones and mark[0] == open_ones[-1]:
            open_ones.pop()
    return text[:end], "".join(reversed(open_ones))


def _without_edge(text: str, length: int) -> str:
    """The text without its last `length` characters, nor what begins before them and may be a secret without end."""
    kept = text[: max(0, len(text) - length)]
    run = _RUN_REVERSED.match(kept[::-1])
    start = len(kept) - (run.end() if run else 0)
    ends = [place for sign in _LONG_BEGINNINGS if (place := kept.find(sign, start)) >= 0]
    return kept[: min(ends, default=len(kept))].rstrip(MASK[0])


# ---------------------------------------------------------------- documents


def _mask_query(url: str) -> str:
    # Names may be percent-encoded Hangul, which the rules for text do not read.
    return re.sub(
        r"([?&#])([^=&#\s]{1,200})=([^&#\s]+)",
        lambda found: f"{found[1]}{found[2]}={MASK}" if _is_secret_in_query(found[2]) else found[0],
        url,
    )


def _looks_like_json(text: str) -> bool:
    return text.lstrip().startswith(("{", "["))


def _mask_json(text: str) -> tuple[str, str]:
    """JSON with what stands under telling names masked, and with its escapes undone; anything else as it is.

    And besides, as much of it as the rules have to look at.
    """
    if not _looks_like_json(text):
        return text, text
    told = _told(text)
    if told is not None:
        return text, told
    masked = _masked_json(text)
    return masked, masked


def _told(text: str) -> str | None:
    """The keys, strings and numbers of a document, one a line: no rule but that for names reaches beyond one.

    None when a key is telling, when a string may be a document itself, and when there is none.
    """
    if "\\u" in text:
        return None
    keys: set[str] = set()
    values: list[object] = []  # numbers as they are written

    def gather(pairs: list[tuple[str, object]]) -> None:
        if pairs:
            names, held = zip(*pairs, strict=True)
            keys.update(names)
            values.extend(held)

    try:
        values.append(json.loads(text, object_pairs_hook=gather, parse_int=str, parse_float=str))
    except (ValueError, RecursionError):
        return None
    for value in values:
        if type(value) is list:
            values += value
    strings = [value for value in values if type(value) is str]
    if any(map(_is_telling_key, keys)):
        return None
    told = "\n".join((*keys, *strings))
    if ("{" in told or "[" in told) and any(map(_looks_like_json, strings)):
        return None
    return told


def _masked_json(text: str) -> str:
    if not _looks_like_json(text):
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
    return _masked_json(value) if isinstance(value, str) else value
