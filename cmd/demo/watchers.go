package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"atlas-export-gateway/sim"
)

// watchers read the job while it runs, each so many times.
const (
	watchers = 200
	readings = 5
)

// watch has many read the running job at a time, and shows what that costs Atlas.
func (st *story) watch(ctx context.Context) error {
	st.screen.heading(fmt.Sprintf("Have %d others watch the running job", watchers))
	target := fmt.Sprintf("/api/atlas/v2/groups/%s/clusters/%s/backup/exports/%s", sim.GroupID, sim.OrdersCluster, st.job.ID)
	before, err := st.counts(ctx)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: watchers}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	failed := make(chan error, watchers)
	var group sync.WaitGroup
	for range watchers {
		group.Go(func() {
			for range readings {
				if err := readOnce(ctx, client, st.gateway+target); err != nil {
					failed <- err
					return
				}
				time.Sleep(poll)
			}
		})
	}
	group.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	after, err := st.counts(ctx)
	if err != nil {
		return err
	}
	st.screen.text("GET %s", target)
	st.screen.text("%d reads, all answered 200; Atlas has seen %d of them.", watchers*readings, after.ByOperation["getBackupExport"]-before.ByOperation["getBackupExport"])
	return nil
}

// readOnce reads a URL, which must be answered 200.
func readOnce(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", accept)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = unexpected(response, body)
	}
	return err
}
