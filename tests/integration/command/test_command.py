"""The `bongsu` command: what it prints, and the one clear sentence in which each fault ends."""

from __future__ import annotations

import socket
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from core.command import commands
from core.hub import VERSION, connect
from core.model.role import Role
from core.persistence import schema
from tests.ports import free_port


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory that no other test and no person uses."""
    for name in ("BONGSU_DATABASE_URL", "BONGSU_REDIS_URL", "BONGSU_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "data"


def bongsu(*arguments: str | Path, **environ: str) -> Result:
    """Run the command in this process, as a terminal would."""
    return CliRunner().invoke(commands.bongsu, [str(argument) for argument in arguments], env=dict(environ))


def test_the_version_is_that_of_the_package() -> None:
    assert bongsu("--version").output == f"bongsu, version {VERSION}\n"


@pytest.mark.parametrize("role", list(Role))
def test_a_token_is_printed_alone_and_opens_what_its_role_may(data: Path, role: Role) -> None:
    result = bongsu("token", "create", "--role", role.value, "--data", data)

    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    with connect(data_dir=data, environ={}) as hub:
        caller = hub.access.api_token(result.stdout.strip())
    assert caller is not None
    assert caller.role is role


def test_the_data_directory_may_come_from_the_environment(data: Path) -> None:
    result = bongsu("token", "create", "--role", "viewer", BONGSU_DATA_DIR=str(data))

    assert result.exit_code == 0
    assert (data / "bongsu.db").exists()


@pytest.mark.parametrize(
    "arguments",
    [("up",), ("migrate",), ("check",), ("token", "create", "--role", "viewer")],
    ids=lambda arguments: arguments[0],
)
def test_malformed_settings_end_every_command_with_all_faults_and_code_2(
    data: Path, arguments: tuple[str, ...]
) -> None:
    result = bongsu(
        *arguments,
        "--data",
        data,
        BONGSU_LOG_LEVEL="loud",
        BONGSU_DATABASE_URL="mysql://ops:hunter2@db/x",
        BONGSU_TIMEZON="Asia/Seoul",
    )

    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "3 settings are malformed:",
        "  BONGSU_TIMEZON=********: there is no such setting; did you mean BONGSU_TIMEZONE?",
        "  BONGSU_DATABASE_URL=********: allowed is postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE",
        "  BONGSU_LOG_LEVEL='loud': allowed is debug, info, warning or error",
    ]


def test_a_port_given_wrong_on_the_command_line_is_reported_like_a_setting(data: Path) -> None:
    result = bongsu("up", "--data", data, "--port", "eighty")

    assert result.exit_code == 2
    assert "BONGSU_PORT='eighty': allowed is a whole number from 1 to 65535" in result.stderr


def test_a_port_in_use_is_one_clear_sentence(data: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        result = bongsu("up", "--data", data, "--port", str(port))

    assert result.exit_code == 1
    assert result.stderr == (
        f"Cannot listen on 127.0.0.1 port {port}: Address already in use. "
        "Choose another with --port, or stop the program that has it.\n"
    )


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "a..b"])
def test_a_host_that_is_not_this_machine_is_not_blamed_on_the_port(data: Path, host: str) -> None:
    result = bongsu("up", "--data", data, "--host", host)

    assert result.exit_code == 1
    assert result.stderr.startswith(f"Cannot listen on {host} port 8501: ")
    assert result.stderr.endswith("Name an address of this machine with --host.\n")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["up", "migrate", "check"])
def test_a_damaged_database_is_one_clear_sentence(data: Path, command: str) -> None:
    data.mkdir()
    (data / "bongsu.db").write_bytes(b"\x93garbage" * 1_000)

    result = bongsu(command, "--data", data, BONGSU_PORT=str(free_port()))

    assert result.exit_code == 1
    assert result.stderr == (
        f"The file {data}/bongsu.db is not a readable database: it is damaged, or something else was put in its "
        "place. Restore a backup, or move the file away to start anew.\n"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BONGSU_DATABASE_URL", "postgresql+psycopg://ops:hunter2@db:notaport/x"),
        ("BONGSU_REDIS_URL", "redis://:hunter2@redis:notaport/0"),
        ("BONGSU_REDIS_URL", "redis://:hunter2@redis/abc"),
        ("BONGSU_PUBLIC_URL", "https://x:99999999"),
    ],
)
def test_a_malformed_address_is_one_clear_sentence(data: Path, name: str, value: str) -> None:
    result = bongsu("up", "--data", data, **{name: value})

    assert result.exit_code == 2
    assert result.stderr.startswith(f"1 setting is malformed:\n  {name}=")
    assert "hunter2" not in result.stderr


def test_a_data_directory_that_cannot_be_written_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    result = bongsu("token", "create", "--role", "viewer", "--data", tmp_path / "file" / "data")

    assert result.exit_code == 1
    assert result.stderr == (
        f"The data directory {tmp_path}/file/data cannot be written (Not a directory). "
        "Choose another with --data DIR or BONGSU_DATA_DIR.\n"
    )


@pytest.mark.parametrize("command", ["up", "migrate", "check"])
def test_a_database_ahead_of_the_code_is_one_clear_sentence(data: Path, command: str) -> None:
    bongsu("migrate", "--data", data)
    with sqlite3.connect(data / "bongsu.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()

    result = bongsu(command, "--data", data, BONGSU_PORT=str(free_port()))

    assert result.exit_code == 1
    assert result.stderr == (
        "The database is at revision 9999, which this version does not know: it was migrated by a newer version "
        "of Bongsu. Install that version, or restore a backup made before the upgrade.\n"
    )


def test_a_database_that_does_not_answer_is_one_clear_sentence(data: Path) -> None:
    url = f"postgresql+psycopg://ops:hunter2@127.0.0.1:{free_port()}/bongsu"

    result = bongsu("migrate", "--data", data, BONGSU_DATABASE_URL=url)

    assert result.exit_code == 1
    assert result.stderr.startswith("The database at postgresql+psycopg://ops:***@127.0.0.1:")
    assert result.stderr.endswith("Check BONGSU_DATABASE_URL.\n")
    assert result.stderr.count("\n") == 1
    assert "hunter2" not in result.stderr


def test_migrating_says_what_it_did_and_is_safe_to_repeat(data: Path) -> None:
    first, second = (bongsu("migrate", "--data", data) for _ in range(2))

    assert first.output.endswith(f"empty → {schema.HEAD}.\n")
    assert second.output.endswith(f"is up to date ({schema.HEAD}).\n")


def test_a_check_prints_each_integration_with_its_providers(data: Path) -> None:
    result = bongsu("check", "--data", data, BONGSU_DEMO="false")

    assert result.exit_code == 0
    assert result.output.splitlines()[0].startswith("address      healthy")
    assert [line.split()[0] for line in result.output.splitlines()[1:]] == ["juso", "kakao"]


def test_a_check_of_something_unhealthy_ends_with_code_3(data: Path) -> None:
    result = bongsu("check", "--data", data, BONGSU_ENV="production")

    assert result.exit_code == 3
    assert "no credentials are configured" in result.output


def test_a_user_made_on_the_command_line_may_sign_in(data: Path) -> None:
    password = "correct horse battery staple"

    result = bongsu("user", "add", "ops", "--role", "operator", "--password", password, "--data", data)

    assert result.output == "ops may sign in as operator.\n"
    with connect(data_dir=data, environ={}) as hub:
        assert hub.access.session(hub.access.sign_in("ops", password, "127.0.0.1"))


def test_a_new_password_takes_the_place_of_the_old(data: Path) -> None:
    bongsu("user", "add", "ops", "--role", "viewer", "--password", "the first long password", "--data", data)

    bongsu("user", "password", "ops", "--password", "the second long password", "--data", data)

    with connect(data_dir=data, environ={}) as hub:
        assert hub.access.sign_in("ops", "the second long password", "127.0.0.1")


def test_a_weak_password_is_refused_in_one_clear_sentence(data: Path) -> None:
    result = bongsu("user", "add", "ops", "--role", "viewer", "--password", "password", "--data", data)

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
