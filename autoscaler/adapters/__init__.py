"""One third-party client each; its errors become `autoscaler.errors` at the line of the call."""
