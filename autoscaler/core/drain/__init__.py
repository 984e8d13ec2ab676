"""Scaling down without ending a session: which pods are cordoned, marked and removed, and when.

`plan.plan_drain` makes one step in each pass; each other module answers one question for it. Pure,
as all of `core`: it may import `model`, `policy`, `units` and the rest of `core` but `decide`.
"""
