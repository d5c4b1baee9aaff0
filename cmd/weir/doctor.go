package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/config"
	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/doctor"
	"github.com/weir-sensor/weir/pkg/hoststats"
	"github.com/weir-sensor/weir/pkg/keys"
	"github.com/weir-sensor/weir/pkg/policer"
	"github.com/weir-sensor/weir/pkg/tc"
)

func newDoctor() *cobra.Command {
	cmd := settled(&cobra.Command{
		Use:   "doctor",
		Short: "Look what this host lacks, what that costs, and how to mend it",
		Long: `Look at the kernel, its settings and what it lets weir load, at privilege, the network card, the clock, who listens, the
broker and the identity: before the first start, or while weir runs. It changes nothing, though the kernel may load modules of its own. The exit status is 1 if anything is bad, which
keeps weir from protecting this host, and 0 otherwise, with warnings or not.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := newSetup(cmd)
			if err != nil {
				return err
			}
			report, err := s.examine(cmd.Context())
			if err != nil {
				return err
			}
			return tell(cmd, report)
		},
	})
	cmd.Flags().Bool("json", false, "print a line of JSON for each finding")
	return cmd
}

func tell(cmd *cobra.Command, report doctor.Report) error {
	write := report.Print
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		write = report.PrintJSON
	}
	if err := write(cmd.OutOrStdout()); err != nil {
		return err
	}
	if n := report.Bad(); n > 0 {
		return fmt.Errorf("doctor: %d findings keep weir from protecting this host, see above", n)
	}
	return nil
}

// brokerWait is for the broker's answer.
const brokerWait = 5 * time.Second

func (s setup) examine(ctx context.Context) (doctor.Report, error) {
	ports, err := config.Ports(s.cfg.ManagementPorts)
	if err != nil {
		return nil, err
	}
	var r doctor.Report
	m := doctor.Machine{Root: "/", BPFFS: s.cfg.BPFFS}
	m.Kernel(&r)
	m.Privilege(&r)
	s.examineInterfaces(&r)
	m.Settings(&r, ports)
	m.Logins(&r)
	doctor.Clock(&r)
	s.examineBroker(ctx, &r)
	return r, nil
}

func (s setup) examineInterfaces(r *doctor.Report) {
	names, err := interfacesOf(s.cfg)
	if err != nil {
		doctor.Missing(r, err)
		return
	}
	for i, name := range names {
		nic, err := hoststats.ReadNIC(name)
		if err != nil {
			doctor.Missing(r, err)
			continue
		}
		c := doctor.Card{
			Name: name, Driver: nic.Driver, MTU: nic.MTU, Queues: nic.Queues, LRO: nic.LRO, Offloads: nic.Offloads, Strips: nic.Strips, VLANs: nic.VLANs,
			XDP: nic.XDP, XDPErr: nic.XDPErr, CPUs: runtime.NumCPU(),
		}
		s.holding(&c)
		doctor.Interface(r, c)
		if i > 0 {
			continue // the kernel is the same
		}
		a, err := datapath.Probe(s.cfg.BPFFS, name)
		if err != nil {
			doctor.Missing(r, err)
			continue
		}
		doctor.Datapath(r, doctor.Abilities(a))
		doctor.Policer(r, doctor.Policing(policer.Probe()))
	}
}

// holding finds out how weir holds an interface, or who else does.
func (s setup) holding(c *doctor.Card) {
	if c.Tier, c.Err = datapath.Tier(s.cfg.BPFFS, c.Name); c.Err != nil {
		return
	}
	p, err := newPolicer(s.cfg, c.Name, s.log)
	if err != nil {
		c.Err = err
		return
	}
	limit, err := p.State()
	if err != nil {
		c.Err = err
		return
	}
	if c.Tier == "" && limit.Counting {
		c.Tier = tierPolice
	}
	c.Overdue = limit.Limit != (datapath.Limit{}) && limit.Lease == 0
	if i, err := net.InterfaceByName(c.Name); err == nil {
		id, err := tc.XDPProgram(i.Index)
		c.Foreign = err == nil && id != 0 && c.Tier != datapath.TierNative && c.Tier != datapath.TierGeneric
	}
}

func (s setup) examineBroker(ctx context.Context, r *doctor.Report) {
	b := s.cfg.Broker
	o := bus.Options{Broker: b.URL, Username: b.Username, Password: b.Password, Plaintext: b.InsecurePlaintext}
	for _, dir := range identityDirs(b.Identity) {
		k, err := keys.Load(dir, b.Trust)
		if err != nil {
			doctor.Identity(r, err, "")
			continue
		}
		doctor.Identity(r, nil, k.Name+", good until "+k.NotAfter.Format(time.DateOnly), endsSoon(k.Identity, time.Now()))
		if k.Password != "" && o.Credentials == nil {
			id := &identity{}
			id.now.Store(k)
			o.Credentials = func() bus.Credentials { return id.credentials(nil, b.AllowTLS12) }
		}
	}
	ctx, cancel := context.WithTimeout(ctx, brokerWait)
	defer cancel()
	until, err := bus.Try(ctx, o)
	doctor.Broker(r, bus.Shown(b.URL), until, time.Now(), err)
	if file := s.cfg.Web.TLSCert; file != "" {
		until, err := certificateEnd(file)
		doctor.Page(r, file, until, time.Now(), err)
	}
}

// certificateEnd reads until when the first certificate of a file is good.
func certificateEnd(file string) (time.Time, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return time.Time{}, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return time.Time{}, fmt.Errorf("%s: there is no certificate in it", file)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", file, err)
	}
	return c.NotAfter, nil
}

// identityDirs are the directories of identities that are used here: weir up has one of them.
func identityDirs(dir string) []string {
	if dir == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Join(dir, "name")); err == nil || !errors.Is(err, os.ErrNotExist) {
		return []string{dir}
	}
	all, _ := filepath.Glob(filepath.Join(dir, "*", "name")) // the pattern is fine
	for i := range all {
		all[i] = filepath.Dir(all[i])
	}
	if len(all) == 0 {
		return []string{dir} // which says what is wrong
	}
	return all
}
