package main

import (
	"os"
	"strings"
	"testing"

	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/wire"
)

// TestKubeconfigThatIsBroken keeps nothing from starting, nor from limiting: commands to scale say what is wrong, until it is mended.
func TestKubeconfigThatIsBroken(t *testing.T) {
	f := &farm{site: newSite(t)}
	file := f.write("kubeconfig", "nonsense: [")
	up := f.start("up", "--config", f.write("weir.yaml", `
scaling:
  backend: kubernetes
  kubernetes: {workload: deployment/bank, kubeconfig: `+file+`}
`))
	up.Await(t, "commands to scale will fail until this is mended", patience)
	f.o = te.Observe(t, f.Bank, brokerAddr)
	if out := f.mustWeir("ctl enable-rate-limiting"); !strings.Contains(out, "success") {
		t.Errorf("limiting: %s", out)
	}
	config := `
current-context: a
contexts: [{name: a, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: x}}]
`
	for _, c := range []struct {
		text string
		mode os.FileMode
		want string
	}{
		{"nonsense: [", 0o600, file + ": not a kubeconfig"},
		{config, 0o644, file + " can be read by others: chmod 600 " + file},
		{config, 0o600, "the API server https://127.0.0.1:1 can't be reached"},
	} {
		must(t, os.WriteFile(file, []byte(c.text), 0o600))
		must(t, os.Chmod(file, c.mode))
		if st := f.scale(`{"command": "scale_up_servers"}`); st.Status != wire.Failure || !strings.Contains(st.Detail, c.want) || strings.Contains(st.Detail, "\n") {
			t.Errorf("%s: %s, want %s", st.Status, st.Detail, c.want)
		}
	}
}
