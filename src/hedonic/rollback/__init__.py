"""Roll-back: an earlier champion serves again, by hand or by itself."""
