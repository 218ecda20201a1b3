"""The HTTP API and the sign-in, as ASGI applications."""
