package config

import (
	"atlas-export-gateway/internal/smallfile"
	"atlas-export-gateway/internal/strictyaml"
)

// ManagementAddress returns where a gateway with this file and environment, in the form of
// os.Environ, has its management listener. It needs no more of the file than that setting: the
// gateway may run although the file has a mistake by now. With an error the address is the
// default.
func ManagementAddress(file string, environ []string) (string, error) {
	s := NewSource(file, environ)
	address := s.getenv(environmentPrefix + "MANAGEMENT_ADDRESS")
	if address == "" && file != "" {
		data, err := smallfile.Read(file, maxFile)
		if err == nil {
			address, err = strictyaml.Text(file, data, "management.address")
		}
		if err != nil {
			return DefaultManagementAddress, err
		}
	}
	if address == "" {
		address = DefaultManagementAddress
	}
	return address, nil
}
