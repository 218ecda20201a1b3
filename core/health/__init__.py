"""Is a third party well? Checks, the rule that turns them into a status, and their history."""
