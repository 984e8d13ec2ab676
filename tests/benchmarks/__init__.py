"""Measures what has a goal: `make bench`. Figures, never assertions: machines differ."""
