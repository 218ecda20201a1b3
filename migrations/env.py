"""Carries revisions out on the connection that `core.persistence.schema` hands over.

Alembic loads this file each time that it migrates. The transaction is the caller's, and so is logging.
"""

from __future__ import annotations

from alembic import context

from core.persistence.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    compare_server_default=True,
)
context.run_migrations()
