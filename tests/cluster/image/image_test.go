package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func unpack(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	reader := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := reader.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPackWritesWhatTheManifestNames(t *testing.T) {
	layer := []entry{{name: "tool", mode: 0o755, data: []byte("contents")}}
	config := Config{User: "65532:65532", Entrypoint: []string{"/tool"}}
	archive, err := pack("docker.io/library/tool:1", layer, config)
	if err != nil {
		t.Fatal(err)
	}
	files := unpack(t, archive)

	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	if want := []string{"docker.io/library/tool:1"}; !reflect.DeepEqual(manifest[0].RepoTags, want) {
		t.Errorf("tags are %v, not %v", manifest[0].RepoTags, want)
	}
	layerTar := files[manifest[0].Layers[0]]
	if got := unpack(t, layerTar)["tool"]; string(got) != "contents" {
		t.Errorf("the layer holds %q", got)
	}
	var description struct {
		Config Config                      `json:"config"`
		Rootfs struct{ Diff_ids []string } `json:"rootfs"`
	}
	if err := json.Unmarshal(files[manifest[0].Config], &description); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(description.Config, config) {
		t.Errorf("the configuration is %+v, not %+v", description.Config, config)
	}
	if want := "sha256:" + digest(layerTar); description.Rootfs.Diff_ids[0] != want {
		t.Errorf("the layer's digest is %s, not %s", description.Rootfs.Diff_ids[0], want)
	}
}

func TestPackIsReproducible(t *testing.T) {
	layer := []entry{{name: "bin/", mode: 0o755}, {name: "bin/sh", link: "busybox", mode: 0o777}}
	first, err := pack("a:1", layer, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if second, _ := pack("a:1", layer, Config{}); !bytes.Equal(first, second) {
		t.Error("the same input gave different bytes")
	}
}

func TestReadStaticRefusesWhatIsNoExecutable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := readStatic(file); err == nil {
		t.Error("a script was taken for a static executable")
	}
}

func TestReadStaticRefusesADynamicExecutable(t *testing.T) {
	if _, err := readStatic("/bin/sh"); err == nil {
		t.Skip("this machine's shell is static")
	} else if want := "/bin/sh is not a static executable"; err.Error() != want {
		t.Errorf("the error is %q, not %q", err, want)
	}
}
