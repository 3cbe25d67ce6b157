"""One module a step: log, one call, record an artifact."""
