package sim_test

import (
	"fmt"
	"net/http"
	"time"

	"atlas-export-gateway/sim"

	"github.com/icholy/digest"
)

// A program calls the simulation as it calls Atlas. The methods of Server are for the test.
func Example() {
	atlas, err := sim.New(sim.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer atlas.Close()
	if err := atlas.Listen(); err != nil {
		fmt.Println(err)
		return
	}

	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: &digest.Transport{Username: sim.PublicKey, Password: sim.PrivateKey, Transport: transport}}
	response, err := client.Get(atlas.URL() + "/api/atlas/v1.0/groups/" + sim.GroupID + "/clusters/" + sim.OrdersCluster + "/backup/exports/")
	if err != nil {
		fmt.Println(err)
		return
	}
	response.Body.Close()
	atlas.Advance(12 * time.Minute) // would end a job

	fmt.Println(response.Status)
	for _, request := range atlas.Requests(0) {
		fmt.Printf("%s %d %q\n", request.Operation, request.Status, request.Caller)
	}
	// Output:
	// 200 OK
	// v1ListBackupExports 401 ""
	// v1ListBackupExports 200 "demopubl"
}
