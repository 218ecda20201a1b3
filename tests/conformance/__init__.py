"""What every implementation of a seam has to do, said once."""
