"""Prometheus: the queries, their concurrent execution, and the conversion of rows to samples."""
