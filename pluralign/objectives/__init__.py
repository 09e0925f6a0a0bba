"""Policy objectives: one equation, one short function."""
