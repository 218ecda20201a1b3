"""The `bongsu` command."""
