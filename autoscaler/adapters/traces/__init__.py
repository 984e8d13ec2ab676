"""Traces for the simulator from CSV files, as written by programs, people and spreadsheets."""
