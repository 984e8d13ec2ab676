"""What `autoscaler doctor` knows of set-ups: what it saw in, findings out, as pure functions.

`examine.py` has the table of all checks; each is one function from the facts to its findings. The
adapters gather the facts: `adapters.kubernetes.inspection`, `adapters.visitor` and
`adapters.prometheus.scrapes`.
"""
