"""Why each call ended as it did, the key under which it is carried out once, and the policies that are new."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_WORD = sa.String(16)


def upgrade() -> None:
    for table, column in _columns():
        op.add_column(table, column)


def downgrade() -> None:
    for table, column in reversed(list(_columns())):
        op.drop_column(table, column.name)


def _columns() -> Iterator[tuple[str, sa.Column[object]]]:
    """What is added, table by table. Each may be empty or has a default: no row is written anew for it."""
    yield "integration_call_logs", sa.Column("idempotency_key", sa.Text())
    yield "integration_call_bodies", sa.Column("decision", _JSON)
    for name, kind, default in (
        ("retry_jitter", _WORD, sa.text("'full'")),
        ("retry_budget_percent", sa.Integer(), sa.text("10")),
        ("max_calls_in_flight", sa.Integer(), sa.text("64")),
        ("circuit_breaker_probes", sa.Integer(), sa.text("1")),
        ("circuit_breaker_probes_by_check", sa.Boolean(), sa.false()),
        ("circuit_breaker_failure_percent", sa.Integer(), sa.text("0")),
        ("circuit_breaker_slow_percent", sa.Integer(), sa.text("0")),
        ("circuit_breaker_slow_seconds", sa.Float(), sa.text("5")),
        ("circuit_breaker_window_seconds", sa.Float(), sa.text("60")),
        ("circuit_breaker_minimum_calls", sa.Integer(), sa.text("20")),
        ("rate_limit_mode", _WORD, sa.text("'any_window'")),
        ("rate_limit_reserved_percent", sa.Integer(), sa.text("20")),
        ("cache_local_seconds", sa.Float(), sa.text("5")),
        ("cache_revalidate_seconds", sa.Float(), sa.text("0")),
        ("cache_negative_seconds", sa.Float(), sa.text("30")),
    ):
        yield "integration_configs", sa.Column(name, kind, nullable=False, server_default=default)
