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

// teller is the caller in the story: it knows the gateway's address and no key.
type teller struct {
	*world
	screen *screen
	client *gen.ClientWithResponses
	quiet  bool // sends without showing it
	calls  int

	bucket gen.ExportBucket
	job    gen.ExportJob
}

// accept asks for the newest version of an operation that is not younger than this. The
// generated client sets no Accept.
const accept = "application/vnd.atlas.2025-03-12+json"

const bucketName = "acme-exports"

// poll is how often the job is looked at. A real export takes minutes: seconds will do.
const poll = 125 * time.Millisecond

func newTeller(w *world, s *screen) *teller {
	t := &teller{world: w, screen: s}
	client, err := gen.NewClientWithResponses(w.gateway, gen.WithHTTPClient(t), gen.WithRequestEditorFn(
		func(_ context.Context, r *http.Request) error {
			r.Header.Set("Accept", accept)
			return nil
		}))
	if err != nil {
		panic(err) // no option above fails
	}
	t.client = client
	return t
}

// plain talks to loopback alone, so that no proxy of the environment is asked.
var plain = &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}

// Do sends what the generated client has built, and shows it.
func (t *teller) Do(r *http.Request) (*http.Response, error) {
	t.calls++
	if !t.quiet {
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
		t.screen.sent(r.Method, r.URL.RequestURI(), body)
	}
	return plain.Do(r)
}

// tell plays the story from beginning to end.
func (t *teller) tell(ctx context.Context) error {
	began := time.Now()
	s := t.screen
	s.line("%s", s.paint(bold, "A snapshot export through the gateway, on this machine alone"))
	s.line("")
	s.table(
		[2]string{"this program", "calls the gateway and has no Atlas key"},
		[2]string{"atlas-gateway", t.gateway + " checks each call and signs it"},
		[2]string{"atlas-sim", t.api + " stands for Atlas"},
	)
	for _, step := range []func(context.Context) error{t.createBucket, t.startExport, t.followExport, t.showExport, t.makeMistakes, t.listJobs} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	counts, err := t.counts(ctx)
	if err != nil {
		return err
	}
	forwarded := int64(t.calls - 1)
	s.line("")
	s.line("%s", s.paint(bold, fmt.Sprintf("Done in %.1f s", time.Since(began).Seconds())))
	s.table(
		[2]string{"the job", fmt.Sprintf("%s is %s, and .complete is written", t.job.ID, t.job.State)},
		[2]string{"calls", fmt.Sprintf("%d: %d forwarded, 1 refused", t.calls, forwarded)},
		[2]string{"Atlas saw", fmt.Sprintf("%d requests: %d signed, %d without a credential, to be challenged", counts.Requests, counts.Requests-counts.Challenges, counts.Challenges)},
		[2]string{"without it", fmt.Sprintf("%d requests, from a client that is challenged on every call", 2*forwarded)},
	)
	return nil
}

func (t *teller) createBucket(ctx context.Context) error {
	t.screen.heading("Register an S3 bucket for exports")
	var body gen.ExportBucketRequest
	if err := body.FromAWSExportBucketRequest(gen.AWSExportBucketRequest{
		CloudProvider: gen.AWSExportBucketRequestCloudProviderAWS,
		BucketName:    bucketName,
		IamRoleID:     sim.AWSRole,
	}); err != nil {
		return err
	}
	answer, err := t.client.CreateExportBucketWithResponse(ctx, sim.GroupID, nil, body)
	if err != nil {
		return err
	}
	if answer.JSON200 == nil || answer.JSON200.ID == nil {
		return unexpected(answer.HTTPResponse, answer.Body)
	}
	t.bucket = *answer.JSON200
	t.screen.received(answer.HTTPResponse, answer.ContentType())
	t.screen.json(answer.Body)
	return nil
}

func (t *teller) startExport(ctx context.Context) error {
	t.screen.heading("Start an export of a snapshot, with a note of our own")
	key, value := "exported by", "make demo"
	answer, err := t.client.CreateBackupExportWithResponse(ctx, sim.GroupID, sim.OrdersCluster, nil, gen.ExportJobRequest{
		SnapshotID:     sim.OrdersSnapshot,
		ExportBucketID: *t.bucket.ID,
		CustomData:     &[]gen.CustomDataRequest{{Key: &key, Value: &value}},
	})
	if err != nil {
		return err
	}
	if answer.JSON200 == nil {
		return unexpected(answer.HTTPResponse, answer.Body)
	}
	t.job = *answer.JSON200
	t.screen.received(answer.HTTPResponse, "job "+t.job.ID, string(t.job.State))
	return nil
}

// followExport reads the job until it ends. The calls but the first are not shown.
func (t *teller) followExport(ctx context.Context) error {
	t.screen.heading("Follow the job until it ends")
	defer func() {
		t.quiet = false
		t.screen.endBar()
	}()
	began := time.Now()
	for {
		answer, err := t.client.GetBackupExportWithResponse(ctx, sim.GroupID, sim.OrdersCluster, t.job.ID, nil)
		if err != nil {
			return err
		}
		if answer.JSON200 == nil {
			return unexpected(answer.HTTPResponse, answer.Body)
		}
		t.quiet = true
		t.job = *answer.JSON200
		done, total := exported(t.job.ExportStatus)
		t.screen.progress(string(t.job.State), done, total, time.Since(began))
		switch t.job.State {
		case gen.ExportJobStateSuccessful:
			t.screen.received(answer.HTTPResponse, string(t.job.State))
			return nil
		case gen.ExportJobStateFailed, gen.ExportJobStateCancelled:
			return fmt.Errorf("the job is %s: %s", t.job.State, answer.Body)
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

// showExport prints the file that Atlas writes last, so that others know the export whole.
func (t *teller) showExport(context.Context) error {
	t.screen.heading("Look into the bucket: .complete says that the export is whole")
	if t.job.Prefix == nil {
		return errors.New("the job has no prefix")
	}
	content, err := os.ReadFile(filepath.Join(t.bucketDirectory(), bucketName, filepath.FromSlash(*t.job.Prefix), ".complete"))
	if err != nil {
		return err
	}
	t.screen.text("%s", t.screen.paint(faint, bucketName+"/"+*t.job.Prefix+"/"))
	t.screen.json(content)
	return nil
}

// mistakes is a body with three of them: an id that lost a digit, a name for an id, and
// a member in the wrong case.
var mistakes = fmt.Sprintf(`{"snapshotId":%q,"exportBucketId":%q,"customdata":[]}`, sim.OrdersSnapshot[:23], bucketName)

func (t *teller) makeMistakes(ctx context.Context) error {
	t.screen.heading("Make three mistakes in one request")
	before, err := t.counts(ctx)
	if err != nil {
		return err
	}
	answer, err := t.client.CreateBackupExportWithBodyWithResponse(ctx, sim.GroupID, sim.OrdersCluster, nil, "application/json", strings.NewReader(mistakes))
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
	t.screen.received(answer.HTTPResponse, refused.ErrorCode, "Gateway-Error: "+answer.HTTPResponse.Header.Get("Gateway-Error"))
	var rows [][2]string
	for _, field := range fields {
		rows = append(rows, [2]string{text(field.Field), text(field.Description)})
	}
	t.screen.table(rows...)
	after, err := t.counts(ctx)
	if err != nil {
		return err
	}
	if after.Requests != before.Requests {
		return fmt.Errorf("the refused request reached Atlas: it has seen %d requests and had seen %d", after.Requests, before.Requests)
	}
	t.screen.text("Atlas had seen %d requests before, and has seen %d now.", before.Requests, after.Requests)
	return nil
}

func (t *teller) listJobs(ctx context.Context) error {
	t.screen.heading("List the jobs the old way, over v1.0")
	answer, err := t.client.V1ListBackupExportsWithResponse(ctx, sim.GroupID, sim.OrdersCluster, nil,
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
	t.screen.received(answer.HTTPResponse, answer.ContentType())
	for _, job := range answer.JSON200.Results {
		done, total := exported(job.ExportStatus)
		t.screen.text("%s  %s  %d of %d collections", job.ID, t.screen.paint(green, string(job.State)), done, total)
	}
	return nil
}

// invite prints what to try while everything stays up.
func (t *teller) invite() {
	s := t.screen
	v1 := fmt.Sprintf("%s/api/atlas/v1.0/groups/%s", t.gateway, sim.GroupID)
	v2 := fmt.Sprintf("%s/api/atlas/v2/groups/%s", t.gateway, sim.GroupID)
	exports := "/clusters/" + sim.OrdersCluster + "/backup/exports"
	body := fmt.Sprintf(`{"snapshotId":"%s","exportBucketId":"%s"}`, sim.OrdersSnapshot2, *t.bucket.ID)
	s.line("")
	s.line("%s", s.paint(bold, "Everything stays up until Ctrl-C. In another terminal, try"))
	for _, entry := range [][2]string{
		{"the jobs, over v1.0", fmt.Sprintf("curl -s '%s%s/?pretty=true'", v1, exports)},
		{"the job, over v2", fmt.Sprintf("curl -s -H 'Accept: %s' '%s%s/%s?pretty=true'", accept, v2, exports, t.job.ID)},
		{"an export of another snapshot, over v1.0", fmt.Sprintf("curl -s -H 'Content-Type: application/json' -d '%s' '%s%s/?pretty=true'", body, v1, exports)},
		{"the buckets, over v2", fmt.Sprintf("curl -s -H 'Accept: %s' '%s/backup/exportBuckets?pretty=true'", accept, v2)},
		{"three mistakes", fmt.Sprintf("curl -s -H 'Accept: %s' -H 'Content-Type: application/json' -d '%s' '%s%s?pretty=true'", accept, mistakes, v2, exports)},
		{"a misspelt query", fmt.Sprintf("curl -s '%s%s/?pageNumber=1&pretty=true'", v1, exports)},
		{"what Atlas has seen", fmt.Sprintf("curl -s '%s/counts'", t.control)},
		{"what the gateway has counted", fmt.Sprintf("curl -s '%s/metrics' | grep ^atlas_gateway", t.management)},
		{"the gateway's log", fmt.Sprintf("tail -f '%s'", t.log("atlas-gateway"))},
		{"the exported files", fmt.Sprintf("find '%s' -type f", t.bucketDirectory())},
	} {
		s.line("")
		s.line("   %s", s.paint(faint, "# "+entry[0]))
		s.line("   %s", entry[1])
	}
	s.line("")
}

// counts asks the control listener what Atlas has seen so far.
func (t *teller) counts(ctx context.Context) (counts sim.Counts, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, t.control+"/counts", nil)
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

// unexpected is the error for an answer that the story does not go on with.
func unexpected(response *http.Response, body []byte) error {
	return fmt.Errorf("%s %s was answered %s: %s", response.Request.Method, response.Request.URL.Path, response.Status, body)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
