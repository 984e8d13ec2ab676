//go:build tools

// Package tools pins the name server of the one-node cluster.
package tools

import _ "github.com/coredns/coredns"
