"""The dashboard as people meet it. Each of these also shows that no page errs and none reaches anyone but us."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import expect

from dashboard.words import WORDS
from tests import chromium
from tests.browser.conftest import NewVisitor

CHECKS = {"ko-KR": "지금 점검", "en-US": "Check now"}


def test_signing_in_shows_how_everything_is(new_visitor: NewVisitor) -> None:
    page = new_visitor().signed_in("operator")

    expect(page.get_by_text("4개 연동 중 1개 정상")).to_be_visible()
    for name, status in (("address", "정상"), ("hostile", "장애"), ("email", "저하"), ("sms", "미확인")):
        expect(page.locator(f".st-key-card-{name}").get_by_role("heading")).to_contain_text(status)
    expect(page.get_by_role("img", name=re.compile("최근 점검 60회"))).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "ko"
    assert page.title() == "연동 상태 · Bongsu"


def test_a_link_that_needs_a_sign_in_leads_there_afterwards(new_visitor: NewVisitor) -> None:
    visitor = new_visitor()
    page = visitor.open_tab("/?from=mail")
    expect(page).to_have_url(re.compile(r"/login\?next=%2F%3Ffrom%3Dmail$"))

    visitor.sign_in(page, "viewer")

    chromium.settled(page)
    assert page.url == f"{visitor.address}/?from=mail"


def test_a_wrong_password_is_refused_in_the_language_of_the_browser(new_visitor: NewVisitor) -> None:
    visitor = new_visitor(locale="en-US")
    page = visitor.open_tab()
    visitor.sign_in(page, "viewer", "not the password at all")

    expect(page.get_by_role("alert")).to_contain_text("The name or the password is wrong")
    assert visitor.faults == [
        "Failed to load resource: the server responded with a status of 400 (Bad Request)"
    ]
    visitor.faults.clear()


def test_the_sign_in_outlives_a_reload(new_visitor: NewVisitor) -> None:
    page = new_visitor().signed_in("viewer")

    page.reload()

    chromium.settled(page)
    expect(page.get_by_text("4개 연동 중")).to_be_visible()


def test_a_viewer_has_no_button_to_check(new_visitor: NewVisitor) -> None:
    page = new_visitor().signed_in("viewer")

    expect(page.locator(".st-key-card-address")).to_be_visible()
    expect(page.get_by_role("button", name=CHECKS["ko-KR"])).to_have_count(0)


def test_checking_now_shows_what_came_of_it(new_visitor: NewVisitor) -> None:
    page = new_visitor(locale="en-US").signed_in("operator")
    sms = page.locator(".st-key-card-sms")

    sms.get_by_role("button", name=CHECKS["en-US"]).click()

    expect(sms.get_by_text("Healthy").first).to_be_visible()
    expect(sms.get_by_role("img", name=re.compile("Latest checks: 1"))).to_be_visible()


def test_the_details_open_a_chart_above_the_table_of_checks(new_visitor: NewVisitor) -> None:
    """The chart draws itself under our own content security policy: the console stays empty."""
    page = new_visitor().signed_in("viewer")
    card = page.locator(".st-key-card-address")

    card.get_by_text(WORDS["ko"]["details.title"]).click()

    chart, table = card.locator(".stPlotlyChart .main-svg").first, card.get_by_test_id("stDataFrame")
    expect(chart).to_be_visible()
    expect(card.locator(".stPlotlyChart .bars path").first).to_be_attached()
    expect(table).to_be_visible()
    above, below = chart.bounding_box(), table.bounding_box()
    assert above is not None
    assert below is not None
    assert above["y"] + above["height"] <= below["y"]


@pytest.mark.fault("DA-04")
def test_signing_out_in_one_tab_leads_the_other_away_within_seconds(new_visitor: NewVisitor) -> None:
    """By itself and without a word of error: its next renewal finds that the session is over."""
    visitor = new_visitor()
    staying, leaving = visitor.signed_in("viewer"), visitor.open_tab()
    chromium.settled(leaving)

    leaving.get_by_role("button", name="로그아웃").click()

    expect(leaving).to_have_url(f"{visitor.address}/login")
    expect(staying).to_have_url(f"{visitor.address}/login", timeout=15_000)


def test_after_the_sign_out_the_session_opens_nothing(new_visitor: NewVisitor) -> None:
    visitor = new_visitor()
    page = visitor.signed_in("viewer")
    cookies = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in visitor.context.cookies())
    page.get_by_role("button", name="로그아웃").click()
    expect(page).to_have_url(f"{visitor.address}/login")

    request = Request(visitor.address, headers={"Cookie": cookies, "Accept": "text/html"})
    with urlopen(request) as answer:
        assert answer.url == f"{visitor.address}/login"


@pytest.mark.fault("DA-03")
def test_what_a_provider_says_stays_text(new_visitor: NewVisitor) -> None:
    """Scripts do not run, images are not fetched (the visitor would note it), addresses are no links."""
    page = new_visitor().signed_in("operator")
    hostile = page.locator(".st-key-card-hostile")
    hostile.get_by_text(WORDS["ko"]["details.title"]).click()
    expect(hostile.get_by_test_id("stDataFrame")).to_be_visible()

    expect(hostile.get_by_text("<script>window.pwned=1</script>").first).to_be_visible()
    expect(page.get_by_role("alert").first).to_contain_text("<script>")
    assert page.evaluate("window.pwned") is None
    expect(page.locator("a[href*='canary']")).to_have_count(0)
    expect(page.locator("a[href^='javascript']")).to_have_count(0)
    expect(page.locator("img[src*='canary'], img[src='x']")).to_have_count(0)


@pytest.mark.fault("DA-01")
def test_the_session_is_out_of_reach_of_scripts(new_visitor: NewVisitor) -> None:
    page = new_visitor().signed_in("viewer")

    assert "bongsu" not in page.evaluate("document.cookie")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 800])
def test_the_page_fits_the_screen(new_visitor: NewVisitor, tmp_path: Path, scheme: str, width: int) -> None:
    """Nothing runs out of the window, and dark follows the system; the picture is kept for those who look."""
    page = new_visitor(width=width, scheme=scheme).signed_in("operator")
    expect(page.locator(".st-key-card-address")).to_be_visible()

    page.screenshot(path=tmp_path / f"health-{scheme}-{width}.png")

    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    ground = page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(17, 22, 29)"}[scheme]


def test_the_page_can_be_used_by_keyboard_alone(new_visitor: NewVisitor) -> None:
    visitor = new_visitor()
    page = visitor.open_tab()
    expect(page.locator("#name")).to_be_focused()
    page.keyboard.type("viewer")
    page.keyboard.press("Tab")
    page.keyboard.type("a beacon on the hill")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    chromium.settled(page)
    expect(page.get_by_text("4개 연동 중")).to_be_visible()
