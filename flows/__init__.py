"""The DAGs. A flow's body read top to bottom is the story."""
