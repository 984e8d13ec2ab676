"""The live page: what the daemon sees, decides and costs, and what an edited policy would do.

It may import the adapters, `html_report`, `reporting` and what is below them. It only reads.
"""
