"""The loop that carries out what the pipeline decides."""
