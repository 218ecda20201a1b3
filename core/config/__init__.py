"""One integration's policies as frozen, validated data, and where each value came from."""
