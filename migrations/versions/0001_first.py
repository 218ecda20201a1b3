"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NAME = sa.String(64)
_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_RECORD_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_TABLES = (
    "alerts",
    "api_tokens",
    "audit_log",
    "deliveries",
    "integration_call_bodies",
    "integration_call_logs",
    "integration_config_history",
    "integration_configs",
    "integration_health",
    "integration_health_checks",
    "integration_metrics",
    "job_runs",
    "setup_tokens",
    "sign_in_failures",
    "users",
    "webhook_events",
    "sessions",
    "webhook_attempts",
)
_PARTITIONED = ("integration_call_logs", "integration_call_bodies")


def upgrade() -> None:
    _make_alerts()
    _make_api_tokens()
    _make_audit_log()
    _make_deliveries()
    _make_integration_call_bodies()
    _make_integration_call_logs()
    _make_integration_config_history()
    _make_integration_configs()
    _make_integration_health()
    _make_integration_health_checks()
    _make_integration_metrics()
    _make_job_runs()
    _make_setup_tokens()
    _make_sign_in_failures()
    _make_users()
    _make_webhook_events()
    _make_sessions()
    _make_webhook_attempts()
    if op.get_bind().dialect.name == "postgresql":
        for name in _PARTITIONED:
            # What no partition of a day takes must still have a place to go.
            op.execute(sa.text(f"CREATE TABLE {name}_default PARTITION OF {name} DEFAULT"))


def downgrade() -> None:
    for name in reversed(_TABLES):
        op.drop_table(name)


def _make_alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rule", _NAME, nullable=False),
        sa.Column("integration_name", _NAME, nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("details", _JSON, nullable=False),
        sa.Column("fired_at", _TIME, nullable=False),
        sa.Column("acknowledged_at", _TIME),
        sa.Column("acknowledged_by", _NAME),
        sa.Column("resolved_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sa.CheckConstraint(
            "status IN ('pending', 'firing', 'acknowledged', 'resolved')", name=op.f("ck_alerts_status")
        ),
        comment="What went wrong, once each: a rule has one open alert an integration.",
    )
    op.create_index(op.f("ix_alerts_fired_at"), "alerts", ["fired_at"])
    op.create_index(
        op.f("uq_alerts_open"),
        "alerts",
        ["rule", "integration_name"],
        unique=True,
        sqlite_where=sa.text("status <> 'resolved'"),
        postgresql_where=sa.text("status <> 'resolved'"),
    )


def _make_api_tokens() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("created_by", _NAME, nullable=False),
        sa.Column("expires_at", _TIME),
        sa.Column("last_used_at", _TIME),
        sa.Column("revoked_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_tokens_token_hash")),
        sa.CheckConstraint("role IN ('viewer', 'operator', 'admin')", name=op.f("ck_api_tokens_role")),
    )


def _make_audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("actor", _NAME, nullable=False),
        sa.Column("action", _NAME, nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("is_allowed", sa.Boolean(), nullable=False),
        sa.Column("details", _JSON, nullable=False),
        sa.Column("address", _NAME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
        comment="Who did what, refusals included; written in the transaction of the change itself.",
    )
    op.create_index(op.f("ix_audit_log_actor_created_at"), "audit_log", ["actor", "created_at"])
    op.create_index(op.f("ix_audit_log_created_at"), "audit_log", ["created_at"])


def _make_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("integration_name", _NAME, nullable=False),
        sa.Column("provider", _NAME),
        sa.Column("provider_message_id", sa.String(255)),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text()),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("status_reason", sa.Text()),
        sa.Column("idempotency_key", sa.String(255), nullable=False),
        sa.Column("transitions", _JSON, nullable=False, comment="each status with its time and reason"),
        sa.Column("trace_id", sa.String(32), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_deliveries_idempotency_key")),
        sa.CheckConstraint(
            "status IN ('queued', 'sent', 'delivered', 'bounced', 'failed', 'unknown')",
            name=op.f("ck_deliveries_status"),
        ),
        comment="One row an email or an SMS.",
    )
    op.create_index(
        op.f("ix_deliveries_integration_name_created_at"), "deliveries", ["integration_name", "created_at"]
    )
    op.create_index(op.f("ix_deliveries_provider_message_id"), "deliveries", ["provider_message_id"])


def _make_integration_call_bodies() -> None:
    op.create_table(
        "integration_call_bodies",
        sa.Column("id", _RECORD_ID, autoincrement=False, nullable=False),
        sa.Column("request_headers", _JSON),
        sa.Column("request_body", sa.Text()),
        sa.Column("response_headers", _JSON),
        sa.Column("response_body", sa.Text()),
        sa.Column("attempts", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_integration_call_bodies")),
        postgresql_partition_by="RANGE (id)",
        comment="What was said in a call, redacted; kept for a shorter time than the call-log row of the same id.",
    )


def _make_integration_call_logs() -> None:
    op.create_table(
        "integration_call_logs",
        sa.Column("id", _RECORD_ID, autoincrement=False, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("integration_name", _NAME, nullable=False),
        sa.Column("integration_type", sa.String(16), nullable=False),
        sa.Column("operation", _NAME, nullable=False),
        sa.Column("provider", _NAME),
        sa.Column("request_method", sa.String(8)),
        sa.Column("request_url", sa.Text()),
        sa.Column("response_status", sa.Integer()),
        sa.Column("duration_ms", sa.Float(), nullable=False),
        sa.Column("is_success", sa.Boolean(), nullable=False),
        sa.Column("source", sa.String(16)),
        sa.Column("is_from_cache", sa.Boolean(), nullable=False),
        sa.Column("is_mock", sa.Boolean(), nullable=False),
        sa.Column("error_type", _NAME),
        sa.Column("error_message", sa.Text()),
        sa.Column("user_id", sa.String(128)),
        sa.Column("trace_id", sa.String(32), nullable=False),
        sa.Column("retry_count", sa.Integer(), nullable=False),
        sa.Column("circuit_breaker_state", sa.String(16), nullable=False),
        sa.Column("circuit_opened", sa.Boolean(), nullable=False),
        sa.Column("is_rate_limited", sa.Boolean(), nullable=False),
        sa.Column("limiter_wait_ms", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_integration_call_logs")),
        postgresql_partition_by="RANGE (id)",
        comment="One narrow row a call; what was said stands in integration_call_bodies.",
    )
    op.create_index(
        op.f("ix_integration_call_logs_failures"),
        "integration_call_logs",
        ["integration_name", "id"],
        sqlite_where=sa.text("NOT is_success"),
        postgresql_where=sa.text("NOT is_success"),
    )
    op.create_index(
        op.f("ix_integration_call_logs_integration_name_id"),
        "integration_call_logs",
        ["integration_name", "id"],
    )
    op.create_index(op.f("ix_integration_call_logs_trace_id"), "integration_call_logs", ["trace_id"])


def _make_integration_config_history() -> None:
    op.create_table(
        "integration_config_history",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("integration_name", _NAME, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("field", _NAME, nullable=False),
        sa.Column("old_value", sa.Text(), comment="masked if secret"),
        sa.Column("new_value", sa.Text(), comment="masked if secret"),
        sa.Column("changed_by", _NAME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_integration_config_history")),
        sa.UniqueConstraint(
            "integration_name",
            "version",
            "field",
            name=op.f("uq_integration_config_history_integration_name_version_field"),
        ),
    )


def _make_integration_configs() -> None:
    op.create_table(
        "integration_configs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("integration_name", _NAME, nullable=False),
        sa.Column("integration_type", sa.String(16), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("is_mock_mode", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("base_url", sa.Text()),
        sa.Column("api_key_encrypted", sa.LargeBinary()),
        sa.Column("timeout_seconds", sa.Float(), nullable=False, server_default=sa.text("30")),
        sa.Column("deadline_seconds", sa.Float(), nullable=False, server_default=sa.text("60")),
        sa.Column("max_retries", sa.Integer(), nullable=False, server_default=sa.text("3")),
        sa.Column("retry_initial_delay_seconds", sa.Float(), nullable=False, server_default=sa.text("0.5")),
        sa.Column("retry_backoff_factor", sa.Float(), nullable=False, server_default=sa.text("2.0")),
        sa.Column("retry_max_delay_seconds", sa.Float(), nullable=False, server_default=sa.text("60")),
        sa.Column("circuit_breaker_enabled", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column(
            "circuit_breaker_failure_threshold", sa.Integer(), nullable=False, server_default=sa.text("5")
        ),
        sa.Column(
            "circuit_breaker_timeout_seconds", sa.Float(), nullable=False, server_default=sa.text("60")
        ),
        sa.Column("rate_limit_enabled", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("rate_limit_calls_per_minute", sa.Integer(), nullable=False, server_default=sa.text("60")),
        sa.Column("rate_limit_calls_per_hour", sa.Integer(), nullable=False, server_default=sa.text("1000")),
        sa.Column("rate_limit_max_wait_seconds", sa.Float(), nullable=False, server_default=sa.text("5")),
        sa.Column("cache_enabled", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("cache_ttl_seconds", sa.Float(), nullable=False, server_default=sa.text("3600")),
        sa.Column("cache_stale_seconds", sa.Float(), nullable=False, server_default=sa.text("86400")),
        sa.Column("log_level", sa.String(length=16), nullable=True),
        sa.Column("extra_config", _JSON, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("version", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_integration_configs")),
        sa.UniqueConstraint("integration_name", name=op.f("uq_integration_configs_integration_name")),
        sa.CheckConstraint(
            "integration_type IN ('api', 'smtp', 'sms', 'webhook')",
            name=op.f("ck_integration_configs_integration_type"),
        ),
        comment="What was changed at run time: each row overrides environment variables and built-in profiles.",
    )


def _make_integration_health() -> None:
    op.create_table(
        "integration_health",
        sa.Column("integration_name", _NAME, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("last_check_at", _TIME, nullable=False),
        sa.Column("last_success_at", _TIME),
        sa.Column("last_failure_at", _TIME),
        sa.Column("consecutive_failures", sa.Integer(), nullable=False),
        sa.Column("failures_24h", sa.Integer(), nullable=False),
        sa.Column("circuit_breaker_state", sa.String(16), nullable=False),
        sa.Column("opened_at", _TIME),
        sa.Column("check_message", sa.Text(), nullable=False),
        sa.Column("check_details", _JSON, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("integration_name", name=op.f("pk_integration_health")),
        sa.CheckConstraint(
            "status IN ('healthy', 'degraded', 'unhealthy')", name=op.f("ck_integration_health_status")
        ),
    )


def _make_integration_health_checks() -> None:
    op.create_table(
        "integration_health_checks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("integration_name", _NAME, nullable=False),
        sa.Column("checked_at", _TIME, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("circuit_breaker_state", sa.String(16), nullable=False),
        sa.Column("duration_ms", sa.Float(), nullable=False),
        sa.Column("check_message", sa.Text(), nullable=False),
        sa.Column("check_details", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_integration_health_checks")),
        comment="The history behind integration_health: one row a check.",
    )
    op.create_index(
        op.f("ix_integration_health_checks_checked_at"), "integration_health_checks", ["checked_at"]
    )
    op.create_index(
        op.f("ix_integration_health_checks_integration_name_checked_at"),
        "integration_health_checks",
        ["integration_name", "checked_at"],
    )


def _make_integration_metrics() -> None:
    op.create_table(
        "integration_metrics",
        sa.Column("integration_name", _NAME, nullable=False),
        sa.Column("operation", _NAME, nullable=False),
        sa.Column("window_minutes", sa.Integer(), nullable=False),
        sa.Column("window_start", _TIME, nullable=False),
        sa.Column("total_calls", sa.Integer(), nullable=False),
        sa.Column("successful_calls", sa.Integer(), nullable=False),
        sa.Column("failed_calls", sa.Integer(), nullable=False),
        sa.Column("cached_calls", sa.Integer(), nullable=False),
        sa.Column("stale_calls", sa.Integer(), nullable=False),
        sa.Column("mock_calls", sa.Integer(), nullable=False),
        sa.Column("timeouts", sa.Integer(), nullable=False),
        sa.Column("retries", sa.Integer(), nullable=False),
        sa.Column("circuit_openings", sa.Integer(), nullable=False),
        sa.Column("rate_limited_calls", sa.Integer(), nullable=False),
        sa.Column("sum_ms", sa.Float(), nullable=False),
        sa.Column("max_ms", sa.Float(), nullable=False),
        sa.Column("p50_ms", sa.Float()),
        sa.Column("p95_ms", sa.Float()),
        sa.Column("p99_ms", sa.Float()),
        sa.Column("latency_histogram", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint(
            "integration_name",
            "operation",
            "window_minutes",
            "window_start",
            name=op.f("pk_integration_metrics"),
        ),
        comment="One row a window; latency_histogram is the packed sketch that any range is merged from.",
    )
    op.create_index(
        op.f("ix_integration_metrics_window_minutes_window_start"),
        "integration_metrics",
        ["window_minutes", "window_start"],
    )


def _make_job_runs() -> None:
    op.create_table(
        "job_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_name", _NAME, nullable=False),
        sa.Column("scheduled_for", _TIME, nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("summary", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("worker", _NAME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_runs")),
        sa.UniqueConstraint("job_name", "scheduled_for", name=op.f("uq_job_runs_job_name_scheduled_for")),
        sa.CheckConstraint("outcome IN ('running', 'succeeded', 'failed')", name=op.f("ck_job_runs_outcome")),
        comment="One row a run; the unique (job_name, scheduled_for) is what makes a double run impossible.",
    )
    op.create_index(op.f("ix_job_runs_started_at"), "job_runs", ["started_at"])


def _make_setup_tokens() -> None:
    op.create_table(
        "setup_tokens",
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("used_at", _TIME),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_setup_tokens")),
        comment="The one-time address that makes the first administrator.",
    )


def _make_sign_in_failures() -> None:
    op.create_table(
        "sign_in_failures",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "subject_hash",
            sa.LargeBinary(32),
            nullable=False,
            comment="SHA-256 of the account or the address",
        ),
        sa.Column("failed_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_failures")),
        comment="What the sign-in throttle counts, shared by all processes.",
    )
    op.create_index(op.f("ix_sign_in_failures_failed_at"), "sign_in_failures", ["failed_at"])
    op.create_index(
        op.f("ix_sign_in_failures_subject_hash_failed_at"), "sign_in_failures", ["subject_hash", "failed_at"]
    )


def _make_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("preferences", _JSON, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("password_changed_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
        sa.CheckConstraint("role IN ('viewer', 'operator', 'admin')", name=op.f("ck_users_role")),
    )


def _make_webhook_events() -> None:
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("integration_name", _NAME, nullable=False),
        sa.Column("event_type", sa.String(128)),
        sa.Column(
            "provider_event_id", sa.String(255), comment="what a redelivery has in common with the first"
        ),
        sa.Column("headers", _JSON, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False, comment="the exact bytes received"),
        sa.Column("signature", sa.Text()),
        sa.Column("is_verified", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("due_at", _TIME, nullable=False),
        sa.Column("claimed_by", _NAME),
        sa.Column("claimed_until", _TIME),
        sa.Column("processed_at", _TIME),
        sa.Column("retry_count", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("result", _JSON),
        sa.Column("error", sa.Text()),
        sa.Column("trace_id", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_events")),
        sa.UniqueConstraint(
            "integration_name",
            "provider_event_id",
            name=op.f("uq_webhook_events_integration_name_provider_event_id"),
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'completed', 'failed', 'parked', 'refused')",
            name=op.f("ck_webhook_events_status"),
        ),
    )
    op.create_index(
        op.f("ix_webhook_events_due"),
        "webhook_events",
        ["due_at", "id"],
        sqlite_where=sa.text("status = 'pending'"),
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        op.f("ix_webhook_events_integration_name_received_at"),
        "webhook_events",
        ["integration_name", "received_at"],
    )


def _make_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False, comment="SHA-256 of the cookie"),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("last_seen_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("address", _NAME),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sessions")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_sessions_user_id"), ondelete="CASCADE"
        ),
    )
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"])
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"])


def _make_webhook_attempts() -> None:
    op.create_table(
        "webhook_attempts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("duration_ms", sa.Float()),
        sa.Column("worker", _NAME, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_attempts")),
        sa.ForeignKeyConstraint(
            ["event_id"], ["webhook_events.id"], name=op.f("fk_webhook_attempts_event_id"), ondelete="CASCADE"
        ),
        sa.UniqueConstraint("event_id", "number", name=op.f("uq_webhook_attempts_event_id_number")),
    )
