"""What the workflows call: each step runs here as it does there."""
