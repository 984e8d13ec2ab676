"""Drives the very `core.decide` over recorded or made-up sessions and scores what came of it."""
