"""Scores in, what people say out: pure functions of arrays (numpy, torch), no state, no I/O."""
