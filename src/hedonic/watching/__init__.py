"""Watching: what was last seen of each data set and of the code, and the events that say it changed."""
