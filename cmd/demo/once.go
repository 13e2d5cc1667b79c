package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"atlas-export-gateway/gen"
	"atlas-export-gateway/sim"
)

// createOnce has the answer to a create lost on its way from Atlas, and sends the create again: there
// is one job.
func (st *story) createOnce(ctx context.Context) error {
	st.screen.heading("Lose the answer to a create on its way, and send the create again")
	before, err := st.counts(ctx)
	if err != nil {
		return err
	}
	if err := st.setFaults(ctx, sim.Fault{Kind: sim.FaultResetAfter, Operation: "createBackupExport", Count: 1}); err != nil {
		return err
	}
	var ids []string
	for _, what := range []string{"found: Atlas made it, and its answer was lost", "again: nothing was sent"} {
		answer, err := st.client.CreateBackupExportWithResponse(ctx, sim.GroupID, sim.OrdersCluster, nil, gen.ExportJobRequest{
			SnapshotID:     sim.OrdersSnapshot2,
			ExportBucketID: *st.bucket.ID,
		})
		if err != nil {
			return err
		}
		if answer.JSON200 == nil {
			return unexpected(answer.HTTPResponse, answer.Body)
		}
		ids = append(ids, answer.JSON200.ID)
		st.screen.received(answer.HTTPResponse, "job "+answer.JSON200.ID, "Idempotent-Replayed: "+answer.HTTPResponse.Header.Get("Idempotent-Replayed"))
		st.screen.text("%s", st.screen.paint(faint, what))
	}
	after, err := st.counts(ctx)
	if err != nil {
		return err
	}
	if made := after.JobsCreated - before.JobsCreated; made != 1 || ids[0] != ids[1] {
		return fmt.Errorf("two requests for one export were answered with %v, and Atlas made %d jobs", ids, made)
	}
	st.screen.text("Atlas had made %d job before, and has made %d now.", before.JobsCreated, after.JobsCreated)
	return nil
}

// setFaults tells the control listener what is to go wrong.
func (st *story) setFaults(ctx context.Context, faults ...sim.Fault) error {
	content, err := json.Marshal(faults)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, st.control+"/faults", bytes.NewReader(content))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := plain.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return unexpected(response, nil)
	}
	return nil
}
