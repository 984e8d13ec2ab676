"""Replays of recorded or generated sessions against the real `core.decide`, and their scores."""
