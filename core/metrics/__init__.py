"""Pure arithmetic over many calls: counts, rates and latency sketches that merge."""
