"""A notebook, a back end or a job: `connect()` is all that any of them needs."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from core.config.environment import load
from core.errors import (
    DatabaseBehind,
    IntegrationDisabled,
    InvalidRequest,
    NotConfigured,
    NotFound,
)
from core.hub import Hub, connect
from core.model.answer import Source
from core.model.health import HealthStatus
from core.persistence import schema
from core.persistence.database import Database
from core.settings import environment_for_child
from tests.builders import call_record
from tests.fakes import FakeChance, FakeClock
from tests.integration.conftest import HubBuilder
from tests.simulators.juso import KEY, JusoSimulator
from tests.simulators.kakao import KEY as KAKAO_KEY
from tests.simulators.kakao import KakaoSimulator


def in_a_process(code: str, tmp_path: Path) -> str:
    """What `code` prints in a fresh interpreter, with a home directory of its own and no settings."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment_for_child(HOME=str(tmp_path), XDG_DATA_HOME=str(tmp_path)),
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
    ).stdout


def test_a_notebook_cell_works_on_a_fresh_machine(tmp_path: Path) -> None:
    """Without a key the mock answers; the call just made is in the table; nothing but the result is printed."""
    printed = in_a_process(
        """
        from core import connect
        hub = connect()
        response = hub.address.search_address("테헤란로 509")
        print(type(response.value.addresses[0]).__name__, response.source.value)
        calls = hub.calls(last="1h")
        print(type(calls).__module__, len(calls), calls.iloc[0]["trace_id"] == response.trace_id)
        """,
        tmp_path,
    )

    assert printed.splitlines() == ["Address mock", "pandas 1 True"]
    assert (tmp_path / "bongsu" / "bongsu.db").exists()


def test_importing_core_costs_next_to_nothing(tmp_path: Path) -> None:
    """No library is loaded by it: a program that only needs one error class pays for nothing else."""
    printed = in_a_process(
        """
        import sys
        before = set(sys.modules)
        import core
        print({name.split(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)
        """,
        tmp_path,
    )

    assert printed.strip() == "{'core'}"


def test_a_process_reads_its_own_writes_at_once(hub: Hub) -> None:
    for number in range(1, 4):
        hub.address.search_address(f"테헤란로 {number}")

        calls = hub.calls("1h")

        assert isinstance(calls, pd.DataFrame)
        assert len(calls) == number


def test_calls_can_be_narrowed_to_an_integration_and_a_span(hub: Hub, clock: FakeClock) -> None:
    hub.address.search_address("테헤란로 1")
    clock.advance(7200)
    hub.address.search_address("테헤란로 2")

    assert len(hub.calls("1h")) == 1
    assert len(hub.calls("3h", integration="address")) == 2
    assert hub.calls("3h", integration="fax").empty


@pytest.mark.parametrize("env", ["staging", "production"])
def test_without_a_key_nothing_is_called_outside_dev(build_hub: HubBuilder, env: str) -> None:
    hub = build_hub(env=env)

    with pytest.raises(NotConfigured, match="set BONGSU_JUSO_API_KEY or BONGSU_KAKAO_API_KEY"):
        hub.address.search_address("테헤란로 509")
    assert hub.health.check_health("address").status is HealthStatus.UNHEALTHY


def test_an_integration_that_is_switched_off_refuses_and_records_it(build_hub: HubBuilder) -> None:
    hub = build_hub(address_is_enabled="false")

    with pytest.raises(IntegrationDisabled):
        hub.address.search_address("테헤란로 509")

    assert list(hub.calls("1h")["error_type"]) == ["IntegrationDisabled"]


@pytest.mark.parametrize(
    ("keyword", "reason"),
    [
        ("가", "two characters or more"),
        ("   ", "two characters or more"),
        ("12345", "letters besides digits"),
        ("가" * 81, "80 characters at the most"),
    ],
)
def test_a_keyword_that_cannot_be_searched_is_refused_before_any_traffic(
    hub: Hub, keyword: str, reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=reason) as refused:
        hub.address.search_address(keyword)

    assert refused.value.user_message("ko") == "입력하신 내용을 확인해 주세요."
    assert hub.calls("1h").iloc[0]["request_url"] != hub.calls("1h").iloc[0]["request_url"]


@pytest.mark.parametrize("keyword", [None, 509, b"road"])
def test_a_keyword_that_is_no_text_is_refused(hub: Hub, keyword: str) -> None:
    with pytest.raises(InvalidRequest, match="has to be text"):
        hub.address.search_address(keyword)


@pytest.mark.parametrize(("page", "size"), [(0, 10), (1, 0), (1, 101), (91, 100)])
def test_a_page_that_no_provider_has_is_refused(hub: Hub, page: int, size: int) -> None:
    with pytest.raises(InvalidRequest):
        hub.address.search_address("테헤란로", page=page, page_size=size)


def test_both_providers_work_on_the_wire_and_the_second_stands_in_for_the_first(
    build_hub: HubBuilder,
) -> None:
    """juso answers; when it is out of service, Kakao does, and the row says so."""
    with JusoSimulator() as juso, KakaoSimulator() as kakao:
        hub = build_hub(
            juso_api_key=KEY,
            juso_base_url=juso.url,
            kakao_api_key=KAKAO_KEY,
            kakao_base_url=kakao.url,
            address_max_retries="0",
        )
        assert hub.address.search_address("테헤란로 509").provider == "juso"

        juso.fail_with(503)
        second = hub.address.search_address("상암로 82-12")

        assert (second.provider, second.source, second.attempts) == ("kakao", Source.LIVE, 2)
        assert list(hub.calls("1h")["provider"]) == ["kakao", "juso"]
        check = hub.health.check_health("address")
        assert check.status is HealthStatus.DEGRADED
        assert check.message == "juso is not well."


def test_the_details_of_an_address_are_the_one_that_was_named(build_hub: HubBuilder) -> None:
    with JusoSimulator() as juso:
        hub = build_hub(juso_api_key=KEY, juso_base_url=juso.url)

        found = hub.address.get_address_details("서울특별시 강남구 테헤란로 509")
        assert found.value.road_address == "서울특별시 강남구 테헤란로 509"
        assert found.value.postal_code == "06169"

        with pytest.raises(NotFound):
            hub.address.get_address_details("없는길 1")


def test_a_key_never_reaches_the_call_log(build_hub: HubBuilder) -> None:
    with JusoSimulator() as juso:
        hub = build_hub(juso_api_key=KEY, juso_base_url=juso.url)
        response = hub.address.search_address("테헤란로 509")

        hub.calls("1h")
        [row] = hub.call_log.by_trace(response.trace_id)

    assert row.request_url is not None
    assert "confmKey=***" in row.request_url
    hub.close()
    for file in hub.settings.data_dir.iterdir():
        assert KEY.encode() not in file.read_bytes(), file.name


def test_the_overview_is_the_same_before_and_after_aggregation(hub: Hub, clock: FakeClock) -> None:
    """What the newest calls say and what stored windows say never differ, nor does any call count twice."""
    for minute in range(12):
        for number in range(3):
            hub.address.search_address(f"테헤란로 {minute * 3 + number}")
        clock.advance(60)
        before = hub.overview()[0].totals

        hub.collector.aggregate_metrics()

        assert hub.overview()[0].totals == before
    assert hub.overview()[0].totals.total == 36


def test_a_call_that_ends_after_its_window_was_counted_is_not_missed(hub: Hub, clock: FakeClock) -> None:
    """It counts in the window in which it began, also when that was aggregated before it was on record."""
    hub.address.search_address("테헤란로 1")
    clock.advance(300)
    hub.address.search_address("테헤란로 2")
    hub.collector.aggregate_metrics()

    hub.call_log.append([call_record(created_at=clock.now() - timedelta(seconds=290))])

    assert hub.overview()[0].totals.total == 3


def test_checks_are_on_record_and_are_not_counted_as_calls(hub: Hub, clock: FakeClock) -> None:
    hub.address.search_address("테헤란로 1")
    hub.check_now("address", by="test")

    assert list(hub.calls("1h")["operation"]) == ["health_check", "health_check", "search_address"]
    for _ in range(2):
        assert hub.overview()[0].totals.total == 1
        assert [minute.total for minute in hub.overview()[0].minutes] == [1]
        hub.collector.aggregate_metrics()


def test_postgresql_has_to_be_migrated_before_it_is_used(fresh_postgres_url: str, tmp_path: Path) -> None:
    """A back end does not change the schema of a shared database behind everybody's back."""
    environ = {"BONGSU_DATABASE_URL": fresh_postgres_url, "BONGSU_DATA_DIR": str(tmp_path)}

    with pytest.raises(DatabaseBehind, match="Run `bongsu migrate` once"):
        connect(environ=environ)


@pytest.mark.smoke
def test_the_same_hub_runs_on_postgresql_and_redis(
    fresh_postgres_url: str, redis_url: str, tmp_path: Path
) -> None:
    """Two hubs on shared servers see one another's calls, circuits and cached answers."""
    database = Database.at(fresh_postgres_url)
    schema.upgrade(database)
    database.close()
    environ = {
        "BONGSU_DATABASE_URL": fresh_postgres_url,
        "BONGSU_REDIS_URL": redis_url,
        "BONGSU_DEMO": "false",
    }
    first, second = (
        Hub.build(load({**environ, "BONGSU_DATA_DIR": str(tmp_path / name)}), FakeClock(), FakeChance())
        for name in ("one", "two")
    )
    with first, second:
        made = first.address.search_address("세종대로 110")
        assert second.address.search_address("세종대로 110").source is Source.CACHE

        first.calls("1h")
        assert [row.trace_id for row in second.call_log.by_trace(made.trace_id)] == [made.trace_id]
