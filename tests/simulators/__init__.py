"""Real servers on loopback that speak the providers' wire formats, and know nothing of our own code."""
