"""Who may do what: people, sessions, API tokens and roles."""
