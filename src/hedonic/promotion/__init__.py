"""From a candidate to a champion: evaluation, gate, release, history, registry."""
