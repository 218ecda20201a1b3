"""The Health page: empty, healthy, ill, made-up and without a database, for each role."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from core.model.health import CircuitState, HealthStatus
from core.model.overview import CallTotals, CircuitView, MinuteCount
from core.model.role import Role
from dashboard import data
from dashboard.words import WORDS
from tests.dashboard.conftest import OpenPage
from tests.dashboard.fakes import FakeHub, checks, overview, settings_at
from tests.fakes import FakeClock

H, D, U = HealthStatus.HEALTHY, HealthStatus.DEGRADED, HealthStatus.UNHEALTHY
KO = WORDS["ko"]


def text(page: AppTest) -> str:
    """Everything that the page says."""
    kinds = (
        page.title,
        page.header,
        page.subheader,
        page.markdown,
        page.caption,
        page.info,
        page.warning,
        page.error,
    )
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def figures(page: AppTest) -> dict[str, str]:
    """The figures of the first card."""
    return {metric.label: metric.value for metric in page.metric[:4]}


def buttons(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def test_a_healthy_integration_is_shown_with_its_last_hour(open_page: OpenPage) -> None:
    page = open_page()

    assert not page.exception
    assert page.header[0].value == "1개 연동 중 1개 정상"
    assert ":green-badge[:material/check_circle: 정상]" in text(page)
    assert "주소 검색" in text(page)
    assert figures(page) == {
        KO["metric.success"]: "98.9%",
        KO["metric.p95"]: "212 ms",
        KO["metric.cache"]: "62.5%",
        KO["metric.calls"]: "1,284",
    }
    assert "juso 닫힘" in text(page)
    assert "마지막 점검 2026-03-02 21:00:00 KST" in text(page)
    assert not page.error
    assert not page.warning


def test_the_page_speaks_english_to_an_english_browser(open_page: OpenPage) -> None:
    page = open_page(locale="en-US")

    assert page.title[0].value == "Integration health"
    assert page.header[0].value == "1 of 1 integrations healthy"


def test_nothing_registered_says_what_to_do(open_page: OpenPage, hub: FakeHub) -> None:
    hub.integrations = []

    page = open_page()

    assert not page.exception
    assert page.info[0].value == KO["empty.body"]
    assert not page.metric


def test_an_integration_never_checked_and_never_called_says_what_to_do(
    open_page: OpenPage, hub: FakeHub
) -> None:
    hub.integrations = [overview(status=None, totals=CallTotals(), circuits=())]

    page = open_page(Role.OPERATOR)

    assert not page.exception
    assert "미확인" in text(page)
    assert page.info[0].value == KO["check.never"]
    assert set(figures(page).values()) == {"–", "0"}


@pytest.mark.fault("DA-09")
def test_figures_that_are_missing_or_huge_are_shown(open_page: OpenPage, hub: FakeHub) -> None:
    hub.integrations = [
        overview(totals=CallTotals(total=10_000_000, successful=9_999_999, failed=1, p95_ms=987_654.3))
    ]

    assert list(figures(open_page()).values()) == ["99.9%", "987.7 s", "0.0%", "10,000,000"]


def test_what_is_ill_comes_first_and_what_is_off_last(open_page: OpenPage, hub: FakeHub) -> None:
    hub.integrations = [
        overview("a", "A", H, is_enabled=False),
        overview("b", "B", H),
        overview("c", "C", None),
        overview("d", "D", D),
        overview("e", "E", U),
    ]

    page = open_page()

    titles = [subheader.value[0] for subheader in page.subheader]
    assert titles == ["E", "D", "C", "B", "A"]
    assert page.header[0].value == "4개 연동 중 1개 정상"


@pytest.mark.parametrize("locale", ["ko-KR", "en-US"])
def test_an_open_circuit_is_told_on_the_page_and_above_it(
    open_page: OpenPage, hub: FakeHub, locale: str
) -> None:
    circuits = (
        CircuitView("juso", CircuitState.OPEN, 5, 41.6),
        CircuitView("kakao", CircuitState.HALF_OPEN, 2, 0.0),
    )
    hub.integrations = [overview(status=U, circuits=circuits, message="Not well: juso.")]

    page = open_page(locale=locale)

    assert not page.exception
    assert "juso" in page.error[0].value
    assert "kakao" not in page.error[0].value
    words = {"ko-KR": ("열림", "42초"), "en-US": ("Open", "42 s")}[locale]
    assert all(word in text(page) for word in words)
    assert "Not well\\: juso\\." in text(page)


def test_mock_answers_are_marked_on_the_card_and_above_every_page(open_page: OpenPage, hub: FakeHub) -> None:
    hub.integrations = [overview(is_mock_mode=True)]

    page = open_page()

    assert "모의 응답 중: 주소 검색" in page.warning[0].value
    assert ":violet-badge[:material/science: 모의]" in text(page)


def test_demo_traffic_is_marked_above_every_page(open_page: OpenPage, hub: FakeHub, clock: FakeClock) -> None:
    hub.settings = settings_at(hub.settings.data_dir, demo=True)

    assert KO["banner.demo"] in open_page().warning[0].value


@pytest.mark.fault("DA-08")
def test_without_the_database_the_page_says_so_and_comes_back_by_retry(
    open_page: OpenPage, hub: FakeHub
) -> None:
    hub.is_away = True
    page = open_page()

    assert not page.exception
    assert any(error.value == KO["error.storage_body"] for error in page.error)
    assert "db.example" not in text(page)
    hub.is_away = False
    page.button(key="retry-overview").click().run()

    assert not page.error
    assert page.header[0].value == "1개 연동 중 1개 정상"


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMIN])
def test_an_operator_checks_at_once_and_sees_what_came_of_it(
    open_page: OpenPage, hub: FakeHub, clock: FakeClock, role: Role
) -> None:
    hub.integrations = [overview(status=U)]
    page = open_page(role)
    clock.advance(60)

    page.button(key="check-address").click().run()

    assert not page.exception
    assert hub.checked_by == [("address", f"{role.value}er")]
    assert page.toast[0].value == "주소 검색: 정상"
    assert page.header[0].value == "1개 연동 중 1개 정상"


def test_a_viewer_has_no_button_to_check_and_is_refused_without_it(open_page: OpenPage, hub: FakeHub) -> None:
    page = open_page(Role.VIEWER)

    assert KO["check.now"] not in buttons(page)
    assert data.check_now("address", data.Person("viewerer", Role.VIEWER)) is None
    assert hub.checked_by == []


def test_an_integration_switched_off_cannot_be_checked(open_page: OpenPage, hub: FakeHub) -> None:
    hub.integrations = [overview(is_enabled=False)]

    assert KO["check.now"] not in buttons(open_page(Role.ADMIN))


def test_the_history_is_a_strip_and_a_table(open_page: OpenPage, hub: FakeHub) -> None:
    hub.checks = {"address": checks("address", [U, H, H])}
    page = open_page()

    strip = page.get("html")[1].proto.body
    assert strip.index("정상") < strip.index("장애"), "the newest is on the right"
    assert not page.dataframe
    page.session_state["details-address"] = True
    page.run()
    table = page.dataframe[0].value
    assert list(table["status"]) == ["장애", "정상", "정상"]
    assert str(table["time"].dtype).endswith("UTC]")


def test_the_details_of_what_was_never_checked_say_so(open_page: OpenPage, hub: FakeHub) -> None:
    hub.integrations = [overview(status=None)]
    page = open_page()

    page.session_state["details-address"] = True
    page.run()

    assert KO["history.empty"] in text(page)
    assert not page.exception


def test_the_newest_calls_are_a_strip_and_a_chart(open_page: OpenPage, hub: FakeHub) -> None:
    """Thirty minutes, those without a call too; the chart is drawn only for who opens it."""
    minute = hub.clock.now().replace(second=0, microsecond=0)
    hub.integrations = [
        replace(
            hub.integrations[0], minutes=(MinuteCount("address", minute, total=4, failed=1, mean_ms=30.0),)
        )
    ]
    page = open_page()

    strip = page.get("html")[0].proto.body
    assert strip.count("<span") == data.MINUTES
    assert "호출 4건, 실패 1건" in strip
    assert not page.get("plotly_chart")
    page.session_state["details-address"] = True
    page.run()
    figure = json.loads(page.get("plotly_chart")[0].proto.spec)
    assert [trace["y"][-1] for trace in figure["data"]] == [3, 1, 30.0]


def test_the_reason_of_each_provider_is_on_the_card(open_page: OpenPage, hub: FakeHub) -> None:
    """A viewer cannot look anywhere else; what a provider says is text, and not markup."""
    [one] = hub.integrations
    assert one.health is not None
    details = {"juso": "unavailable: HTTP 503", "kakao": "![x](http://canary.invalid/a.png)"}
    hub.integrations = [replace(one, health=replace(one.health, details=details))]

    said = text(open_page())

    assert "juso: unavailable" in said.replace("\\", "")
    assert "![x](" not in said


def test_an_open_circuit_is_never_shown_as_healthy(open_page: OpenPage, hub: FakeHub) -> None:
    """Between two checks the page believes the circuit, not the last check."""
    ill = CircuitView("juso", CircuitState.OPEN, 5, 30.0)
    hub.integrations = [replace(hub.integrations[0], circuits=(ill,))]
    page = open_page()

    assert "1개 연동 중 0개 정상" in page.header[0].value
    assert "장애" in page.subheader[0].value


@pytest.mark.parametrize("locale", ["ko-KR", "en-US"])
def test_a_shared_state_that_is_away_stands_above_every_page(
    open_page: OpenPage, hub: FakeHub, locale: str
) -> None:
    """With what it means; and no longer once it is back."""
    hub.state_degraded_since = hub.clock.now()
    page = open_page(locale=locale)

    words = {
        "ko-KR": "호출 한도와 차단기는 프로세스마다 따로 적용됩니다",
        "en-US": "limits and circuit breakers hold in each process by itself",
    }
    assert words[locale] in page.error[0].value
    assert "KST" in page.error[0].value
    hub.state_degraded_since = None
    assert not page.run().error


@pytest.mark.fault("DA-04")
def test_whose_session_ended_sees_nothing_at_the_next_click(open_page: OpenPage, hub: FakeHub) -> None:
    page = open_page(Role.ADMIN)
    hub.access.set_active("adminer", is_active=True, by="test")

    page.run()

    assert not page.exception
    assert not page.header
    assert not page.metric


@pytest.mark.fault("DA-01")
def test_without_a_session_there_is_nothing_to_see(hub: FakeHub, open_page: OpenPage) -> None:
    page = open_page()
    page.user = {"name": "admin", "role": "admin"}

    page.run()

    assert not page.metric
    assert not page.title


def test_the_role_of_this_moment_counts_and_not_the_one_of_the_sign_in(
    open_page: OpenPage, hub: FakeHub
) -> None:
    page = open_page(Role.VIEWER)
    page.user = {**page.user, "role": "admin"}

    page.run()

    assert KO["role.viewer"] in text(page)
    assert KO["check.now"] not in buttons(page)


@pytest.mark.fault("DA-07")
def test_what_one_person_may_is_not_shown_to_the_next(open_page: OpenPage) -> None:
    admin, viewer = open_page(Role.ADMIN), open_page(Role.VIEWER)

    assert KO["check.now"] in buttons(admin)
    assert KO["check.now"] not in buttons(viewer)


def test_looking_on_does_not_use_a_session_and_clicking_does(
    open_page: OpenPage, hub: FakeHub, clock: FakeClock
) -> None:
    page = open_page()
    for _ in range(3):
        clock.advance(50 * 60)
        page.run()
        assert page.metric, "a run of the whole page is a click"

    clock.advance(61 * 60)
    page.run()
    assert not page.metric
