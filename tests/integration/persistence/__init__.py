"""What is stored comes back, on SQLite and on PostgreSQL alike."""
