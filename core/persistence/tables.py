"""Every table, as SQLAlchemy sees it. Alembic revisions in `migrations/` make the same.

Names of columns are the field's words. Times are aware UTC. Ids that people and other systems name are UUIDv7;
a call-log row's id is a time-ordered 63-bit integer (`core.model.call_record.record_id`), so that a range of
time is a range of ids: on PostgreSQL the call log and its bodies are partitioned by ranges of it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    false,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB


class UtcDateTime(TypeDecorator[datetime]):
    """A time with its zone. SQLite keeps none, so UTC is taken off and put back at this door."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A time without a zone cannot be stored.")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


JsonDocument = JSON().with_variant(JSONB(), "postgresql")
# SQLite makes a column the row id only when its type is spelled INTEGER.
RecordId = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_NAME = String(64)
_TRACE = String(32)


def _created_at() -> Column[datetime]:
    return Column("created_at", UtcDateTime, nullable=False)


integration_configs = Table(
    "integration_configs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("integration_name", _NAME, nullable=False, unique=True),
    Column("integration_type", String(16), nullable=False),
    Column("is_enabled", Boolean, nullable=False, server_default=true()),
    Column("is_mock_mode", Boolean, nullable=False, server_default=false()),
    Column("base_url", Text),
    Column("api_key_encrypted", LargeBinary),
    Column("timeout_seconds", Float, nullable=False, server_default=text("30")),
    Column("deadline_seconds", Float, nullable=False, server_default=text("60")),
    Column("max_retries", Integer, nullable=False, server_default=text("3")),
    Column("retry_initial_delay_seconds", Float, nullable=False, server_default=text("0.5")),
    Column("retry_backoff_factor", Float, nullable=False, server_default=text("2.0")),
    Column("retry_max_delay_seconds", Float, nullable=False, server_default=text("60")),
    Column("retry_jitter", String(16), nullable=False, server_default=text("'full'")),
    Column("retry_budget_percent", Integer, nullable=False, server_default=text("10")),
    Column("max_calls_in_flight", Integer, nullable=False, server_default=text("64")),
    Column("circuit_breaker_enabled", Boolean, nullable=False, server_default=true()),
    Column("circuit_breaker_failure_threshold", Integer, nullable=False, server_default=text("5")),
    Column("circuit_breaker_timeout_seconds", Float, nullable=False, server_default=text("60")),
    Column("circuit_breaker_probes", Integer, nullable=False, server_default=text("1")),
    Column("circuit_breaker_probes_by_check", Boolean, nullable=False, server_default=false()),
    Column("circuit_breaker_failure_percent", Integer, nullable=False, server_default=text("0")),
    Column("circuit_breaker_slow_percent", Integer, nullable=False, server_default=text("0")),
    Column("circuit_breaker_slow_seconds", Float, nullable=False, server_default=text("5")),
    Column("circuit_breaker_window_seconds", Float, nullable=False, server_default=text("60")),
    Column("circuit_breaker_minimum_calls", Integer, nullable=False, server_default=text("20")),
    Column("rate_limit_enabled", Boolean, nullable=False, server_default=true()),
    Column("rate_limit_calls_per_minute", Integer, nullable=False, server_default=text("60")),
    Column("rate_limit_calls_per_hour", Integer, nullable=False, server_default=text("1000")),
    Column("rate_limit_max_wait_seconds", Float, nullable=False, server_default=text("5")),
    Column("rate_limit_mode", String(16), nullable=False, server_default=text("'any_window'")),
    Column("rate_limit_reserved_percent", Integer, nullable=False, server_default=text("20")),
    Column("cache_enabled", Boolean, nullable=False, server_default=true()),
    Column("cache_ttl_seconds", Float, nullable=False, server_default=text("3600")),
    Column("cache_local_seconds", Float, nullable=False, server_default=text("5")),
    Column("cache_revalidate_seconds", Float, nullable=False, server_default=text("0")),
    Column("cache_negative_seconds", Float, nullable=False, server_default=text("30")),
    Column("cache_stale_seconds", Float, nullable=False, server_default=text("86400")),
    Column("log_level", String(16)),
    Column("extra_config", JsonDocument, nullable=False, server_default=text("'{}'")),
    Column("version", Integer, nullable=False, server_default=text("1")),
    _created_at(),
    Column("updated_at", UtcDateTime, nullable=False),
    CheckConstraint("integration_type IN ('api', 'smtp', 'sms', 'webhook')", name="integration_type"),
    comment="What was changed at run time: each row overrides environment variables and built-in profiles.",
)

integration_config_history = Table(
    "integration_config_history",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("integration_name", _NAME, nullable=False),
    Column("version", Integer, nullable=False),
    Column("field", _NAME, nullable=False),
    Column("old_value", Text, comment="masked if secret"),
    Column("new_value", Text, comment="masked if secret"),
    Column("changed_by", _NAME, nullable=False),
    Column("reason", Text, nullable=False, server_default=text("''")),
    _created_at(),
    UniqueConstraint("integration_name", "version", "field"),
)

integration_call_logs = Table(
    "integration_call_logs",
    metadata,
    Column("id", RecordId, primary_key=True, autoincrement=False),
    _created_at(),
    Column("integration_name", _NAME, nullable=False),
    Column("integration_type", String(16), nullable=False),
    Column("operation", _NAME, nullable=False),
    Column("provider", _NAME),
    Column("request_method", String(8)),
    Column("request_url", Text),
    Column("response_status", Integer),
    Column("duration_ms", Float, nullable=False),
    Column("is_success", Boolean, nullable=False),
    Column("source", String(16)),
    Column("is_from_cache", Boolean, nullable=False),
    Column("is_mock", Boolean, nullable=False),
    Column("error_type", _NAME),
    Column("error_message", Text),
    Column("user_id", String(128)),
    Column("trace_id", _TRACE, nullable=False),
    Column("retry_count", Integer, nullable=False),
    Column("circuit_breaker_state", String(16), nullable=False),
    Column("circuit_opened", Boolean, nullable=False),
    Column("is_rate_limited", Boolean, nullable=False),
    Column("limiter_wait_ms", Float, nullable=False),
    Column("idempotency_key", Text),
    Index(None, "integration_name", "id"),
    Index(None, "trace_id"),
    Index(
        "ix_integration_call_logs_failures",
        "integration_name",
        "id",
        sqlite_where=text("NOT is_success"),
        postgresql_where=text("NOT is_success"),
    ),
    postgresql_partition_by="RANGE (id)",
    comment="One narrow row a call; what was said stands in integration_call_bodies.",
)

integration_call_bodies = Table(
    "integration_call_bodies",
    metadata,
    Column("id", RecordId, primary_key=True, autoincrement=False),
    Column("request_headers", JsonDocument),
    Column("request_body", Text),
    Column("response_headers", JsonDocument),
    Column("response_body", Text),
    Column("attempts", JsonDocument, nullable=False),
    Column("decision", JsonDocument),
    postgresql_partition_by="RANGE (id)",
    comment="What was said in a call, redacted; kept for a shorter time than the call-log row of the same id.",
)

integration_metrics = Table(
    "integration_metrics",
    metadata,
    Column("integration_name", _NAME, primary_key=True),
    Column("operation", _NAME, primary_key=True),
    Column("window_minutes", Integer, primary_key=True),
    Column("window_start", UtcDateTime, primary_key=True),
    Column("total_calls", Integer, nullable=False),
    Column("successful_calls", Integer, nullable=False),
    Column("failed_calls", Integer, nullable=False),
    Column("cached_calls", Integer, nullable=False),
    Column("stale_calls", Integer, nullable=False),
    Column("mock_calls", Integer, nullable=False),
    Column("timeouts", Integer, nullable=False),
    Column("retries", Integer, nullable=False),
    Column("circuit_openings", Integer, nullable=False),
    Column("rate_limited_calls", Integer, nullable=False),
    Column("sum_ms", Float, nullable=False),
    Column("max_ms", Float, nullable=False),
    Column("p50_ms", Float),
    Column("p95_ms", Float),
    Column("p99_ms", Float),
    Column("latency_histogram", LargeBinary, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index(None, "window_minutes", "window_start"),
    comment="One row a window; latency_histogram is the packed sketch that any range is merged from.",
)

integration_health = Table(
    "integration_health",
    metadata,
    Column("integration_name", _NAME, primary_key=True),
    Column("status", String(16), nullable=False),
    Column("last_check_at", UtcDateTime, nullable=False),
    Column("last_success_at", UtcDateTime),
    Column("last_failure_at", UtcDateTime),
    Column("consecutive_failures", Integer, nullable=False),
    Column("failures_24h", Integer, nullable=False),
    Column("circuit_breaker_state", String(16), nullable=False),
    Column("opened_at", UtcDateTime),
    Column("check_message", Text, nullable=False),
    Column("check_details", JsonDocument, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    CheckConstraint("status IN ('healthy', 'degraded', 'unhealthy')", name="status"),
)

integration_health_checks = Table(
    "integration_health_checks",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("integration_name", _NAME, nullable=False),
    Column("checked_at", UtcDateTime, nullable=False),
    Column("status", String(16), nullable=False),
    Column("circuit_breaker_state", String(16), nullable=False),
    Column("duration_ms", Float, nullable=False),
    Column("check_message", Text, nullable=False),
    Column("check_details", JsonDocument, nullable=False),
    Index(None, "integration_name", "checked_at"),
    Index(None, "checked_at"),
    comment="The history behind integration_health: one row a check.",
)

webhook_events = Table(
    "webhook_events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("integration_name", _NAME, nullable=False),
    Column("event_type", String(128)),
    Column("provider_event_id", String(255), comment="what a redelivery has in common with the first"),
    Column("headers", JsonDocument, nullable=False),
    Column("payload", LargeBinary, nullable=False, comment="the exact bytes received"),
    Column("signature", Text),
    Column("is_verified", Boolean, nullable=False),
    Column("status", String(16), nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("claimed_by", _NAME),
    Column("claimed_until", UtcDateTime),
    Column("processed_at", UtcDateTime),
    Column("retry_count", Integer, nullable=False, server_default=text("0")),
    Column("result", JsonDocument),
    Column("error", Text),
    Column("trace_id", _TRACE, nullable=False),
    UniqueConstraint("integration_name", "provider_event_id"),
    CheckConstraint(
        "status IN ('pending', 'processing', 'completed', 'failed', 'parked', 'refused')", name="status"
    ),
    Index(
        "ix_webhook_events_due",
        "due_at",
        "id",
        sqlite_where=text("status = 'pending'"),
        postgresql_where=text("status = 'pending'"),
    ),
    Index(None, "integration_name", "received_at"),
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("event_id", Uuid, ForeignKey("webhook_events.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("duration_ms", Float),
    Column("worker", _NAME, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("error", Text),
    UniqueConstraint("event_id", "number"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("integration_name", _NAME, nullable=False),
    Column("provider", _NAME),
    Column("provider_message_id", String(255)),
    Column("recipient", Text, nullable=False),
    Column("subject", Text),
    Column("status", String(16), nullable=False),
    Column("status_reason", Text),
    Column("idempotency_key", String(255), nullable=False, unique=True),
    Column("transitions", JsonDocument, nullable=False, comment="each status with its time and reason"),
    Column("trace_id", _TRACE, nullable=False),
    _created_at(),
    Column("updated_at", UtcDateTime, nullable=False),
    CheckConstraint(
        "status IN ('queued', 'sent', 'delivered', 'bounced', 'failed', 'unknown')", name="status"
    ),
    Index(None, "integration_name", "created_at"),
    Index(None, "provider_message_id"),
    comment="One row an email or an SMS.",
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("rule", _NAME, nullable=False),
    Column("integration_name", _NAME, nullable=False),
    Column("severity", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("details", JsonDocument, nullable=False),
    Column("fired_at", UtcDateTime, nullable=False),
    Column("acknowledged_at", UtcDateTime),
    Column("acknowledged_by", _NAME),
    Column("resolved_at", UtcDateTime),
    CheckConstraint("status IN ('pending', 'firing', 'acknowledged', 'resolved')", name="status"),
    Index(
        "uq_alerts_open",
        "rule",
        "integration_name",
        unique=True,
        sqlite_where=text("status <> 'resolved'"),
        postgresql_where=text("status <> 'resolved'"),
    ),
    Index(None, "fired_at"),
    comment="What went wrong, once each: a rule has one open alert an integration.",
)

job_runs = Table(
    "job_runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("job_name", _NAME, nullable=False),
    Column("scheduled_for", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("outcome", String(16), nullable=False),
    Column("summary", Text),
    Column("error", Text),
    Column("worker", _NAME, nullable=False),
    UniqueConstraint("job_name", "scheduled_for"),
    CheckConstraint("outcome IN ('running', 'succeeded', 'failed')", name="outcome"),
    Index(None, "started_at"),
    comment="One row a run; the unique (job_name, scheduled_for) is what makes a double run impossible.",
)

users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", _NAME, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("is_active", Boolean, nullable=False, server_default=true()),
    Column("preferences", JsonDocument, nullable=False, server_default=text("'{}'")),
    _created_at(),
    Column("password_changed_at", UtcDateTime, nullable=False),
    CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="role"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True, comment="SHA-256 of the cookie"),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    _created_at(),
    Column("last_seen_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
    Column("address", String(64)),
)

setup_tokens = Table(
    "setup_tokens",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    _created_at(),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
    comment="The one-time address that makes the first administrator.",
)

sign_in_failures = Table(
    "sign_in_failures",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("subject_hash", LargeBinary(32), nullable=False, comment="SHA-256 of the account or the address"),
    Column("failed_at", UtcDateTime, nullable=False),
    Index(None, "subject_hash", "failed_at"),
    Index(None, "failed_at"),
    comment="What the sign-in throttle counts, shared by all processes.",
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", _NAME, nullable=False),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    _created_at(),
    Column("created_by", _NAME, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="role"),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", Uuid, primary_key=True),
    _created_at(),
    Column("actor", _NAME, nullable=False),
    Column("action", _NAME, nullable=False),
    Column("subject", String(255), nullable=False),
    Column("is_allowed", Boolean, nullable=False),
    Column("details", JsonDocument, nullable=False),
    Column("address", String(64)),
    Index(None, "created_at"),
    Index(None, "actor", "created_at"),
    comment="Who did what, refusals included; written in the transaction of the change itself.",
)
