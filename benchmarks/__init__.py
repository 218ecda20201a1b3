"""What the product costs, measured beside what one would do without it. `python -m benchmarks` runs it all."""
