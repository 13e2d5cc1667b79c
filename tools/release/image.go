package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is whom the containers run as: nobody's account, on no machine.
const user = 65532

// authorities is where a program looks for the certificates of authorities.
const authorities = "etc/ssl/certs/ca-certificates.crt"

// state is the only folder that the gateway writes into.
const state = "var/lib/atlas-gateway/"

// An image is a program on an otherwise empty file system. deploy/Dockerfile builds the same ones.
type image struct {
	program string
	title   string
	folders []file
	config  v1.Config
}

var images = []image{
	{
		program: "atlas-gateway",
		title:   "Gateway for Atlas snapshot exports",
		folders: []file{
			{name: "etc/atlas-gateway/", mode: 0o755}, // where the configuration is mounted
			{name: "var/", mode: 0o755},
			{name: "var/lib/", mode: 0o755},
			{name: state, mode: 0o700, owner: user},
		},
		config: v1.Config{
			Cmd:          []string{"serve", "/etc/atlas-gateway/atlas-gateway.yaml"},
			Env:          []string{"STATE_DIRECTORY=/" + strings.TrimSuffix(state, "/")},
			Volumes:      map[string]struct{}{"/" + strings.TrimSuffix(state, "/"): {}},
			ExposedPorts: map[string]struct{}{"8443/tcp": {}},
		},
	},
	{program: "atlas-export", title: "Command line for Atlas snapshot exports"},
}

// makeImages writes the images into dist/image/.
func makeImages(ctx context.Context, s *source, targets []target, stdout io.Writer) error {
	work, err := os.MkdirTemp("", "atlas-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	folders := map[target]string{}
	for _, t := range targets {
		if t.os == "linux" {
			if folders[t], err = s.build(ctx, work, t, "atlas-gateway", "atlas-export"); err != nil {
				return err
			}
		}
	}
	dist := filepath.Join(s.root, "dist", "image")
	if err := os.RemoveAll(dist); err != nil {
		return err
	}
	for _, i := range images {
		digest, err := s.layout(filepath.Join(dist, i.program), i, folders)
		if err != nil {
			return err
		}
		components, err := s.imageComponents(i, folders)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dist, i.program+".cdx.json"), components, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s@%s\n", i.program, digest)
	}
	return nil
}

// layout writes an image as an OCI layout, with one index over the targets that folders has
// programs for, and returns the digest of the index.
func (s *source) layout(folder string, i image, folders map[target]string) (v1.Hash, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, t := range all {
		if folders[t] == "" || t.os != "linux" {
			continue
		}
		built, err := s.image(i, t, folders[t])
		if err != nil {
			return v1.Hash{}, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: built, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: t.os, Architecture: t.arch},
		}})
	}
	index = mutate.Annotations(index, s.labels(i)).(v1.ImageIndex)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return v1.Hash{}, err
	}
	written, err := layout.Write(folder, empty.Index)
	if err != nil {
		return v1.Hash{}, err
	}
	if err := written.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": s.version})); err != nil {
		return v1.Hash{}, err
	}
	return index.Digest()
}

// image returns an image for one target, with a layer that seldom changes and one with the
// program.
func (s *source) image(i image, t target, folder string) (v1.Image, error) {
	base := append([]file{
		{name: "etc/", mode: 0o755},
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: authorities, mode: 0o644, content: certificates()},
	}, i.folders...)
	program, err := read(filepath.Join(folder, i.program), i.program, 0o755)
	if err != nil {
		return nil, err
	}
	config := i.config
	config.User = fmt.Sprintf("%d:%d", user, user)
	config.Entrypoint = []string{"/" + i.program}
	config.WorkingDir = "/"
	config.Labels = s.labels(i)
	created := v1.Time{Time: s.time}
	built := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	built, err = mutate.ConfigFile(built, &v1.ConfigFile{
		OS: t.os, Architecture: t.arch, Created: created, Config: config, RootFS: v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, err
	}
	for _, files := range [][]file{base, {program}} {
		var content bytes.Buffer
		if err := writeTar(&content, files, s.time); err != nil {
			return nil, err
		}
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil },
			tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
		if err != nil {
			return nil, err
		}
		if built, err = mutate.Append(built, mutate.Addendum{Layer: layer, MediaType: types.OCILayer, History: v1.History{Created: created, CreatedBy: "release image"}}); err != nil {
			return nil, err
		}
	}
	return mutate.Annotations(built, s.labels(i)).(v1.Image), nil
}

// labels are what an image says about itself, by the OCI's predefined annotation keys.
func (s *source) labels(i image) map[string]string {
	labels := map[string]string{}
	for key, value := range map[string]string{
		"title":       i.program,
		"description": i.title,
		"version":     s.version,
		"revision":    s.revision,
		"created":     s.time.Format(time.RFC3339),
		"licenses":    "Apache-2.0",
	} {
		labels["org.opencontainers.image."+key] = value
	}
	return labels
}

// certificates returns Mozilla's authorities in PEM, as the module that go.sum pins has them. It
// leaves out those that are trusted only in part, which PEM can't express.
func certificates() []byte {
	var buffer bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			pem.Encode(&buffer, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
		}
	}
	return buffer.Bytes()
}
