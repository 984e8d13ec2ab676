"""The Kubernetes API: Deployments, pods, Events and Leases. No other package uses the client."""
