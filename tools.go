//go:build tools

// Package tools pins the code generator in go.mod; gen/doc.go runs it.
package tools

import _ "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen"
