"""The whole web process, seen through a browser."""
