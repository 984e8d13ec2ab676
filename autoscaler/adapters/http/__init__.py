"""HTTP requests to pods and to Prometheus, with limits on the time and size of responses."""
