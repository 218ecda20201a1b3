"""The doors to third parties: HTTP, and the mock that stands in for it."""
