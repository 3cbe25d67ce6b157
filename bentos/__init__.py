"""What is served: the valuation service."""
