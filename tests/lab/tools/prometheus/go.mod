// The current Prometheus that the tests run, pinned. See tests/lab/README.md.
module bokeh-autoscaler/tests/lab/tools/prometheus

go 1.26.7

require github.com/prometheus/prometheus v0.316.0
