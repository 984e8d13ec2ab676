"""The demo: real servers, simulated users and the real controller on one machine.

It may import everything except `commands` and `cli`.
"""
