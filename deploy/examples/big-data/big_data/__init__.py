"""Millions of points in a page: drawn on the server, served row by row beside it."""
