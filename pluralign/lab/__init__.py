"""Small worlds with known answers: simulated people and tiny models."""
