"""The decisions: pure functions of values. No I/O, no clock, no logging, no randomness.

`decide.decide` is the pipeline; each other module is one named step of it.
"""
