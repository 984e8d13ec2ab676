"""The algorithm of the HorizontalPodAutoscaler v2, in integer milli-units, and nothing of ours.

The facts of the real controller in `tests/hpa` hold it to that. It may import `model`, `policy` and
`units`.
"""
