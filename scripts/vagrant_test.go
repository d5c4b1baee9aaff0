package scripts

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// TestVagrantfile has Vagrant judge it, with what libvirt's provider allows, and without any provider. VirtualBox's is judged only where
// VirtualBox is.
func TestVagrantfile(t *testing.T) {
	te.Tool(t, "vagrant")
	for _, provider := range []string{"libvirt", ""} {
		cmd := exec.Command("vagrant", "validate")
		cmd.Dir = ".."
		cmd.Env = append(os.Environ(), "VAGRANT_HOME="+t.TempDir(), "VAGRANT_DOTFILE_PATH="+t.TempDir())
		if provider == "" {
			cmd.Args = append(cmd.Args, "--ignore-provider")
		} else {
			cmd.Env = append(cmd.Env, "VAGRANT_DEFAULT_PROVIDER="+provider)
		}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "validated successfully") {
			t.Errorf("vagrant validate, provider %q: %v\n%s", provider, err, out)
		}
	}
}
