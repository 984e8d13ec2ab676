"""Adapters: each uses one third-party client and translates its errors to `autoscaler.errors`."""
