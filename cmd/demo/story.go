package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"atlas-export-gateway/gen"
	"atlas-export-gateway/sim"
)

// story is the demonstration. It calls the gateway, and has no Atlas key.
type story struct {
	*stack
	screen *screen
	client *gen.ClientWithResponses
	quiet  bool // does not show what it sends
	calls  int

	bucket gen.ExportBucket
	job    gen.ExportJob
}

// accept asks for the newest version of an operation up to a date. The generated client sets no
// Accept.
const accept = "application/vnd.atlas.2025-03-12+json"

const bucketName = "acme-exports"

// poll is the pause between two requests for the state of the job. A real export takes minutes,
// so that a pause of seconds is enough for it.
const poll = 125 * time.Millisecond

func newStory(running *stack, s *screen) *story {
	st := &story{stack: running, screen: s}
	client, err := gen.NewClientWithResponses(running.gateway, gen.WithHTTPClient(st), gen.WithRequestEditorFn(
		func(_ context.Context, r *http.Request) error {
			r.Header.Set("Accept", accept)
			return nil
		}))
	if err != nil {
		panic(err) // no option above fails
	}
	st.client = client
	return st
}

// plain only calls loopback, and uses no proxy of the environment.
var plain = &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}

// Do shows and sends a request of the generated client.
func (st *story) Do(r *http.Request) (*http.Response, error) {
	st.calls++
	if !st.quiet {
		var body []byte
		if r.GetBody != nil {
			copied, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			if body, err = io.ReadAll(copied); err != nil {
				return nil, err
			}
		}
		st.screen.sent(r.Method, r.URL.RequestURI(), body)
	}
	return plain.Do(r)
}

// run plays the story from beginning to end.
func (st *story) run(ctx context.Context) error {
	began := time.Now()
	s := st.screen
	s.line("%s", s.paint(bold, "A snapshot export through the gateway, only on this machine"))
	s.line("")
	s.table(
		[2]string{"this program", "calls the gateway and has no Atlas key"},
		[2]string{"atlas-gateway", st.gateway + " checks each call and signs it"},
		[2]string{"atlas-sim", st.api + " stands for Atlas"},
	)
	for _, step := range []func(context.Context) error{st.createBucket, st.startExport, st.watch, st.followExport, st.showExport, st.makeMistakes, st.listJobs, st.createOnce} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	counts, err := st.counts(ctx)
	if err != nil {
		return err
	}
	answered := int64(st.calls + watchers*readings - 1)
	s.line("")
	s.line("%s", s.paint(bold, fmt.Sprintf("Done in %.1f s", time.Since(began).Seconds())))
	s.table(
		[2]string{"the job", fmt.Sprintf("%s is %s, and .complete is written", st.job.ID, st.job.State)},
		[2]string{"calls", fmt.Sprintf("%d and the %d of the watchers: %d answered, 1 refused", st.calls, watchers*readings, answered)},
		[2]string{"Atlas saw", fmt.Sprintf("%d requests: %d signed, %d without a credential, to be challenged", counts.Requests, counts.Requests-counts.Challenges, counts.Challenges)},
		[2]string{"without it", fmt.Sprintf("%d requests, from a client that is challenged on every call", 2*answered)},
	)
	return nil
}

func (st *story) createBucket(ctx context.Context) error {
	st.screen.heading("Register an S3 bucket for exports")
	var body gen.ExportBucketRequest
	if err := body.FromAWSExportBucketRequest(gen.AWSExportBucketRequest{
		CloudProvider: gen.AWSExportBucketRequestCloudProviderAWS,
		BucketName:    bucketName,
		IamRoleID:     sim.AWSRole,
	}); err != nil {
		return err
	}
	answer, err := st.client.CreateExportBucketWithResponse(ctx, sim.GroupID, nil, body)
	if err != nil {
		return err
	}
	if answer.JSON200 == nil || answer.JSON200.ID == nil {
		return unexpected(answer.HTTPResponse, answer.Body)
	}
	st.bucket = *answer.JSON200
	st.screen.received(answer.HTTPResponse, answer.ContentType())
	st.screen.json(answer.Body)
	return nil
}

func (st *story) startExport(ctx context.Context) error {
	st.screen.heading("Start an export of a snapshot, with a note of our own")
	key, value := "exported by", "make demo"
	answer, err := st.client.CreateBackupExportWithResponse(ctx, sim.GroupID, sim.OrdersCluster, nil, gen.ExportJobRequest{
		SnapshotID:     sim.OrdersSnapshot,
		ExportBucketID: *st.bucket.ID,
		CustomData:     &[]gen.CustomDataRequest{{Key: &key, Value: &value}},
	})
	if err != nil {
		return err
	}
	if answer.JSON200 == nil {
		return unexpected(answer.HTTPResponse, answer.Body)
	}
	st.job = *answer.JSON200
	st.screen.received(answer.HTTPResponse, "job "+st.job.ID, string(st.job.State))
	return nil
}

// followExport reads the job until it ends. It shows only the first call.
func (st *story) followExport(ctx context.Context) error {
	st.screen.heading("Follow the job until it ends")
	defer func() {
		st.quiet = false
		st.screen.endBar()
	}()
	began := time.Now()
	for {
		answer, err := st.client.GetBackupExportWithResponse(ctx, sim.GroupID, sim.OrdersCluster, st.job.ID, nil)
		if err != nil {
			return err
		}
		if answer.JSON200 == nil {
			return unexpected(answer.HTTPResponse, answer.Body)
		}
		st.quiet = true
		st.job = *answer.JSON200
		done, total := exported(st.job.ExportStatus)
		st.screen.progress(string(st.job.State), done, total, time.Since(began))
		switch st.job.State {
		case gen.ExportJobStateSuccessful:
			st.screen.received(answer.HTTPResponse, string(st.job.State))
			return nil
		case gen.ExportJobStateFailed, gen.ExportJobStateCancelled:
			return fmt.Errorf("the job is %s: %s", st.job.State, answer.Body)
		}
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func exported(status *gen.ExportStatus) (done, total int) {
	if status != nil && status.ExportedCollections != nil && status.TotalCollections != nil {
		return *status.ExportedCollections, *status.TotalCollections
	}
	return 0, 0
}

// showExport prints .complete, which Atlas writes last: the export is then complete.
func (st *story) showExport(context.Context) error {
	st.screen.heading("Look into the bucket: .complete says that the export is complete")
	if st.job.Prefix == nil {
		return errors.New("the job has no prefix")
	}
	content, err := os.ReadFile(filepath.Join(st.bucketDirectory(), bucketName, filepath.FromSlash(*st.job.Prefix), ".complete"))
	if err != nil {
		return err
	}
	st.screen.text("%s", st.screen.paint(faint, bucketName+"/"+*st.job.Prefix+"/"))
	st.screen.json(content)
	return nil
}

// mistakes is a body with three mistakes: an id with a digit too few, a name instead of an id,
// and a member in the wrong case.
var mistakes = fmt.Sprintf(`{"snapshotId":%q,"exportBucketId":%q,"customdata":[]}`, sim.OrdersSnapshot[:23], bucketName)

func (st *story) makeMistakes(ctx context.Context) error {
	st.screen.heading("Make three mistakes in one request")
	before, err := st.counts(ctx)
	if err != nil {
		return err
	}
	answer, err := st.client.CreateBackupExportWithBodyWithResponse(ctx, sim.GroupID, sim.OrdersCluster, nil, "application/json", strings.NewReader(mistakes))
	if err != nil {
		return err
	}
	refused := answer.JSONDefault
	if answer.StatusCode() != http.StatusBadRequest || refused == nil || refused.BadRequestDetail == nil || refused.BadRequestDetail.Fields == nil {
		return unexpected(answer.HTTPResponse, answer.Body)
	}
	fields := *refused.BadRequestDetail.Fields
	if len(fields) != 3 {
		return fmt.Errorf("expected 3 violations: %w", unexpected(answer.HTTPResponse, answer.Body))
	}
	st.screen.received(answer.HTTPResponse, refused.ErrorCode, "Gateway-Error: "+answer.HTTPResponse.Header.Get("Gateway-Error"))
	var rows [][2]string
	for _, field := range fields {
		rows = append(rows, [2]string{text(field.Field), text(field.Description)})
	}
	st.screen.table(rows...)
	after, err := st.counts(ctx)
	if err != nil {
		return err
	}
	if after.Requests != before.Requests {
		return fmt.Errorf("the refused request reached Atlas: it has received %d requests, and %d before", after.Requests, before.Requests)
	}
	st.screen.text("Atlas had seen %d requests before, and has seen %d now.", before.Requests, after.Requests)
	return nil
}

func (st *story) listJobs(ctx context.Context) error {
	st.screen.heading("List the jobs the old way, over v1.0")
	answer, err := st.client.V1ListBackupExportsWithResponse(ctx, sim.GroupID, sim.OrdersCluster, nil,
		func(_ context.Context, r *http.Request) error {
			r.Header.Set("Accept", "application/json")
			return nil
		})
	if err != nil {
		return err
	}
	if answer.JSON200 == nil {
		return unexpected(answer.HTTPResponse, answer.Body)
	}
	st.screen.received(answer.HTTPResponse, answer.ContentType())
	for _, job := range answer.JSON200.Results {
		done, total := exported(job.ExportStatus)
		st.screen.text("%s  %s  %d of %d collections", job.ID, st.screen.paint(green, string(job.State)), done, total)
	}
	return nil
}

// printCommands prints commands to try while everything stays up.
func (st *story) printCommands() {
	s := st.screen
	v1 := fmt.Sprintf("%s/api/atlas/v1.0/groups/%s", st.gateway, sim.GroupID)
	v2 := fmt.Sprintf("%s/api/atlas/v2/groups/%s", st.gateway, sim.GroupID)
	exports := "/clusters/" + sim.OrdersCluster + "/backup/exports"
	body := fmt.Sprintf(`{"snapshotId":"%s","exportBucketId":"%s"}`, sim.OrdersSnapshot2, *st.bucket.ID)
	s.line("")
	s.line("%s", s.paint(bold, "Everything stays up until Ctrl-C. In another terminal, try"))
	for _, entry := range [][2]string{
		{"the jobs, over v1.0", fmt.Sprintf("curl -s '%s%s/?pretty=true'", v1, exports)},
		{"the job, over v2", fmt.Sprintf("curl -s -H 'Accept: %s' '%s%s/%s?pretty=true'", accept, v2, exports, st.job.ID)},
		{"an export of another snapshot, over v1.0", fmt.Sprintf("curl -s -H 'Content-Type: application/json' -d '%s' '%s%s/?pretty=true'", body, v1, exports)},
		{"the buckets, over v2", fmt.Sprintf("curl -s -H 'Accept: %s' '%s/backup/exportBuckets?pretty=true'", accept, v2)},
		{"three mistakes", fmt.Sprintf("curl -s -H 'Accept: %s' -H 'Content-Type: application/json' -d '%s' '%s%s?pretty=true'", accept, mistakes, v2, exports)},
		{"a misspelt query", fmt.Sprintf("curl -s '%s%s/?pageNumber=1&pretty=true'", v1, exports)},
		{"what Atlas has seen", fmt.Sprintf("curl -s '%s/counts'", st.control)},
		{"what the gateway has counted", fmt.Sprintf("curl -s '%s/metrics' | grep ^atlas_gateway", st.management)},
		{"the gateway's log", fmt.Sprintf("tail -f '%s'", st.log("atlas-gateway"))},
		{"the exported files", fmt.Sprintf("find '%s' -type f", st.bucketDirectory())},
	} {
		s.line("")
		s.line("   %s", s.paint(faint, "# "+entry[0]))
		s.line("   %s", entry[1])
	}
	s.line("")
}

// counts asks the control listener what Atlas has received so far.
func (st *story) counts(ctx context.Context) (counts sim.Counts, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, st.control+"/counts", nil)
	if err != nil {
		return counts, err
	}
	response, err := plain.Do(request)
	if err != nil {
		return counts, err
	}
	defer response.Body.Close()
	return counts, json.NewDecoder(response.Body).Decode(&counts)
}

// unexpected returns the error for an answer that the story does not expect.
func unexpected(response *http.Response, body []byte) error {
	return fmt.Errorf("%s %s was answered %s: %s", response.Request.Method, response.Request.URL.Path, response.Status, body)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
