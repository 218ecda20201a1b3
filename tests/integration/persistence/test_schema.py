"""Migrations: the database becomes what the code expects, whole or not at all."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path

import orjson
import pytest
from pydantic_core import PydanticUndefined
from sqlalchemy import Connection, DefaultClause, inspect, text

from core.config.integration import IntegrationConfig
from core.errors import DatabaseAhead, DatabaseBehind
from core.model.call_record import Attempt
from core.model.verdict import Verdict
from core.persistence import schema
from core.persistence.call_log import CallLog
from core.persistence.database import Database
from core.persistence.tables import (
    integration_call_bodies,
    integration_call_logs,
    integration_configs,
    metadata,
)
from core.settings import environment_for_child

_PARTITIONED = (integration_call_logs.name, integration_call_bodies.name)
_REPOSITORY = Path(__file__).parents[3]


def _earlier_revisions() -> list[str]:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(schema.alembic_config())
    return [script.revision for script in scripts.walk_revisions() if script.revision != schema.HEAD]


def _tables(database: Database) -> set[str]:
    with database.reading() as connection:
        return set(inspect(connection).get_table_names())


def _differences(connection: Connection) -> list[object]:
    """What Alembic would change to make the database equal the models. Partitions are no part of the models."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def is_ours(name: str | None, kind: str, _parents: Mapping[str, str | None]) -> bool:
        return kind != "table" or not str(name).startswith(tuple(f"{table}_" for table in _PARTITIONED))

    options = {"compare_type": True, "compare_server_default": True, "include_name": is_ours}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def test_a_blank_database_has_no_revision(blank_database: Database) -> None:
    assert schema.current(blank_database) is None
    with pytest.raises(DatabaseBehind, match="bongsu migrate"):
        schema.require(blank_database)


def test_upgrading_a_blank_database_makes_every_table(blank_database: Database) -> None:
    schema.upgrade(blank_database)

    assert set(metadata.tables) <= _tables(blank_database)
    assert schema.current(blank_database) == schema.HEAD
    schema.require(blank_database)


def test_the_newest_revision_makes_what_the_models_say(blank_database: Database) -> None:
    schema.upgrade(blank_database)

    with blank_database.reading() as connection:
        assert _differences(connection) == []


def test_a_column_that_is_missing_would_be_noticed(blank_database: Database) -> None:
    schema.upgrade(blank_database)
    with blank_database.writing() as connection:
        connection.execute(text("ALTER TABLE users DROP COLUMN preferences"))

    with blank_database.reading() as connection:
        assert len(_differences(connection)) == 1


def test_every_constraint_and_index_bears_the_name_of_the_models(blank_database: Database) -> None:
    schema.upgrade(blank_database)

    with blank_database.reading() as connection:
        look = inspect(connection)
        for table in metadata.sorted_tables:
            checks = {check["name"] for check in look.get_check_constraints(table.name)}
            uniques = {unique["name"] for unique in look.get_unique_constraints(table.name)}
            primary_key = look.get_pk_constraint(table.name)["name"]
            assert {str(c.name) for c in table.constraints if c.name} <= checks | uniques | {primary_key} | {
                key["name"] for key in look.get_foreign_keys(table.name)
            }


def test_going_back_to_base_leaves_no_table(blank_database: Database) -> None:
    schema.upgrade(blank_database)

    schema.downgrade(blank_database, schema.BASE)

    assert _tables(blank_database) == set()
    assert schema.current(blank_database) is None


def test_up_down_and_up_again_ends_at_the_models(blank_database: Database) -> None:
    schema.upgrade(blank_database)
    schema.downgrade(blank_database, schema.BASE)
    schema.upgrade(blank_database)

    with blank_database.reading() as connection:
        assert _differences(connection) == []


@pytest.mark.parametrize("revision", _earlier_revisions())
def test_down_to_any_earlier_revision_and_up_again_ends_at_the_models(
    blank_database: Database, revision: str
) -> None:
    schema.upgrade(blank_database)
    schema.downgrade(blank_database, revision)
    assert schema.current(blank_database) == revision
    with blank_database.reading() as connection:
        assert _differences(connection) != []

    schema.upgrade(blank_database)

    with blank_database.reading() as connection:
        assert _differences(connection) == []


def test_calls_of_before_decisions_were_kept_can_be_read_after_the_upgrade(blank_database: Database) -> None:
    """What was on record stays on record; what nobody noted then is said to be unknown, or taken for the worst."""
    schema.upgrade(blank_database, "0001")
    with blank_database.writing() as connection:
        connection.execute(_OLD_CALL, _OLD_FIELDS)
        connection.execute(_OLD_BODIES, {"id": 7, "attempts": orjson.dumps([_OLD_ATTEMPT]).decode()})

    schema.upgrade(blank_database)

    log = CallLog(blank_database)
    [traced] = log.trace("f" * 32)
    assert (traced.row.id, traced.row.duration_ms, traced.row.idempotency_key) == (7, 42.5, None)
    assert traced.bodies is not None
    assert traced.bodies.attempts == (
        Attempt("juso", 1, 0.5, 41.0, Verdict.TIMED_OUT, may_have_arrived=True),
    )
    assert traced.bodies.decision is None
    assert log.decision_of(7) is None


_OLD_FIELDS = {
    "id": 7,
    "created_at": "2026-03-02 12:00:00.000000+00:00",
    "integration_name": "address",
    "integration_type": "api",
    "operation": "search",
    "duration_ms": 42.5,
    "is_success": False,
    "is_from_cache": False,
    "is_mock": False,
    "trace_id": "f" * 32,
    "retry_count": 0,
    "circuit_breaker_state": "closed",
    "circuit_opened": False,
    "is_rate_limited": False,
    "limiter_wait_ms": 0.0,
}
_OLD_CALL = text(
    f"INSERT INTO integration_call_logs ({', '.join(_OLD_FIELDS)}) "
    f"VALUES ({', '.join(f':{name}' for name in _OLD_FIELDS)})"
)
_OLD_BODIES = text("INSERT INTO integration_call_bodies (id, attempts) VALUES (:id, :attempts)")
_OLD_ATTEMPT = {
    "provider": "juso",
    "number": 1,
    "started_ms": 0.5,
    "duration_ms": 41.0,
    "verdict": "timed_out",
    "status": None,
    "detail": "",
    "retry_after": None,
}


def test_what_is_new_in_the_configuration_of_an_old_database_has_its_default(
    blank_database: Database,
) -> None:
    """A row that was written before says of each new policy what the code says without any row."""
    schema.upgrade(blank_database, "0001")
    with blank_database.writing() as connection:
        connection.execute(
            text(
                "INSERT INTO integration_configs (id, integration_name, integration_type, created_at, updated_at) "
                "VALUES ('00000000000070008000000000000001', 'address', 'api', :at, :at)"
            ),
            {"at": "2026-03-02 12:00:00.000000+00:00"},
        )

    schema.upgrade(blank_database)

    with blank_database.reading() as connection:
        [row] = connection.execute(integration_configs.select()).mappings()
    fields = IntegrationConfig.model_fields
    assert {
        name: row[name] for name in row if name in fields and fields[name].default is not PydanticUndefined
    } == {
        name: field.default
        for name, field in fields.items()
        if field.default is not PydanticUndefined and name != "providers"
    }


def test_upgrading_twice_changes_nothing(blank_database: Database) -> None:
    schema.upgrade(blank_database)
    with blank_database.writing() as connection:
        connection.execute(text("INSERT INTO setup_tokens VALUES (:hash, :at, :at, NULL)"), _TOKEN)

    schema.upgrade(blank_database)

    with blank_database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM setup_tokens")).scalar_one() == 1


_TOKEN = {"hash": b"x" * 32, "at": "2026-03-02 12:00:00+00"}


def test_a_database_of_a_newer_version_is_refused(blank_database: Database) -> None:
    schema.upgrade(blank_database)
    with blank_database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    for act in (schema.require, schema.upgrade):
        with pytest.raises(DatabaseAhead, match="9999"):
            act(blank_database)
    with pytest.raises(DatabaseAhead, match="restore a backup"):
        schema.downgrade(blank_database, schema.BASE)


def test_head_is_the_newest_revision_of_the_scripts() -> None:
    from alembic.script import ScriptDirectory

    assert ScriptDirectory.from_config(schema.alembic_config()).get_heads() == [schema.HEAD]


def test_migrating_leaves_logging_as_it_was(blank_database: Database) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level, logging.getLogger("core").disabled)

    schema.upgrade(blank_database)

    assert (list(root.handlers), root.level, logging.getLogger("core").disabled) == before


def test_a_database_that_is_up_to_date_is_checked_without_alembic(database: Database) -> None:
    program = (
        "import sys\n"
        "from core.persistence import schema\n"
        "from core.persistence.database import Database\n"
        "schema.require(Database.at(sys.argv[1]))\n"
        "sys.exit('alembic' in sys.modules)\n"
    )
    url = database.engine.url.render_as_string(hide_password=False)

    assert _exit_code(program, url) == 0


@pytest.mark.fault("G22")
def test_four_processes_that_start_at_once_migrate_once(blank_database: Database) -> None:
    """Each process waits at a barrier of its standard input, then upgrades; all of them succeed."""
    url = blank_database.engine.url.render_as_string(hide_password=False)
    with ExitStack() as stack:
        processes = [stack.enter_context(_python(_UPGRADE_WHEN_TOLD, url)) for _ in range(4)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"

        for process in processes:
            assert process.stdin is not None
            process.stdin.close()

        assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    assert schema.current(blank_database) == schema.HEAD


_UPGRADE_WHEN_TOLD = """
import sys
from core.persistence import schema
from core.persistence.database import Database
import alembic.command
print("ready", flush=True)
sys.stdin.read()
schema.upgrade(Database.at(sys.argv[1]))
"""


@pytest.mark.fault("G22")
@pytest.mark.parametrize("statements", range(1, 61, 4))
def test_a_process_that_dies_while_migrating_leaves_nothing_behind(
    blank_database: Database, statements: int
) -> None:
    """Whichever statement of whichever revision it dies after, all is as before, and the next process migrates it."""
    url = blank_database.engine.url.render_as_string(hide_password=False)

    assert _exit_code(_DIE_WHILE_MIGRATING, url, str(statements)) == -9

    assert _tables(blank_database) == set()
    schema.upgrade(blank_database)
    schema.require(blank_database)


@pytest.mark.fault("G22")
@pytest.mark.parametrize("statements", [1, 2, 3, 9, 17, 18])
def test_a_process_that_dies_in_the_middle_of_a_later_revision_leaves_the_earlier_one(
    blank_database: Database, statements: int
) -> None:
    """What was on record is there still, at the revision of before."""
    schema.upgrade(blank_database, "0001")
    with blank_database.writing() as connection:
        connection.execute(_OLD_CALL, _OLD_FIELDS)
    url = blank_database.engine.url.render_as_string(hide_password=False)

    assert _exit_code(_DIE_WHILE_MIGRATING, url, str(statements)) == -9

    assert schema.current(blank_database) == "0001"
    with blank_database.reading() as connection:
        [row] = connection.execute(text("SELECT * FROM integration_call_logs")).mappings()
    assert (row["id"], "idempotency_key" in row) == (7, False)
    schema.upgrade(blank_database)
    assert [call.id for call in CallLog(blank_database).by_trace("f" * 32)] == [7]


_DIE_WHILE_MIGRATING = """
import os, signal, sys
from sqlalchemy import event
from core.persistence import schema
from core.persistence.database import Database

left = int(sys.argv[2])

def count(connection, cursor, statement, *rest):
    global left
    if statement.lstrip().startswith(("ALTER", "CREATE", "INSERT", "UPDATE")):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

database = Database.at(sys.argv[1])
event.listen(database.engine, "after_cursor_execute", count)
schema.upgrade(database)
"""


def _exit_code(program: str, *arguments: str) -> int:
    with _python(program, *arguments) as process:
        process.communicate(timeout=60)
        return process.returncode


def _python(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=_REPOSITORY,
        env=environment_for_child(),
    )


def test_every_policy_of_an_integration_has_its_column_and_its_default() -> None:
    """What can be set by a variable can be set at run time too: the table holds the same fields."""
    columns = integration_configs.columns
    for name, field in IntegrationConfig.model_fields.items():
        if name == "providers":
            continue
        assert name in columns
        default = columns[name].server_default
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert isinstance(default, DefaultClause)
            assert float(str(default.arg)) == field.default
        if isinstance(field.default, StrEnum):
            assert isinstance(default, DefaultClause)
            assert str(default.arg) == f"'{field.default}'"
