"""How much of what can be tried for ever is tried: little in each run, and far more at night."""

from __future__ import annotations

from core.settings import environment

IS_NIGHTLY = environment().get("BONGSU_TEST_PROFILE") == "nightly"

SCHEDULES = 1_000_000 if IS_NIGHTLY else 10_000
"""How many simulated schedules are played (`tests.schedules`)."""
