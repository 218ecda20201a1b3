"""The pages that stand before the dashboard: sign-in, set-up, and one for when the database is away.

Plain HTML without scripts, light and dark.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Final

from core.access.passwords import LONGEST, SHORTEST
from core.errors import Language

WORDS: Final[dict[Language, dict[str, str]]] = {
    "ko": {
        "tagline": "외부 서비스를 한눈에 살피고 다룹니다.",
        "sign_in": "로그인",
        "name": "아이디",
        "password": "비밀번호",
        "sign_in_button": "로그인",
        "refused": "아이디 또는 비밀번호가 맞지 않거나 시도가 너무 많았습니다. 잠시 후 다시 시도해 주세요.",
        "stale": "화면이 오래되었습니다. 다시 시도해 주세요.",
        "set_up": "첫 관리자 만들기",
        "set_up_hint": "시작할 때 출력된 링크로 들어오셨습니다. 이 링크는 한 번만, 한 시간 동안 쓸 수 있습니다.",
        "no_token": "시작할 때 출력된 설정 링크를 열어 주세요. 링크가 만료되었다면 Bongsu를 다시 시작하면 새로 만들어집니다.",
        "token_refused": "설정 링크가 올바르지 않거나 만료되었습니다. Bongsu를 다시 시작하면 새 링크가 출력됩니다.",
        "name_hint": "글자, 숫자와 . @ + - _ 를 쓸 수 있습니다.",
        "name_refused": "아이디에는 글자, 숫자와 . @ + - _ 만 64자까지 쓸 수 있습니다.",
        "password_hint": f"{SHORTEST}자 이상 {LONGEST}자 이하",
        "again": "비밀번호 확인",
        "differ": "두 비밀번호가 서로 다릅니다.",
        "too_short": f"비밀번호는 {SHORTEST}자 이상이어야 합니다.",
        "too_long": f"비밀번호는 {LONGEST}자 이하여야 합니다.",
        "common": "너무 흔한 비밀번호입니다. 다른 것을 골라 주세요.",
        "set_up_button": "관리자 만들기",
        "away": "데이터베이스가 응답하지 않습니다",
        "away_hint": "잠시 후 다시 시도해 주세요. 계속되면 Bongsu를 운영하는 담당자에게 알려 주세요.",
        "retry": "다시 시도",
    },
    "en": {
        "tagline": "Watch and steer the third parties you depend on.",
        "sign_in": "Sign in",
        "name": "Name",
        "password": "Password",
        "sign_in_button": "Sign in",
        "refused": "The name or the password is wrong, or there were too many tries. Wait a little, then try again.",
        "stale": "This page was open for too long. Please try again.",
        "set_up": "Make the first administrator",
        "set_up_hint": "You came by the link that the start printed. It works once, for one hour.",
        "no_token": "Open the set-up link that the start printed. If it has expired, start Bongsu again for a new one.",
        "token_refused": "The set-up link is wrong or has expired. Start Bongsu again for a new one.",
        "name_hint": "Letters, digits and . @ + - _",
        "name_refused": "A name has up to 64 letters, digits or . @ + - _ and no spaces.",
        "password_hint": f"{SHORTEST} to {LONGEST} characters",
        "again": "Password again",
        "differ": "The two passwords differ.",
        "too_short": f"The password needs {SHORTEST} characters or more.",
        "too_long": f"The password may have {LONGEST} characters at most.",
        "common": "This password is too common. Choose another.",
        "set_up_button": "Make administrator",
        "away": "The database does not answer",
        "away_hint": "Try again in a moment. If it stays so, tell whoever runs Bongsu here.",
        "retry": "Try again",
    },
}

_STYLE: Final = """
:root{color-scheme:light dark;--paper:#f6f7f9;--card:#fff;--ink:#1b2430;--soft:#556070;--line:#8793a1;
--fire:#b3401f;--on-fire:#fff;--bad-paper:#fdecea;--bad-ink:#8c1d18}
@media (prefers-color-scheme:dark){:root{--paper:#11161d;--card:#1a212b;--ink:#e8edf3;--soft:#a9b4c0;
--line:#6b7886;--fire:#ff8a5c;--on-fire:#1d0d05;--bad-paper:#3b1714;--bad-ink:#ffb4ab}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:24px;background:var(--paper);color:var(--ink);
font:16px/1.5 "Noto Sans KR","Apple SD Gothic Neo","Malgun Gothic",system-ui,sans-serif}
main{width:100%;max-width:400px;background:var(--card);border-radius:14px;padding:36px 32px 28px;
box-shadow:0 1px 2px rgb(0 0 0/.08),0 8px 32px rgb(0 0 0/.08)}
.brand{display:flex;align-items:center;gap:12px;margin-bottom:4px}
.brand svg{width:40px;height:40px;flex:none}
.brand b{font-size:22px;letter-spacing:-.01em}
.tagline{margin:0 0 24px;color:var(--soft);font-size:14px}
h1{font-size:18px;margin:0 0 16px}
label{display:block;font-weight:600;font-size:14px;margin:14px 0 6px}
input{width:100%;padding:11px 12px;font:inherit;color:inherit;background:transparent;border:1px solid var(--line);
border-radius:8px}
input:focus-visible,button:focus-visible,.button:focus-visible{outline:3px solid var(--fire);outline-offset:2px}
.hint{margin:6px 0 0;color:var(--soft);font-size:13px}
button,.button{display:block;width:100%;margin-top:24px;padding:12px;font:inherit;font-weight:700;border:0;
border-radius:8px;cursor:pointer;background:var(--fire);color:var(--on-fire);text-align:center;text-decoration:none}
[role=alert]{margin:0 0 8px;padding:11px 14px;border-radius:8px;background:var(--bad-paper);color:var(--bad-ink);
font-size:14px}
"""

BEACON: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" aria-hidden="true">'
    '<path fill="#e8590c" d="M33 3c3 8-8 12-8 21 0 4 2 6 4 7-1-6 4-8 5-13 5 5 9 10 6 17 5-2 8-7 8-12 0-9-9-12-15-20z"/>'
    '<path fill="#ffb066" d="M33 24c1 5-5 6-5 12h11c1-5-3-7-6-12z"/>'
    '<path fill="#7a8594" d="M17 37h30l3 7H14z"/><path fill="#5c6775" d="M16 46h32l4 15H12z"/>'
    '<path fill="#2d3640" d="M28 52h8v9h-8z"/></svg>'
)
"""A stone beacon with its fire lit: the sign of the product."""


@dataclass(frozen=True, slots=True)
class Form:
    """What both forms carry: the language, the proof that they are ours, and what went wrong before."""

    language: Language
    csrf: str
    fault: str = ""
    """A key of `WORDS`, empty when nothing went wrong."""

    def word(self, key: str) -> str:
        """The word for a key, ready to stand in HTML."""
        return escape(WORDS[self.language][key])


def sign_in_page(form: Form, *, target: str, name: str = "") -> str:
    """The page to sign in; `target` is where to go then. The cursor is in the first field that is empty."""
    first, second = ("", " autofocus") if name else (" autofocus", "")
    fields = (
        _field(form, "name", "name", "username", value=name, extra=first)
        + _field(form, "password", "password", "current-password", kind="password", extra=second)
        + _hidden("next", target)
    )
    return _page(form, "sign_in", _form(form, "/login", fields, "sign_in_button"))


def set_up_page(form: Form, *, token: str, name: str = "") -> str:
    """The page that makes the first administrator; without a token it only says where to find one."""
    if not token:
        return _page(form, "set_up", f"<p>{form.word('no_token')}</p>")
    fields = (
        f'<p class="hint">{form.word("set_up_hint")}</p>'
        + _field(form, "name", "name", "username", value=name, extra=" autofocus", hint="name_hint")
        + _field(form, "password", "password", "new-password", kind="password", hint="password_hint")
        + _field(form, "again", "again", "new-password", kind="password")
        + _hidden("token", token)
    )
    return _page(form, "set_up", _form(form, "/setup", fields, "set_up_button"))


def away_page(language: Language, *, target: str) -> str:
    """The page for when nobody can be let in or recognised; `target` is where to try again."""
    form = Form(language, csrf="")
    link = f'<a class="button" href="{escape(target)}">{form.word("retry")}</a>'
    return _page(form, "away", f"<p>{form.word('away_hint')}</p>{link}")


def _page(form: Form, title: str, content: str) -> str:
    alert = f'<p role="alert">{form.word(form.fault)}</p>' if form.fault else ""
    icon = "data:image/svg+xml," + BEACON.replace("#", "%23").replace('"', "'")
    return (
        f'<!doctype html><html lang="{form.language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<title>{form.word(title)} · Bongsu</title><link rel="icon" href="{icon}"><style>{_STYLE}</style></head>'
        f'<body><main><div class="brand">{BEACON}<b>Bongsu</b></div><p class="tagline">{form.word("tagline")}</p>'
        f"<h1>{form.word(title)}</h1>{alert}{content}</main></body></html>"
    )


def _form(form: Form, action: str, fields: str, button: str) -> str:
    return (
        f'<form method="post" action="{action}">{fields}{_hidden("csrf", form.csrf)}'
        f"<button>{form.word(button)}</button></form>"
    )


def _field(
    form: Form,
    key: str,
    name: str,
    autocomplete: str,
    *,
    kind: str = "text",
    value: str = "",
    extra: str = "",
    hint: str = "",
) -> str:
    described = f' aria-describedby="{name}-hint"' if hint else ""
    told = f'<p class="hint" id="{name}-hint">{form.word(hint)}</p>' if hint else ""
    return (
        f'<label for="{name}">{form.word(key)}</label><input id="{name}" name="{name}" type="{kind}" '
        f'autocomplete="{autocomplete}" value="{escape(value)}" required{extra}{described}>{told}'
    )


def _hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{name}" value="{escape(value)}">'
