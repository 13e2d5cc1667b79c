package sim

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

// complete is the content of .complete, the file that says that an export is complete.
type complete struct {
	OrgID                  string       `json:"orgId"`
	OrgName                string       `json:"orgName"`
	GroupID                string       `json:"groupId"`
	GroupName              string       `json:"groupName"`
	ClusterUniqueID        string       `json:"clusterUniqueId"`
	ClusterName            string       `json:"clusterName"`
	SnapshotInitiationDate string       `json:"snapshotInitiationDate"`
	TotalFiles             int          `json:"totalFiles"`
	Labels                 []Label      `json:"labels"`
	CustomData             []CustomData `json:"customData"`
}

// exported is the folder that holds everything that Atlas writes to a bucket.
const exported = "exported_snapshots"

// milliseconds is the form of the date in .complete, as Atlas's documentation shows it.
const milliseconds = "2006-01-02T15:04:05.000Z"

// writeExport writes the files that Atlas would upload for a job. Each collection has a file
// with the documents of each replica set, whose name says that it is the first of that replica
// set, and metadata.json. The last file is .complete.
func (s *Server) writeExport(job *Job) error {
	if s.exports == nil {
		return nil
	}
	group, cluster := s.world.groups[job.GroupID], s.world.cluster(job.GroupID, job.ClusterName)
	s.store.mu.RLock()
	taken := s.store.snapshots[job.SnapshotID].CreatedAt
	s.store.mu.RUnlock()
	root := job.root()
	files := 0
	for _, database := range cluster.Databases {
		for _, collection := range database.Collections {
			folder := path.Join(root, segment(database.Name), segment(collection))
			for i, replicaSet := range cluster.ReplicaSets {
				documents, err := documents(collection, database.Documents, i, len(cluster.ReplicaSets))
				if err == nil {
					err = s.writeObject(path.Join(folder, segment(replicaSet)+".0.json.gz"), documents)
				}
				if err != nil {
					return err
				}
				files++
			}
			metadata := fmt.Appendf(nil, `{"options":{},"indexes":[{"v":{"$numberInt":"2"},"key":{"_id":{"$numberInt":"1"}},"name":"_id_"}],"collectionName":%q,"type":"collection"}`+"\n", collection)
			if err := s.writeObject(path.Join(folder, "metadata.json"), metadata); err != nil {
				return err
			}
			files++
		}
	}
	var content bytes.Buffer
	encoder := json.NewEncoder(&content)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(complete{
		OrgID:                  group.Org.ID,
		OrgName:                group.Org.Name,
		GroupID:                group.ID,
		GroupName:              group.Name,
		ClusterUniqueID:        cluster.UniqueID,
		ClusterName:            cluster.Name,
		SnapshotInitiationDate: taken.UTC().Format(milliseconds),
		TotalFiles:             files,
		Labels:                 append([]Label{}, cluster.Labels...),
		CustomData:             job.CustomData,
	})
	if err != nil {
		return err
	}
	return s.writeObject(path.Join(root, ".complete"), content.Bytes())
}

// documents returns one replica set's share of a collection, one document a line, compressed.
// It is the same at every export.
func documents(collection string, total, share, shares int) ([]byte, error) {
	var content bytes.Buffer
	compressed := gzip.NewWriter(&content)
	for i := share; i < total; i += shares {
		fmt.Fprintf(compressed, `{"_id":{"$oid":"%024x"},"collection":%q,"number":{"$numberInt":"%d"}}`+"\n", i+1, collection, i+1)
	}
	err := compressed.Close()
	return content.Bytes(), err
}

// writePermissionCheck writes the file by which Atlas tries whether it may write to a
// bucket. Atlas does so when the bucket is created and when an export starts.
func (s *Server) writePermissionCheck(directory string) error {
	if s.exports == nil {
		return nil
	}
	return s.writeObject(path.Join(directory, exported, ".permissioncheck"), nil)
}

// writeObject writes a file below the export directory atomically. The directory is an
// os.Root, so that no name can touch anything outside of it.
func (s *Server) writeObject(name string, content []byte) error {
	if err := s.exports.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	temporary := path.Join(path.Dir(name), ".uploading-"+newID(s.clock.now()))
	if err := s.exports.WriteFile(temporary, content, 0o644); err != nil {
		return err
	}
	if err := s.exports.Rename(temporary, name); err != nil {
		s.exports.Remove(temporary)
		return err
	}
	return nil
}

// directory is the bucket's folder below the export directory.
func (b *Bucket) directory() string {
	return segment(cmp.Or(b.BucketName, container(b.ServiceURL)))
}

// segment escapes any text to one segment of a path.
func segment(name string) string {
	if strings.Trim(name, ".") == "" { // also "." and ".."
		return strings.ReplaceAll(name, ".", "%2E") + "_"
	}
	return url.PathEscape(name)
}

// safePath escapes each segment of a prefix.
func safePath(prefix string) string {
	parts := strings.Split(prefix, "/")
	for i := range parts {
		parts[i] = segment(parts[i])
	}
	return strings.Join(parts, "/")
}

// ExportPath returns the directory that a job's export is written to. It is empty for an
// unknown job, and without Config.ExportDir.
func (s *Server) ExportPath(jobID string) string {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	job := s.store.jobs[jobID]
	if job == nil || s.exports == nil {
		return ""
	}
	return filepath.Join(s.cfg.ExportDir, filepath.FromSlash(job.root()))
}

// root is the folder of the job's export, below the export directory.
func (j *Job) root() string { return path.Join(j.Directory, safePath(j.Prefix)) }
