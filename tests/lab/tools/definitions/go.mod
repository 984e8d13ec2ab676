// The definitions of what others read, pinned. See tests/lab/README.md.
module bokeh-autoscaler/tests/lab/tools/definitions

go 1.26.0

require (
	github.com/prometheus-operator/prometheus-operator v0.94.1
	sigs.k8s.io/gateway-api v1.6.3
)
