"""Score = a language model's log-probabilities."""
