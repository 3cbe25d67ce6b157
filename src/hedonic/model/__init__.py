"""From rows to a portable model: features, families, search, intervals, metrics, artifact."""
