package config

import "os"

// WarningsOf returns the warnings about a configuration, also where it is refused.
func WarningsOf(c Config) []Warning {
	b := &builder{parts: &Parts{Config: c}, getenv: os.Getenv}
	b.build()
	return b.parts.Warnings
}
