"""The settings are read once, and everything wrong with them is said at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.environment import MASK, Configuration, load, secrets_of, variables
from core.errors import SettingsRefused
from core.settings import Environment


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
