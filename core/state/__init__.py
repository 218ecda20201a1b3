"""What every process must agree on: circuits, limits and cached answers, in memory, SQLite or Redis."""
