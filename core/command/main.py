"""`bongsu`: where the command begins. Nothing heavy is imported before Ctrl-C has been taken care of."""

from __future__ import annotations

from core.command.interrupts import ending_at_once


def main() -> None:
    """Carry out the command line of this process."""
    with ending_at_once():
        from core.command.commands import bongsu
    bongsu()
