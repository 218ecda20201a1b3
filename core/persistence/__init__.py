"""The only place that speaks SQL: one file a stored thing."""
