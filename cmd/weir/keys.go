package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-sensor/weir/pkg/keys"
	"github.com/weir-sensor/weir/pkg/trust"
	"github.com/weir-sensor/weir/pkg/wire"
)

// noSite is how a command line says that servers are directly under the organisation.
const noSite = "-"

func newKeys() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make and end the identities of components and people",
		Long: `Make and end the identities of components and people: each has a certificate, a password for the broker, and, if others act on
what it says, a key to sign with. They are made in one directory, on a machine that may be kept off the network, and carried to where
they are used. The trust file there says who is who; brokers and components read it.

  weir keys init --broker tls://broker.bank.example:8883
  weir keys issue broker north --host broker.bank.example
  weir keys issue sensor north web1 --bundle sensor.tar     # and controller; then, on web1: tar -C /etc/weir -xf sensor.tar
  weir keys issue operator north --label alice

A site is named, or - for servers directly under the organisation. Roles: sensor and controller of one server; monitor, operator and
viewer of a site; broker.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("keys: give one of init, issue, rotate, revoke, list, verify")
		},
	}
	cmd.PersistentFlags().String("dir", "/etc/weir/keys", "the directory in which identities are made")
	cmd.PersistentFlags().String("root-key", "", "file of the root's key, if it is kept elsewhere: only a new site needs it")
	cmd.AddCommand(newKeysInit(), newKeysIssue(), newKeysRotate(), newKeysRevoke(), newKeysList(), newKeysVerify())
	return cmd
}

func newKeysInit() *cobra.Command {
	cmd := &cobra.Command{
		Use: "init", Short: "Make the root, and a trust file without anybody", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			flag := texts(cmd)
			if err := keys.Init(keys.Settings{
				Dir: flag("dir"), Org: flag("org"), Broker: flag("broker"), RootKey: flag("root-key"),
			}, time.Now()); err != nil {
				return err
			}
			rootKey := flag("root-key")
			if rootKey == "" {
				rootKey = flag("dir") + "/root.key"
			}
			return say(cmd, "the root is made. Keep %s where nobody else gets at it, off this machine if you can: only a new site needs it.\n", rootKey)
		},
	}
	cmd.Flags().String("org", wire.DefaultRoot.Org, "first level of all topics")
	cmd.Flags().String("broker", "", "address of the broker for configurations, like tls://broker.bank.example:8883")
	return cmd
}

func newKeysIssue() *cobra.Command {
	cmd := &cobra.Command{
		Use: "issue ROLE SITE [SERVER]", Short: "Make an identity, as a directory or a bundle with all that it needs",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 || len(args) > 3 {
				return errors.New("keys issue: give a role, a site (- for none), and the server of a sensor or controller")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r := keys.Request{Role: trust.Role(args[0]), Site: args[1], Label: texts(cmd)("label")}
			if r.Site == noSite {
				r.Site = ""
			}
			if len(args) == 3 {
				r.Server = args[2]
			}
			r.Days, _ = cmd.Flags().GetInt("days")
			r.Hosts, _ = cmd.Flags().GetStringArray("host")
			return issue(cmd, func(s *keys.Store) (*keys.Issued, error) { return s.Issue(r, time.Now()) })
		},
	}
	cmd.Flags().String("label", "", "whose it is, for people to read")
	cmd.Flags().StringArray("host", nil, "name or address by which others reach a broker; once for each")
	issueFlags(cmd)
	return cmd
}

func issueFlags(cmd *cobra.Command) {
	cmd.Flags().Int("days", keys.DefaultDays, "how long it is good for")
	cmd.Flags().String("out", "", "directory to make for it; empty for one of its name here")
	cmd.Flags().String("bundle", "", "file to write it to as a tar instead")
	cmd.Flags().String("used-in", "", "directory in which it will be used; empty for --out, or /etc/weir/NAME of a bundle")
}

func newKeysRotate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate NAME", Short: "Make a successor; both are good for a while",
		Args: oneName("keys rotate"),
		RunE: func(cmd *cobra.Command, args []string) error {
			days, _ := cmd.Flags().GetInt("days")
			grace, _ := cmd.Flags().GetDuration("grace")
			return issue(cmd, func(s *keys.Store) (*keys.Issued, error) { return s.Rotate(args[0], days, grace, time.Now()) })
		},
	}
	cmd.Flags().Duration("grace", 14*24*time.Hour, "how long the old one stays good, at most")
	issueFlags(cmd)
	return cmd
}

// issue makes an identity and writes it to where it was asked for.
func issue(cmd *cobra.Command, with func(*keys.Store) (*keys.Issued, error)) (err error) {
	flag := texts(cmd)
	out, bundle := flag("out"), flag("bundle")
	if out != "" && bundle != "" {
		return errors.New("give --out or --bundle, not both")
	}
	for _, path := range []string{out, bundle} {
		if _, err := os.Lstat(path); path != "" && err == nil {
			return fmt.Errorf("%s is there already: give another", path)
		}
	}
	s, err := keys.Open(flag("dir"), flag("root-key"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	id, err := with(s)
	if err != nil {
		return err
	}
	where := bundle
	if bundle != "" {
		err = writeBundle(id, bundle, flag("used-in"))
	} else {
		if out == "" {
			out = id.Name
		}
		where, err = out, id.WriteDir(out, flag("used-in"))
	}
	if err != nil { // nobody has its secrets
		return errors.Join(fmt.Errorf("%w: %s is revoked again", err, id.Name), s.Revoke(id.Name, time.Now()))
	}
	return say(cmd, "%s, good until %s, is in %s. Now copy %s to the broker and to the components that are to know it.\n",
		id.Name, id.NotAfter.Format(time.DateOnly), where, s.TrustFile())
}

func writeBundle(id *keys.Issued, path, usedIn string) error {
	if usedIn == "" {
		usedIn = "/etc/weir/" + id.Name
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(id.WriteTar(f, usedIn, time.Now()), f.Sync(), f.Close())
}

func newKeysRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke NAME", Short: "End an identity", Args: oneName("keys revoke"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			s, err := keys.Open(texts(cmd)("dir"), "")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			if err := s.Revoke(args[0], time.Now()); err != nil {
				return err
			}
			return say(cmd, "%s is revoked. It ends where the trust file is read again: copy %s there, and send SIGHUP.\n", args[0], s.TrustFile())
		},
	}
}

func newKeysList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the identities", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			s, err := keys.Open(texts(cmd)("dir"), "")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				e.SetEscapeHTML(false)
				return e.Encode(s.Identities())
			}
			return listIdentities(cmd.OutOrStdout(), s.Identities(), time.Now())
		},
	}
	cmd.Flags().Bool("json", false, "for machines")
	return cmd
}

// warnBefore is when people are told that an identity ends.
const warnBefore = 14 * 24 * time.Hour

func listIdentities(w io.Writer, all []trust.Identity, now time.Time) error {
	slices.SortStableFunc(all, func(a, b trust.Identity) int { return a.NotAfter.Compare(b.NotAfter) })
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "nobody: weir keys issue makes an identity")
		return err
	}
	if _, err := fmt.Fprintf(w, "%-22s %-11s %-32s %-10s  %s\n", "name", "role", "of", "until", "label, state"); err != nil {
		return err
	}
	for _, id := range all {
		var notes []string
		if id.Label != "" {
			notes = append(notes, id.Label)
		}
		switch {
		case id.Revoked != nil:
			notes = append(notes, "revoked "+id.Revoked.Format(time.DateOnly))
		case now.After(id.NotAfter):
			notes = append(notes, "ended")
		default:
			if text := endsSoon(id, now); text != "" {
				notes = append(notes, text)
			}
		}
		if _, err := fmt.Fprintf(w, "%-22s %-11s %-32s %-10s  %s\n", id.Name, id.Role, keys.Place(id), id.NotAfter.Format(time.DateOnly),
			strings.Join(notes, ", ")); err != nil {
			return err
		}
	}
	return nil
}

func newKeysVerify() *cobra.Command {
	return &cobra.Command{
		Use: "verify [DIRECTORY…]", Short: "Check identities that were carried to here, or the directory in which they are made",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) == 0 {
				s, err := keys.Open(texts(cmd)("dir"), texts(cmd)("root-key"))
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, s.Close()) }()
				if err := s.Verify(); err != nil {
					return err
				}
				return say(cmd, "%s: the authorities and the trust file are right, with %d identities\n", texts(cmd)("dir"), len(s.Identities()))
			}
			for _, dir := range args {
				id, err := keys.Load(dir, "")
				if err == nil {
					err = id.Valid(time.Now())
				}
				if err != nil {
					return fmt.Errorf("%s: %w", dir, err)
				}
				if err := say(cmd, "%s: %s, %s of %s, good until %s\n", dir, id.Name, id.Role, keys.Place(id.Identity), id.NotAfter.Format(time.DateOnly)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func oneName(verb string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%s: give one name, as weir keys list shows it", verb)
		}
		return nil
	}
}

// texts reads flags that are there.
func texts(cmd *cobra.Command) func(string) string {
	return func(name string) string {
		s, _ := cmd.Flags().GetString(name)
		return s
	}
}

func say(cmd *cobra.Command, format string, args ...any) error {
	_, err := fmt.Fprintf(cmd.OutOrStdout(), format, args...)
	return err
}
