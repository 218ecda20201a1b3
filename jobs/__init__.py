"""The jobs process: health checks, aggregation, and whatever else has to happen by itself."""
