"""Redaction: what goes, what stays, and how long it takes.

Every secret and number here is made up.
"""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus, urlencode

import pytest

from core.redaction import CAP_BYTES, MASK, Redactor, cut, is_secret_name

CONFIGURED = [
    *("U01TX0FVVEgyMDI2MTEyNDEyMDAwMDEx", "devU01TX0FVVEgyMDI2", "a1b2c3d4e5f60718293a4b5c6d7e8f90"),
    *(
        "Zm9v+YmFy/cXV4==",
        "hYt%2Bx%2F3k%3D%3D",
        "0af76519-16cd-43dd-8448-eb211c80319c",
        "p@ss/w:rd#1?",
        "한글비밀번호입니다",
    ),
    *(
        "quo\"te\\back'slash",
        "with space and+plus",
        "line\nbreak-secret",
        "tab\tsecret-value",
        "<xml>&secret</xml>",
    ),
    *(
        "sk_test_4eC39HqLyjWDarjtT1zdp7dc",
        "SG.abcdefghij.klmnopqrstuvwxyz012345",
        "🔑emoji-secret-🔒",
        "hunter22",
    ),
    *("correct horse battery staple", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    *("gAAAAABnQ2h5bW9ja3Rva2VuZm9ydGVzdHM=", "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="),
    '{"type": "service_account", "private_key_id": "0123456789abcdef"}',
    *(f"entropy{number:02d}-{number * 7919:08x}-{number * 104_729:08x}" for number in range(20)),
]
"""Secrets that tell nothing by their looks, or too little: they are known by their value."""

TELLING = {
    "bearer": "Bearer c3ludGhldGljLXRva2VuLTE",
    "basic": "Basic dXNlcjpwYXNzLXRlc3Q=",
    "basic, key only": "basic dGVzdF9za19hYmM6",
    "JSON web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ0ZXN0In0.c3ludGhldGlj",
    "unsigned web token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ0ZXN0In0.",
    "Stripe": "sk_live_51H8abcdefghijklmnop",
    "webhook secret": "whsec_C2FVsBQIhrscChlQIMV2bKzU",
    "GitHub": "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "GitLab": "glpat-0123456789abcdefghij",
    "AWS": "AKIA0123456789ABCDEF",
    "Google": "AIzaSyA0123456789abcdefghijklmnopqrstuv",
    "Slack": "xoxb-123456789012-abcdefghijkl",
    "SendGrid": "SG.0123456789abcdef.ghijklmnopqrstuvwxyz",
    "Fernet": "gAAAAABnQ2h5bW9ja3Rva2VuZm9ydGVzdHM",
    "resident": "900101-1234567",
    "resident, joined": "9001011234567",
    "resident, foreign": "850315-5234567",
    "resident of this century": "151231-3234567",
    "card": "4111-1111-1111-1111",
    "card, Amex": "378282246310005",
    "telephone": "010-1234-5678",
    "telephone, joined": "01012345678",
    "telephone from abroad": "+82-10-1234-5678",
    "telephone, fixed": "02-1234-5678",
}
"""What tells by its looks alone."""

CARRIERS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in a sentence": lambda secret: f"요청이 거절되었습니다: {secret} (HTTP 401)",
    "query": lambda secret: f"https://h.example/api?q={quote(secret, safe='')}&page=1",
    "query, plus for space": lambda secret: f"https://h.example/api?q={quote_plus(secret)}",
    "query, lower-case escapes": lambda secret: "".join(
        part.lower() if part.startswith("%") else part for part in _escapes(quote(secret, safe=""))
    ),
    "query in a query": lambda secret: (
        f"https://h.example/?next={quote('https://i.example/?q=' + quote(secret, safe=''), safe='')}"
    ),
    "path": lambda secret: f"https://h.example/files/{quote(secret, safe='')}/1",
    "fragment": lambda secret: f"https://h.example/#{quote(secret, safe='')}",
    "form": lambda secret: urlencode({"q": secret, "page": 1}),
    "JSON": lambda secret: json.dumps({"note": secret}, ensure_ascii=False),
    "JSON, escaped": lambda secret: json.dumps({"note": secret}),
    "JSON, six deep": lambda secret: json.dumps({"a": [{"b": {"c": [{"d": [secret]}]}}]}, ensure_ascii=False),
    "JSON key": lambda secret: json.dumps({secret: 1}, ensure_ascii=False),
    "JSON in JSON": lambda secret: json.dumps({"raw": json.dumps({"note": secret})}),
    "XML": lambda secret: f"<note>{html.escape(secret)}</note>",
    "CSV": lambda secret: _csv(["1", secret, "x"]),
    "repr": lambda secret: repr({"note": secret}),
    "exception": lambda secret: repr(ValueError(f"bad value {secret!r}")),
    "SQL error": lambda secret: f"[SQL: SELECT 1 WHERE a = ?]\n[parameters: ({secret!r},)]",
    "headers": lambda secret: f"X-Custom: {secret}\r\nAccept: */*",
    "multipart": lambda secret: (
        f'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\n{secret}\r\n--b--'
    ),
    "pydantic": lambda secret: f"[type=string_type, input_value={secret!r}, input_type=str]",
}

ENCODINGS: dict[str, Callable[[bytes], str]] = {
    "base64": lambda raw: base64.b64encode(raw).decode(),
    "base64, one off": lambda raw: base64.b64encode(b"u" + raw + b"x").decode(),
    "base64, two off": lambda raw: base64.b64encode(b"u:" + raw + b"xy").decode(),
    "base64 for addresses": lambda raw: base64.urlsafe_b64encode(b"user:" + raw).decode(),
    "hexadecimal": lambda raw: raw.hex(),
    "hexadecimal, capital": lambda raw: raw.hex().upper(),
}

NAMES = [
    *(
        "password",
        "passwd",
        "PASSWORD",
        "user_password",
        "secret",
        "client_secret",
        "clientSecret",
        "X-Naver-Client-Secret",
    ),
    *(
        "token",
        "access_token",
        "refreshToken",
        "id_token",
        "X-Auth-Token",
        "csrf_token",
        "securityToken",
        "pw",
        "pin",
        "otp",
    ),
    *(
        "api_key",
        "apiKey",
        "API-KEY",
        "x-api-key",
        "confmKey",
        "serviceKey",
        "ServiceKey",
        "secret_key",
        "private_key",
    ),
    *(
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "Set-Cookie",
        "X-Amz-Signature",
        "signature",
        "sig",
        "code_verifier",
    ),
    *(
        "비밀번호",
        "주민번호",
        "주민등록번호",
        "인증번호",
        "카드번호",
        "계좌번호",
        "jumin",
        "rrn",
        "card_no",
        "account_no",
    ),
]

BENIGN = [
    *(
        "token_count: 900101",
        "max_tokens=4096",
        "tokens: 12",
        "keyword=세종대로",
        "primary_key: id",
        "key: address",
    ),
    *(
        "2026112400123",
        "20261124-000123",
        "ORD-2024112400123",
        "1732428000000",
        "1700000000000",
        "1764000000123",
    ),
    *(
        "0af76519-16cd-43dd-8448-eb211c80319c",
        "9fceb02d0ae598e95dc970b74767f19372d61af8",
        "2026-11-24T08:13:43Z",
    ),
    *(
        "2026-11-24",
        "3.11.7",
        "v2.10.1234",
        "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
        "::ffff:10.0.0.1",
        "192.168.0.10",
    ),
    *("₩1,234,567", "12345.67 ms", "E0001", "900101", "110111-1234567", "123-45-67890", "130111-0006246"),
    *(
        "비밀번호를 변경해 주세요.",
        "인증번호가 일치하지 않습니다.",
        "전라남도 무안군 삼향읍 오룡길 1",
        "토큰이 만료되었습니다",
    ),
    *(
        "basic information is missing",
        "the bearer of this letter",
        "Basic authentication failed",
        "a bearer token expired",
    ),
    *(
        '{"password": null, "has_token": true}',
        "secret santa",
        "the password is wrong",
        "status: 200",
        "code: 00",
    ),
    *(
        "hong@example.com",
        "홍길동",
        "https://business.juso.go.kr/addrlink/addrLinkApi.do?keyword=세종&currentPage=1",
    ),
    *(
        "4111111111111112",
        "1234567890123456",
        "task-0123456789ab",
        "7315459200000000001",
        "<code>00</code>",
        "state: open",
    ),
    *(
        "limiter.held_back waited_ms=12.5",
        "circuit=half_open attempts=3 retry_after=60",
        "a=b; c=d",
        "://",
        "key=",
        "5,000 bytes",
    ),
]


def _escapes(text: str) -> list[str]:
    head, *rest = text.split("%")
    return [head, *(part for piece in rest for part in (f"%{piece[:2]}", piece[2:]))]


def _csv(cells: list[str]) -> str:
    written = io.StringIO()
    csv.writer(written).writerow(cells)
    return written.getvalue()


def _traces(secret: str) -> Iterator[str]:
    """What must not be left of a secret: any eight characters of it in a row, in the usual forms."""
    for start in range(max(1, len(secret) - 7)):
        window = secret[start : start + 8]
        yield window
        yield json.dumps(window)[1:-1]
        yield quote(window, safe="")


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor(CONFIGURED)


@pytest.fixture
def strange() -> Redactor:
    """A redactor that knows no value: only names and shapes help it."""
    return Redactor([])


def test_the_corpus_is_as_large_as_it_has_to_be() -> None:
    """A check that plants too little proves nothing."""
    assert len(CONFIGURED) + len(TELLING) >= 60
    assert len(CARRIERS) >= 20


@pytest.mark.fault("LW-06")
@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_configured_secret_is_found_in_every_carrier(redactor: Redactor, carrier: str) -> None:
    """As text, as an address and as a body, no eight characters of it are left."""
    for secret in CONFIGURED:
        carried = CARRIERS[carrier](secret)
        for redacted in (
            redactor.text(carried),
            redactor.url(carried),
            redactor.body(carried.encode(), None),
        ):
            assert redacted is not None
            found = [trace for trace in _traces(secret) if trace in redacted]
            assert not found, (secret, redacted)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_configured_secret_is_found_in_every_encoding(redactor: Redactor, encoding: str) -> None:
    for secret in CONFIGURED:
        encoded = ENCODINGS[encoding](secret.encode())

        redacted = redactor.text(f"sent {encoded} and more")

        assert redacted.startswith("sent ")
        assert redacted.endswith(" and more")
        assert MASK in redacted
        assert encoded[4:-4] not in redacted


@pytest.mark.parametrize("carrier", sorted(set(CARRIERS) - {"query in a query"}))
@pytest.mark.parametrize("kind", TELLING)
def test_what_tells_by_its_looks_is_found_in_every_carrier(
    strange: Redactor, kind: str, carrier: str
) -> None:
    """Also when nobody knows the value. (In an address within an address, only known values and names help.)"""
    secret = TELLING[kind]
    carried = CARRIERS[carrier](secret)
    core = secret.rsplit(maxsplit=1)[-1]

    redacted = strange.body(
        carried.encode(), "application/x-www-form-urlencoded" if carrier == "form" else None
    )

    assert redacted is not None
    assert core not in redacted
    assert quote(core, safe="") not in redacted
    assert quote_plus(core) not in redacted


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_under_a_telling_name_is_found(strange: Redactor, name: str) -> None:
    """In headers, queries, forms, JSON, XML, multipart, printed Python and log lines, whatever it looks like."""
    value = "Xk3-plain"
    carried = [
        f"{name}={value}",
        f"{name}: {value}",
        f"{name} = '{value}'",
        f'{{"{name}":"{value}"}}',
        f'{{"{name}": ["{value}", {{"a": "{value}"}}]}}',
        json.dumps({"raw": json.dumps({name: value})}),
        json.dumps({name: value}),
        repr({name: value}),
        repr([(name, value)]),
        repr({name: value.encode()}),
        f"https://h/?page=1&{quote(name)}={value}&x=2",
        f"<a><{name} type='x'>{value}</{name}></a>",
        f'<a {name}="{value}"/>',
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n--b--',
        f"url=https://h/?{name}={value}",
    ]
    for text in carried:
        redacted = strange.body(text.encode(), None)
        assert redacted is not None
        assert value not in redacted, text

    assert strange.pairs(((name, value), ("Accept", "*/*"))) == ((name, MASK), ("Accept", "*/*"))
    assert value not in strange.url(f"https://h/?{quote(name)}={value}")
    form = strange.body(urlencode({name: value, "page": 1}).encode(), "application/x-www-form-urlencoded")
    # Of a header, the whole line goes: what stands behind it is not worth a mistake.
    behind = "" if name.lower().endswith(("authorization", "cookie")) else "&page=1"
    assert form == f"{urlencode({name: ''})}{MASK}{behind}"


@pytest.mark.parametrize("length", [8, 63, 64, 65, 200])
def test_a_header_that_comes_again_is_redacted_again(length: int) -> None:
    """What is remembered of short ones is what is left of them, and each redactor's own."""
    secret = "a-configured-secret"[: length - 1]
    said = (("X-Told", f"{secret} ".ljust(length, "x")),)
    left = (("X-Told", f"{MASK} {'x' * (length - len(secret) - 1)}"),)
    knowing, ignorant = Redactor([secret]), Redactor([])

    assert [knowing.pairs(said), ignorant.pairs(said), knowing.pairs(said)] == [left, said, left]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_hangul_name_is_known_in_both_its_forms(form: str) -> None:
    """A name that macOS took apart into letters is the same name."""
    for name in ("비밀번호", "사용자 주민등록번호", "계좌_번호"):
        assert is_secret_name(unicodedata.normalize(form, name))  # type: ignore[arg-type]  # a form's name


@pytest.mark.parametrize("text", BENIGN)
def test_what_is_no_secret_stays_as_it_is(redactor: Redactor, strange: Redactor, text: str) -> None:
    if text not in CONFIGURED:
        assert redactor.text(text) == text
    assert strange.text(text) == text
    assert strange.body(text.encode(), "text/plain") == text


@pytest.mark.parametrize(
    "number",
    [
        "９００１０１－１２３４５６７",
        "900101–1234567",
        "900101 1234567",
        "9001\u200b01-12345\u200b67",
        "900101%2D1234567",
    ],
)
def test_a_resident_number_is_known_however_it_is_written(strange: Redactor, number: str) -> None:
    """Full width, another dash, a space, an invisible space, an escape; its checksum proves nothing."""
    assert strange.text(f"번호 {number}입니다") == f"번호 {MASK}입니다"


def test_each_of_two_resident_numbers_goes_however_close_they_stand(strange: Redactor) -> None:
    assert strange.text("900101-1234567\u200b850315-5234567") == f"{MASK}\u200b{MASK}"


def test_what_a_mask_uncovers_is_masked_too(strange: Redactor) -> None:
    assert strange.text("900101-1234567eyJhbGci.eyJzdWIi.x") == MASK * 2


def test_milliseconds_are_no_resident_number_unless_the_checksum_says_so(strange: Redactor) -> None:
    """13 joined digits of the years 14 to 20 look like a time of 2014 to 2033."""
    assert strange.text("1512313234567") == "1512313234567"
    assert strange.text("1512313234560") == MASK
    assert strange.text("151231-3234567") == MASK


def test_the_ends_of_a_telephone_number_stay(strange: Redactor) -> None:
    """An operator can still tell whose message it was."""
    assert strange.text("010-1234-5678 로 보냈습니다") == "010-***-5678 로 보냈습니다"
    assert (
        strange.body(b"PhoneNumber=%2B821012345678", "application/x-www-form-urlencoded")
        == "PhoneNumber=%2B8210***5678"
    )


@pytest.mark.parametrize(
    ("address", "left"),
    [
        ("postgresql://u:p%40ss@127.0.0.1/db", "postgresql://u:***@127.0.0.1/db"),
        ("redis://:pw@h/0", "redis://:***@h/0"),
        ("smtp://u:p@ss@h", "smtp://u:***@h"),
        ("https://ghtoken1@h/repo", "https://***@h/repo"),
        ("https://h/@user?x=1", "https://h/@user?x=1"),
        (
            "https://h/?code=abc&state=xyz&key=1&page=2#token=t",
            "https://h/?code=***&state=***&key=***&page=2#token=***",
        ),
        (
            "https://h/?%EB%B9%84%EB%B0%80%EB%B2%88%ED%98%B8=abc",
            "https://h/?%EB%B9%84%EB%B0%80%EB%B2%88%ED%98%B8=***",
        ),
    ],
)
def test_an_address_keeps_all_but_its_secrets(strange: Redactor, address: str, left: str) -> None:
    assert strange.url(address) == left


def test_a_private_key_goes_also_when_its_lines_are_escaped_or_its_end_is_missing(strange: Redactor) -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"

    assert strange.text(f"a {key} b") == "a *** b"
    assert strange.text(json.dumps({"k": key})) == '{"k": "***"}'
    assert "MIIE" not in strange.text(key[:50])


def test_a_whole_header_goes_whatever_is_in_it(strange: Redactor) -> None:
    assert strange.text("Cookie: a=1; session=abc, d\r\nHost: h") == "Cookie: ***\r\nHost: h"
    assert strange.text("[(b'Authorization', b'Digest a=\"b\", c=d'), (b'Host', b'h')]") == (
        "[(b'Authorization', b'***'), (b'Host', b'h')]"
    )


@pytest.mark.parametrize(
    "line",
    [
        'Authorization: Digest username="a", response="hidden", qop=auth',
        json.dumps({"Authorization": 'Digest a="b", response="hidden"'}),
        repr({"Authorization": 'Digest a="b", it\'s="hidden"'}),
    ],
)
def test_quotes_within_a_header_do_not_end_it(strange: Redactor, line: str) -> None:
    assert "hidden" not in strange.text(line)


def test_a_key_that_was_handed_out_encoded_is_known_decoded_too() -> None:
    redactor = Redactor(["hYt%2Bx%2F3k%3D%3D"])

    assert redactor.text("a hYt+x/3k== b hYt%2Bx%2F3k%3D%3D c") == "a *** b *** c"


def test_a_short_secret_is_left_to_its_name() -> None:
    """Five characters would be found everywhere."""
    assert Redactor(["abcde", ""]).text("abcdefg") == "abcdefg"
    assert Redactor(["abcde"]).text("password=abcde") == "password=***"
    assert Redactor(["%41%42"]).text("ABC %41%42") == "ABC ***"


def test_a_secret_within_another_one_leaves_nothing_of_the_longer() -> None:
    assert Redactor(["secret", "secret-of-ours"]).text("it is secret-of-ours") == "it is ***"


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", None])
def test_of_a_body_that_is_no_text_only_its_size_is_kept(strange: Redactor, kind: str | None) -> None:
    assert strange.body(b"\x89PNG\r\n\x1a\n\0\0" * 200, kind) == "(2,000 bytes that are not text)"


def test_a_body_that_is_not_there_is_none(strange: Redactor) -> None:
    assert strange.body(None, None) is None
    assert strange.body(b"", "text/plain") is None


@pytest.mark.parametrize("kind", ["text/html; charset=euc-kr", "text/html; charset=unheard-of", None])
def test_a_korean_body_of_an_old_charset_is_read(strange: Redactor, kind: str | None) -> None:
    assert strange.body("비밀번호=abc 세종대로".encode("cp949"), kind) == "비밀번호=*** 세종대로"


def test_json_without_secrets_stays_to_the_letter(strange: Redactor) -> None:
    """White space, the order of keys, numbers and doubled keys are as they came."""
    body = b'{ "b" : 1.10, "a":[1e3 ],\n"a": "\xec\x84\xb8\xec\xa2\x85" }'

    assert strange.body(body, "application/json") == body.decode()


@pytest.mark.parametrize(
    "body",
    [
        '{"password":' + "[" * 100_000,
        '{"token": "a',
        '{"a": NaN, "pw": 1e999}',
        '{"a": ' + "9" * 5_000 + "}",
        "[]",
        "{",
    ],
)
def test_a_malformed_or_monstrous_document_is_still_redacted(strange: Redactor, body: str) -> None:
    """Nothing raises, and what cannot be read as JSON is read as text."""
    redacted = strange.body(body.encode(), "application/json")

    assert redacted is not None
    assert '"a' not in redacted or "token" not in redacted


def test_a_body_is_cut_after_it_is_redacted(strange: Redactor) -> None:
    """At every place of the cut, nothing of a secret that lies across it is left, and no mask is cut in two."""
    secret = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ0ZXN0In0.c3ludGhldGlj"
    for before in range(CAP_BYTES - len(secret) - 2, CAP_BYTES + 2):
        body = "가" * (before // 3) + " " * (before % 3) + f" {secret} " + "x" * CAP_BYTES

        redacted = strange.body(body.encode(), None) or ""

        kept, note = redacted.split("… (cut: ")
        assert "eyJ" not in kept
        assert kept.count("*") in {0, 3}
        assert len(kept.encode()) <= CAP_BYTES
        assert note.endswith(" bytes in all)")


def _hidden(length: int) -> str:
    """A text of that length of which redaction leaves next to nothing, so that what comes after it is kept."""
    return f'password="{"x" * (length - 12)}" '


@pytest.mark.parametrize("kind", TELLING)
def test_at_the_end_of_what_is_read_nothing_is_left_of_what_tells_by_its_looks(
    strange: Redactor, kind: str
) -> None:
    """Wherever the end of what is read cuts it in two."""
    secret = TELLING[kind]
    for behind in range(len(secret) + 2):
        body = _hidden(strange.most_bytes - behind) + secret + " and more" * 9_000

        redacted = strange.body(body.encode(), None) or ""

        assert not any(trace in redacted for trace in (secret[:4], secret[-4:]))
        assert redacted.endswith(f"… (cut: {len(body):,} bytes in all)")


def test_at_the_end_of_what_is_read_nothing_is_left_of_a_configured_secret(redactor: Redactor) -> None:
    for secret in CONFIGURED:
        size = len(secret.encode())
        for behind in {0, 1, 7, 8, size // 2, size - 1, size}:
            body = _hidden(redactor.most_bytes - behind) + secret + " and more" * 9_000

            redacted = redactor.body(body.encode(), None) or ""

            assert not any(trace in redacted for trace in _traces(secret)), secret


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ("postgresql://u:", "p", "@h/db"),
        ("https://", "t", "@h/repo"),
        ("eyJ", "e", ".eyJhIjoxfQ.c2ln"),
        ("Cookie: a=1; b=", "c", "; d"),
        ('Authorization: Digest response="', "r", '", qop=auth'),
        ('{"a": "{\\"password\\": \\"', "\\\\n", '\\"}"}'),
        ("-----BEGIN PRIVATE KEY-----\n", "k", "\n-----END PRIVATE KEY-----"),
        ("<password>", "w", "</password>"),
        ('password="', "\\n", '"'),
    ],
)
def test_a_secret_whose_end_is_never_read_is_not_shown(
    strange: Redactor, before: str, value: str, after: str
) -> None:
    """Longer than all that is dropped at the end of what is read, and told by its end alone."""
    for length in (10_000, 10_001, 10_002):
        hidden = "" if before.startswith("{") else _hidden(strange.most_bytes - length + 2_000)
        fitting = strange.most_bytes - 8_000 if not hidden else 0
        body = hidden + before + value * (length + fitting) + after + " and more" * 9_000

        redacted = strange.body(body.encode(), None) or ""

        assert value * 20 not in redacted


def test_a_long_secret_is_not_shown_when_the_end_of_what_is_read_cuts_it_in_two() -> None:
    """What is dropped is as long as the longest secret that is configured."""
    secret = "".join(f"<{number:05d}>" for number in range(500))
    redactor = Redactor([secret])
    body = _hidden(redactor.most_bytes - len(secret) + 1) + secret + " and more" * 30_000

    assert "<000" not in (redactor.body(body.encode(), None) or "")


def test_nothing_is_shown_that_was_not_said(strange: Redactor) -> None:
    """What a beginning of a document is closed with to read it, deeper than anybody reads, is taken off again."""
    body = "[" * 3_000 + '"password=' + "x" * 36_000 + '"' + ", 1" * 5_000

    redacted = strange.body(body.encode(), None) or ""

    assert redacted.startswith("[[[")
    assert "]" not in redacted


def test_of_a_document_that_is_too_long_to_be_read_the_beginning_is_masked_by_its_structure(
    strange: Redactor,
) -> None:
    """Whatever is under a telling name, however deep, and not only the first of a list."""
    many = [{"part": f"hid{number:06d}"} for number in range(20_000)]
    body = json.dumps({"page": 1, "password": {"all": many}, "size": 2}).encode()

    redacted = strange.body(body, "application/json") or ""

    assert redacted.startswith('{"page": 1, "password": {"all": [{"part": "***"}, {"part": "***"}, ')
    assert "hid" not in redacted
    assert len(redacted.encode()) <= CAP_BYTES + 60


def test_of_a_long_document_without_secrets_the_beginning_stays_to_the_letter(strange: Redactor) -> None:
    body = '{ "rows" : [' + '{"a":"세종", "b" : 1.10},\n' * 20_000 + "{}]}"

    redacted = strange.body(body.encode(), "application/json") or ""

    kept, _ = redacted.split("… (cut: ")
    assert body.startswith(kept)
    assert len(kept.encode()) > CAP_BYTES - 4


@pytest.mark.parametrize("charset", ["utf-8", "euc-kr"])
def test_a_long_body_is_not_taken_for_binary_because_a_character_is_cut_in_two(
    strange: Redactor, charset: str
) -> None:
    for before in range(3):
        body = ("x" * before + "가" * 100_000).encode(charset)

        redacted = strange.body(body, f"text/plain; charset={charset}")

        assert (redacted or "").startswith("x" * before + "가가")


def test_every_decimal_digit_is_one_to_the_search_for_numbers(strange: Redactor) -> None:
    """Of every script, so that a number that is written in it is found as well."""
    zeros = [chr(code) for code in range(sys.maxunicode) if unicodedata.decimal(chr(code), None) == 0]

    for zero in zeros:
        number = "900101-1234567".translate({ord("0") + digit: ord(zero) + digit for digit in range(10)})
        assert strange.text(f"번호 {number}입니다") == f"번호 {MASK}입니다"


def test_a_text_at_the_cap_is_not_cut() -> None:
    assert cut("가" * 4, cap=12) == "가" * 4
    assert cut("가" * 5, cap=13) == "가가가가… (cut: 15 bytes in all)"


MEGABYTE = 1_000_000
HOSTILE = [
    *(
        "a",
        "abd=",
        "a= ",
        "://a:",
        "eyJ-",
        "1",
        "1 ",
        "4111 ",
        "<aa ",
        'name="a"\n',
        "password=",
        "password=,),",
    ),
    *(
        'password=\\"',
        "-----BEGIN PRIVATE KEY-----",
        "bearer ",
        "&a=b",
        "@",
        '{"a":"b",',
        "[",
        "010-",
        " ",
        "sk_live_",
    ),
    *(
        "cookie='",
        "a-",
        "\\",
        "1\u200b",
        "%41",
        "가나다=",
        "900101-",
        "\n",
        '"',
        "('a', ",
        "http://",
        "82",
        "%2B82",
    ),
]


@pytest.mark.fault("AP-11")
@pytest.mark.parametrize("piece", HOSTILE)
def test_no_text_makes_redaction_slow(redactor: Redactor, piece: str) -> None:
    """Twice the text takes about twice the time, and a megabyte a fraction of a second; of a body less is read."""
    small, large = (piece * (size // len(piece.encode())) for size in (MEGABYTE // 4, MEGABYTE))
    redactor.text(small)

    took = min(_seconds(lambda: redactor.text(large)) for _ in range(3))
    took_small = min(_seconds(lambda: redactor.text(small)) for _ in range(3))
    took_body = min(_seconds(lambda: redactor.body(large.encode(), None)) for _ in range(3))

    assert took < 0.2 or took < 8 * took_small
    assert took < 2
    assert took_body < 0.1


def _seconds(run: Callable[[], object]) -> float:
    before = time.thread_time()
    run()
    return time.thread_time() - before
