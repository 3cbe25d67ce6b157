"""Images: what is built, listed, told the parts of, and pushed; and the engine that does it."""
