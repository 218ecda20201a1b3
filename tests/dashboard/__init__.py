"""Pages and their parts, without a server and without a browser."""
