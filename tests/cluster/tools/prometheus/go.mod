// The current Prometheus that the tests run, pinned. See tests/cluster/README.md.
module bokeh-autoscaler/tests/cluster/tools/prometheus

go 1.26.7

require github.com/prometheus/prometheus v0.316.0
