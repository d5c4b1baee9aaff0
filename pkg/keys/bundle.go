package keys

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weir-sensor/weir/pkg/atomicfile"
	"github.com/weir-sensor/weir/pkg/trust"
	"github.com/weir-sensor/weir/pkg/wire"
)

// The files of an identity's directory.
const (
	fileCertificate = "tls.crt"
	fileTLSKey      = "tls.key"
	fileSignKey     = "sign.key"
	filePassword    = "password"
	fileRoot        = "ca.crt"
	fileName        = "name"
	// ConfigFile is the one that weir is started with.
	ConfigFile = "weir.yaml"
)

type file struct {
	name string
	text []byte
	mode fs.FileMode
}

// files are an identity's; where is the directory in which it will be used.
func (i *Issued) files(where string) ([]file, error) {
	config, err := i.config(where)
	if err != nil {
		return nil, err
	}
	all := []file{
		{fileName, []byte(i.Name + "\n"), 0o644}, {fileCertificate, i.chain, 0o644}, {fileTLSKey, i.tlsKey, 0o600}, {fileRoot, i.root, 0o644},
		{trustFile, i.trust, 0o644}, {ConfigFile, config, 0o600},
	}
	if i.Password != "" {
		all = append(all, file{filePassword, []byte(i.Password + "\n"), 0o600})
	}
	if i.signKey != nil {
		all = append(all, file{fileSignKey, i.signKey, 0o600})
	}
	return all, nil
}

// config is what the component needs, and nothing that it would find out by itself.
func (i *Issued) config(where string) ([]byte, error) {
	c := map[string]string{"identity": where}
	if i.Role != trust.Broker {
		c["org"] = i.Org
	}
	if i.Role != trust.Broker && i.Site != "" {
		c["site"] = i.Site
	}
	if i.Server != "" {
		c["server"] = i.Server
	}
	switch {
	case i.Role == trust.Broker:
		c["listen"], c["listen-ws"] = "0.0.0.0:8883", ""
	case i.Broker != "":
		c["broker"] = i.Broker
	}
	text, err := yaml.Marshal(c)
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("# %s: %s of %s, until %s\n", i.Name, i.Role, Place(i.Identity), i.NotAfter.Format(time.DateOnly))
	return append([]byte(head), text...), nil
}

// Place is where an identity belongs, for people.
func Place(id trust.Identity) string {
	if id.Server != "" {
		return wire.Root{Org: id.Org, Site: id.Site, Server: id.Server}.String()
	}
	if id.Site != "" {
		return id.Org + "/" + id.Site
	}
	return id.Org
}

// WriteDir makes a directory with all that the identity needs. where is the directory in which it will be used; "" for this one.
func (i *Issued) WriteDir(dir, where string) error {
	if where == "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		where = abs
	}
	all, err := i.files(where)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for _, f := range all {
		if err := atomicfile.Write(filepath.Join(dir, f.name), f.text, f.mode); err != nil {
			return err
		}
	}
	return nil
}

// WriteTar writes the same as a tar file, with the identity's name as directory.
func (i *Issued) WriteTar(w io.Writer, where string, now time.Time) error {
	all, err := i.files(where)
	if err != nil {
		return err
	}
	now = now.Truncate(time.Second) // rounded up it would be in the future
	t := tar.NewWriter(w)
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: i.Name + "/", Mode: 0o700, ModTime: now}); err != nil {
		return err
	}
	for _, f := range all {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: i.Name + "/" + f.name, Mode: int64(f.mode), Size: int64(len(f.text)), ModTime: now}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(f.text); err != nil {
			return err
		}
	}
	return t.Close()
}
