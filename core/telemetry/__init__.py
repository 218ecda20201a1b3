"""Recording what calls did: the queue between a call and the call log, and the log lines."""
