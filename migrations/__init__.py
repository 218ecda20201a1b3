"""Alembic migrations of the database that `core.persistence.tables` describes."""
