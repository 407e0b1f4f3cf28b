// Package image packs container images without a container engine: one layer, written as
// the archive that `docker save` writes, which containerd imports.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strings"
)

// Config is the part of an image's configuration that a container starts from.
type Config struct {
	User       string   `json:",omitempty"`
	Env        []string `json:",omitempty"`
	Entrypoint []string `json:",omitempty"`
	Cmd        []string `json:",omitempty"`
	WorkingDir string   `json:",omitempty"`
}

// entry is one file, folder or symbolic link of the layer, owned by root.
type entry struct {
	name, link string
	mode       int64
	data       []byte
}

// Main packs one image as its arguments say: an image of one static binary that is its entry point,
// of busybox with a shell, or of busybox as the process that holds a Pod's namespaces.
func Main(args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	out := flags.String("out", "", "archive to write")
	name := flags.String("name", "", "REGISTRY/NAME:TAG")
	kind := flags.String("kind", "", "binary, busybox or pause")
	binary := flags.String("binary", "", "static executable to pack")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *out == "" || *name == "" || *binary == "" {
		return errors.New("usage: kube image --kind binary|busybox|pause --binary FILE --name NAME:TAG --out FILE.tar")
	}
	data, err := readStatic(*binary)
	if err != nil {
		return err
	}
	layer, config, err := contents(*kind, path.Base(*binary), *binary, data)
	if err != nil {
		return err
	}
	archive, err := pack(*name, layer, config)
	if err != nil {
		return err
	}
	return os.WriteFile(*out, archive, 0o644)
}

func contents(kind, base, file string, data []byte) ([]entry, Config, error) {
	shell := Config{Cmd: []string{"sh"}, Env: []string{"PATH=/bin"}}
	switch kind {
	case "binary":
		config := Config{User: "65532:65532", Entrypoint: []string{"/" + base}, WorkingDir: "/"}
		return []entry{{name: base, mode: 0o755, data: data}}, config, nil
	case "busybox":
		layer, err := busybox(file, data)
		return layer, shell, err
	case "pause":
		layer, err := busybox(file, data)
		shell.Cmd = []string{"sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done"}
		return layer, shell, err
	}
	return nil, Config{}, fmt.Errorf("unknown kind of image %q", kind)
}

func busybox(file string, data []byte) ([]entry, error) {
	list, err := exec.Command(file, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("%s does not list its commands: %w", file, err)
	}
	layer := []entry{
		{name: "bin/", mode: 0o755}, {name: "etc/", mode: 0o755}, {name: "tmp/", mode: 0o1777},
		{name: "etc/passwd", mode: 0o644, data: []byte("root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")},
		{name: "bin/busybox", mode: 0o755, data: data},
	}
	for _, command := range strings.Fields(string(list)) {
		if command != "busybox" {
			layer = append(layer, entry{name: "bin/" + command, link: "busybox", mode: 0o777})
		}
	}
	return layer, nil
}

// readStatic refuses an executable that needs a loader: the image has none, and the container
// would end with a bare "no such file or directory".
func readStatic(file string) ([]byte, error) {
	executable, err := elf.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%s is not a Linux executable: %w", file, err)
	}
	defer executable.Close()
	for _, part := range executable.Progs {
		if part.Type == elf.PT_INTERP {
			return nil, fmt.Errorf("%s is not a static executable", file)
		}
	}
	return os.ReadFile(file)
}

// pack gives the same bytes for the same input: no times, no random names.
func pack(name string, layer []entry, config Config) ([]byte, error) {
	layerTar, err := writeTar(layer)
	if err != nil {
		return nil, err
	}
	diffID := digest(layerTar)
	description, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       config,
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + diffID}},
	})
	if err != nil {
		return nil, err
	}
	configName, layerName := digest(description)+".json", diffID+"/layer.tar"
	manifest, err := json.Marshal([]map[string]any{{"Config": configName, "RepoTags": []string{name}, "Layers": []string{layerName}}})
	if err != nil {
		return nil, err
	}
	return writeTar([]entry{
		{name: configName, mode: 0o644, data: description},
		{name: layerName, mode: 0o644, data: layerTar},
		{name: "manifest.json", mode: 0o644, data: manifest},
	})
}

func writeTar(entries []entry) ([]byte, error) {
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for _, item := range entries {
		header := &tar.Header{Name: item.name, Linkname: item.link, Mode: item.mode, Size: int64(len(item.data)), Typeflag: tar.TypeReg}
		switch {
		case item.link != "":
			header.Typeflag = tar.TypeSymlink
		case strings.HasSuffix(item.name, "/"):
			header.Typeflag = tar.TypeDir
		}
		if err := writer.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := writer.Write(item.data); err != nil {
			return nil, err
		}
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

func digest(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }
