"""The settings are read once, and everything wrong with them is said at once."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.config.environment import MASK, Configuration, load, secrets_of, variables
from core.errors import SettingsRefused
from core.persistence.database import Database
from core.settings import Environment
from core.state.redis import RedisState


def faults(environ: dict[str, str]) -> dict[str, str]:
    """Each malformed variable with what is said of it."""
    with pytest.raises(SettingsRefused) as refused:
        load(environ)
    return {fault.name: str(fault) for fault in refused.value.faults}


def test_without_any_variable_it_starts_in_dev_with_mocks() -> None:
    configuration = load({})

    assert configuration.settings.env is Environment.DEV
    assert configuration.settings.database_url is None
    assert configuration.integrations["address"].is_mock_mode


def test_a_key_switches_the_mock_off() -> None:
    address = load({"BONGSU_JUSO_API_KEY": "k3y"}).integrations["address"]

    assert not address.is_mock_mode
    assert [provider.name for provider in address.configured_providers] == ["juso"]


@pytest.mark.parametrize("env", ["staging", "production"])
def test_outside_dev_nothing_is_mocked_unless_it_is_said(env: str) -> None:
    assert not load({"BONGSU_ENV": env}).integrations["address"].is_mock_mode
    assert (
        load({"BONGSU_ENV": env, "BONGSU_ADDRESS_IS_MOCK_MODE": "true"}).integrations["address"].is_mock_mode
    )


@pytest.mark.parametrize("env", ["staging", "production"])
def test_demo_traffic_never_runs_outside_dev(env: str) -> None:
    assert not load({"BONGSU_ENV": env, "BONGSU_DEMO": "true"}).settings.has_demo_traffic


def test_every_fault_is_reported_at_once() -> None:
    found = faults(
        {
            "BONGSU_PORT": "99999",
            "BONGSU_ENV": "test",
            "BONGSU_ADDRESS_MAX_RETRIES": "many",
            "BONGSU_JUSO_BASE_URL": "ftp://juso.example",
            "BONGSU_PROT": "8501",
        }
    )

    assert found["BONGSU_PORT"] == "BONGSU_PORT='99999': allowed is a whole number from 1 to 65535"
    assert found["BONGSU_ENV"] == "BONGSU_ENV='test': allowed is dev, staging or production"
    assert found["BONGSU_ADDRESS_MAX_RETRIES"].endswith("allowed is a whole number from 0 to 10")
    assert "http or https" in found["BONGSU_JUSO_BASE_URL"]
    assert found["BONGSU_PROT"].endswith("there is no such setting; did you mean BONGSU_PORT?")


def test_a_malformed_secret_is_masked_in_the_report() -> None:
    with pytest.raises(SettingsRefused) as refused:
        load({"BONGSU_DATABASE_URL": "mysql://ops:hunter2@db/bongsu", "BONGSU_REDIS_URL": "hunter3"})

    assert "hunter" not in str(refused.value)
    assert str(refused.value).count(MASK) == 2


_ADDRESSES = {
    "BONGSU_DATABASE_URL": (
        (
            "postgresql+psycopg://db/bongsu",
            "postgresql+psycopg://ops@db.example:5432/bongsu",
            "postgresql+psycopg://ops:p/a:s#s?w0rd@[::1]:5432/bongsu?sslmode=require",
            "postgresql+psycopg://ops@/bongsu?host=/run/postgresql",
        ),
        (
            "mysql://ops:hunter2@db/bongsu",
            "postgresql+psycopg://ops:hunter2@db:notaport/bongsu",
            "postgresql+psycopg://ops:hunter2@db:/bongsu",
            "postgresql+psycopg://ops:hunter2@db:0/bongsu",
            "postgresql+psycopg://ops:hunter2@db:99999999/bongsu",
            "postgresql+psycopg://ops:hunter2@db:65536/bongsu",
            "postgresql+psycopg://ops:hunter2@[::1/bongsu",
            "postgresql+psycopg://ops:hunter2@/bongsu",
            "postgresql+psycopg://ops:hunter2@:5432/bongsu",
            "postgresql+psycopg://ops:hunter2@db",
            "postgresql+psycopg://ops:hunter2@db/",
            "postgresql+psycopg:///bongsu",
        ),
    ),
    "BONGSU_REDIS_URL": (
        (
            "redis://redis.example",
            "redis://:p@ss@redis.example:6379/0",
            "rediss://ops:pass@[::1]:6380/2?ssl_ca_certs=/etc/ca.pem",
            "unix:///run/redis.sock?db=1",
        ),
        (
            "hunter3",
            "redis://:hunter2@redis:notaport/0",
            "redis://:hunter2@redis:notaport",
            "redis://:hunter2@redis:99999999/0",
            "redis://:hunter2@redis/abc",
            "redis://:hunter2@redis/0?db=abc",
            "redis://:hunter2@redis/0?socket_timeout=abc",
            "redis://:hunter2@/0",
            "redis://[::1/0",
            "unix://",
        ),
    ),
    "BONGSU_PUBLIC_URL": (
        ("https://ops.example.kr", "http://ops.example.kr:8080", "https://[::1]:8443"),
        (
            "https://x:99999999",
            "https://x:0",
            "https://x:",
            "https://x:notaport",
            "https://:443",
            "https://[::1",
            "https://ops.example.kr/",
            "ops.example.kr",
        ),
    ),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, (right, _) in _ADDRESSES.items() for value in right]
)
def test_an_address_that_can_be_used_is_taken(name: str, value: str) -> None:
    """What is let through is also understood by those who connect to it."""
    settings = load({name: value}).settings

    if settings.database_url is not None:
        Database.at(value).close()
    if settings.redis_url is not None:
        RedisState(value).close()


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, (_, wrong) in _ADDRESSES.items() for value in wrong]
)
def test_a_malformed_address_is_a_fault_and_never_a_traceback(name: str, value: str) -> None:
    found = faults({name: value})

    assert found.keys() == {name}
    assert "hunter" not in found[name]


@given(name=st.sampled_from(sorted(_ADDRESSES)), value=st.text(max_size=60))
@example(name="BONGSU_PUBLIC_URL", value="http://[v1.]")
def test_no_text_at_all_breaks_the_reading_of_an_address(name: str, value: str) -> None:
    try:
        settings = load({name: value}).settings
    except SettingsRefused:
        return
    assert settings.address


def test_the_variables_of_the_test_suite_are_left_alone() -> None:
    assert isinstance(load({"BONGSU_TEST_POSTGRES_URL": "whatever"}), Configuration)


def test_every_secret_that_is_configured_is_known_for_redaction() -> None:
    configuration = load(
        {
            "BONGSU_JUSO_API_KEY": "juso-key",
            "BONGSU_KAKAO_API_KEY": "kakao-key",
            "BONGSU_DATABASE_URL": "postgresql+psycopg://ops:pass@db/bongsu",
        }
    )

    assert set(secrets_of(configuration)) == {
        "juso-key",
        "kakao-key",
        "postgresql+psycopg://ops:pass@db/bongsu",
    }


def test_a_printed_configuration_shows_no_secret() -> None:
    assert "juso-key" not in repr(load({"BONGSU_JUSO_API_KEY": "juso-key"}))


NUMBERS = sorted(name for name, variable in variables().items() if variable.info.annotation in {int, float})


@pytest.mark.property(34)
@given(
    wrong=st.dictionaries(
        st.sampled_from(NUMBERS), st.sampled_from(["", "x", "-1", "nan", "inf", "1e999", "１x", "99999999"])
    ),
    misspelt=st.sets(st.from_regex(r"\ABONGSU_X[A-Z]{1,8}\Z")),
    secret=st.booleans(),
)
def test_any_set_of_faults_is_reported_whole_and_nothing_else_is(
    wrong: dict[str, str], misspelt: set[str], secret: bool
) -> None:
    """Every malformed variable is named with its value, secrets masked, and no well-formed one is."""
    environ = {**wrong, **dict.fromkeys(misspelt, "v"), "BONGSU_TIMEZONE": "Asia/Seoul"}
    if secret:
        environ["BONGSU_DATABASE_URL"] = "postgres://s3cret"
    expected = {*wrong, *misspelt} | ({"BONGSU_DATABASE_URL"} if secret else set())
    if not expected:
        load(environ)
        return

    with pytest.raises(SettingsRefused) as refused:
        load(environ)

    assert {fault.name for fault in refused.value.faults} == expected
    for fault in refused.value.faults:
        assert fault.value == (repr(wrong[fault.name]) if fault.name in wrong else MASK)
    assert "s3cret" not in str(refused.value)
