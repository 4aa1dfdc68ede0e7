"""One correct implementation, and what goes wrong when a step of it is changed."""
