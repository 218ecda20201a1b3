"""The parts that pages are made of: words, text from elsewhere, the heartbeat strip, options and theme."""

from __future__ import annotations

import re
import socket
import string
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit import config

import dashboard
from core.model.health import HealthStatus
from dashboard import options
from dashboard.charts import Beat, heartbeat_strip
from dashboard.plain import plain
from dashboard.sockets import answer_at_once
from dashboard.words import WORDS

THEME = tomllib.loads((Path(dashboard.__file__).parent / ".streamlit" / "config.toml").read_text("utf-8"))


def test_both_languages_have_the_same_words_with_the_same_blanks() -> None:
    def blanks(words: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(words) if name}

    assert WORDS["ko"].keys() == WORDS["en"].keys()
    for key, words in WORDS["ko"].items():
        assert blanks(words) == blanks(WORDS["en"][key]), key


def test_every_word_is_used_somewhere() -> None:
    code = "".join(path.read_text("utf-8") for path in Path(dashboard.__file__).parent.rglob("*.py"))
    built = ("role.", "status.", "circuit.", "summary.", "integration.")

    unused = [
        key
        for key in WORDS["ko"]
        if not key.startswith(built) and code.count(f'"{key}"') + code.count(f"'{key}'") < 3
    ]
    assert unused == []


def test_every_word_that_a_page_asks_for_exists() -> None:
    code = "".join(path.read_text("utf-8") for path in Path(dashboard.__file__).parent.rglob("*.py"))

    asked = set(re.findall(r"""\bt\(\s*["']([a-z_.]+)["']""", code))

    assert "history.title" in asked
    assert asked - WORDS["ko"].keys() == set()


@pytest.mark.fault("DA-03")
@given(st.text(max_size=400))
def test_text_from_elsewhere_holds_no_markup(text: str) -> None:
    """Every character that could begin markup is escaped, and nothing is left that looks like an address."""
    shown = plain(text)

    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_{}\[\]()<>#+.!|~$:^=@&/-]", shown)
    assert "://" not in shown.replace("\\", "")
    assert "\n" not in shown
    assert all(character.isprintable() or character == "\u2060" for character in shown)


def test_text_from_elsewhere_is_cut_at_its_longest() -> None:
    assert plain("a" * 1_000_000, 10) == "a" * 9 + "…"
    assert plain(" two\n lines\u202e ") == "two lines"


class _Strip(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@given(st.lists(st.sampled_from(HealthStatus), max_size=90), st.text(max_size=40))
def test_the_strip_has_a_bar_for_each_slot_and_ends_with_the_newest(
    statuses: list[HealthStatus], label: str
) -> None:
    strip = _Strip()
    strip.feed(heartbeat_strip([Beat(status, label) for status in statuses], alt=label, slots=60))

    assert [tag for tag, _ in strip.tags] == ["div", *["span"] * 60]
    assert strip.tags[0][1]["role"] == "img"
    colours = [attributes["style"] for _, attributes in strip.tags[1:]]
    if statuses:
        assert "opacity:1.0" in str(colours[-1])
    assert sum("opacity:0.35" in str(style) for style in colours) == max(0, 60 - len(statuses))


def test_better_statuses_are_higher_bars_for_those_who_see_no_colours() -> None:
    def height(status: HealthStatus) -> int:
        found = re.search(r"height:(\d+)px;border", heartbeat_strip([Beat(status, "")], alt="", slots=1))
        assert found
        return int(found[1])

    assert height(HealthStatus.HEALTHY) > height(HealthStatus.DEGRADED) > height(HealthStatus.UNHEALTHY)


def test_what_keeps_people_out_holds_whatever_was_configured() -> None:
    before = {name: config.get_option(name) for name in options.SAFE}
    try:
        config.set_option("client.showErrorDetails", "full")
        options.enforce()
        assert {name: config.get_option(name) for name in options.SAFE} == options.SAFE
    finally:
        for name, value in before.items():
            config.set_option(name, value)


def test_a_connection_of_a_socket_that_was_there_before_answers_at_once() -> None:
    with socket.socket() as listening, socket.socket() as asking, socket.socket(type=socket.SOCK_DGRAM):
        listening.bind(("127.0.0.1", 0))
        answer_at_once()
        listening.listen()
        asking.connect(listening.getsockname())
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_every_configured_option_exists() -> None:
    def names(table: dict[str, object], prefix: str = "") -> list[str]:
        found: list[str] = []
        for key, value in table.items():
            found += names(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
        return found

    missing = [name for name in names(THEME) if name not in config._config_options_template]
    assert missing == []


def test_charts_have_exactly_the_ten_colours_that_streamlit_needs() -> None:
    assert len(set(THEME["theme"]["chartCategoricalColors"])) == 10


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_stands_out_from_its_ground(mode: str) -> None:
    """4.5 to 1 for text, as WCAG 2.2 asks of level AA."""
    theme = THEME["theme"][mode]
    for ground in ("backgroundColor", "secondaryBackgroundColor"):
        for ink in ("textColor", "linkColor", "primaryColor"):
            assert contrast(theme[ink], theme[ground]) >= 4.5, (ink, ground)
    for colour in ("green", "orange", "red", "violet", "gray", "yellow"):
        assert contrast(theme[f"{colour}TextColor"], theme[f"{colour}BackgroundColor"]) >= 4.5, colour


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, from 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
