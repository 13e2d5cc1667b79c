module atlas-export-gateway/compat

go 1.26.0

require (
	atlas-export-gateway v0.0.0
	github.com/icholy/digest v1.2.0
	github.com/mongodb-forks/digest v1.1.0
)

require (
	github.com/agnivade/levenshtein v1.2.2 // indirect
	github.com/apapsch/go-jsonmerge/v2 v2.0.0 // indirect
	github.com/goccy/go-yaml v1.19.2 // indirect
	github.com/golang-jwt/jwt/v5 v5.3.1 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/oapi-codegen/runtime v1.8.0 // indirect
	golang.org/x/time v0.16.0 // indirect
)

replace atlas-export-gateway => ../
