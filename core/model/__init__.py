"""Frozen nouns: what a call is, what came of it, and how it is named."""
