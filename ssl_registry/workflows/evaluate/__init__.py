"""`evaluate`: protocols, baselines and results."""
