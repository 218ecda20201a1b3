"""Pure decisions about one call: no I/O, no clock, no chance of their own."""
