package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-sensor/weir/pkg/audit"
)

// auditLog opens a component's. Without it everything goes on.
func (s setup) auditLog(component string) (l *audit.Log, done func()) {
	c := s.cfg.Audit
	if c.Dir == "" {
		return nil, func() {}
	}
	log := s.log.With("component", component)
	l, err := audit.Open(audit.Options{
		Path: filepath.Join(c.Dir, "audit-"+component+".log"), Host: hostname(), Component: component, Bytes: int64(c.MB) << 20, Files: c.Files,
	}, time.Now(), log)
	if err != nil {
		log.Error("nothing is noted in an audit log", "err", err)
		return nil, func() {}
	}
	return l, func() {
		if err := l.Close(); err != nil {
			log.Warn("close the audit log", "err", err)
		}
	}
}

func newAudit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Check and export the logs of what was commanded",
		Long: `Check and export the audit logs: who commanded what, whose signature it bore, what came of it, what was refused and why, and who
signed in to the page. Each line bears the hash of the line before it. Whoever is root can write a whole log anew; compare the head
that verify prints with one that was noted elsewhere, like the one in the system's log at each start.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return errors.New("audit: give verify or export") },
	}
	cmd.PersistentFlags().String("audit-dir", "/var/lib/weir", "directory of the audit logs, if no file is named")
	export := &cobra.Command{
		Use: "export [FILE…]", Short: "Print audit logs as JSON lines or CSV", Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			logs, err := auditLogs(cmd, args)
			if err != nil {
				return err
			}
			return exportAudit(cmd, logs)
		},
	}
	export.Flags().String("since", "", "first moment, like 2026-11-23T12:00:00Z")
	export.Flags().String("until", "", "last moment")
	export.Flags().String("kind", "", "of these only: command, refused, change, sent, signed_in, …")
	export.Flags().String("format", "json", "json or csv")
	cmd.AddCommand(export, &cobra.Command{
		Use: "verify [FILE…]", Short: "Find a changed, missing or reordered line", Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			logs, err := auditLogs(cmd, args)
			if err != nil {
				return err
			}
			for _, path := range logs {
				all, err := audit.Verify(path)
				for _, c := range all {
					if err := say(cmd, "%s: %d lines, number %d to %d\n", c.File, c.Lines, c.First, c.Last); err != nil {
						return err
					}
				}
				if err != nil {
					return err
				}
			}
			return say(cmd, "%d %s, every line is as it was written\n", len(logs), map[bool]string{true: "log", false: "logs"}[len(logs) == 1])
		},
	})
	return cmd
}

// auditLogs are the named ones, or all of the directory.
func auditLogs(cmd *cobra.Command, args []string) ([]string, error) {
	if len(args) > 0 {
		return args, nil
	}
	dir := texts(cmd)("audit-dir")
	all, err := filepath.Glob(filepath.Join(dir, "audit-*.log"))
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("no audit log is in %s: name another directory by --audit-dir, or the file", dir)
	}
	return all, err
}

func exportAudit(cmd *cobra.Command, logs []string) error {
	flag := texts(cmd)
	var bounds [2]time.Time
	for i, name := range []string{"since", "until"} {
		if text := flag(name); text != "" {
			var err error
			if bounds[i], err = time.Parse(time.RFC3339, text); err != nil {
				return fmt.Errorf("--%s %.40q: write it as 2026-11-23T12:00:00Z", name, text)
			}
		}
	}
	put, flush, err := auditWriter(cmd.OutOrStdout(), flag("format"))
	if err != nil {
		return err
	}
	for _, path := range logs {
		err := audit.Each(path, func(r audit.Record) error {
			if r.Time.Before(bounds[0]) || !bounds[1].IsZero() && r.Time.After(bounds[1]) || flag("kind") != "" && r.Kind != flag("kind") {
				return nil
			}
			return put(r)
		})
		if err != nil {
			return err
		}
	}
	return flush()
}

func auditWriter(w io.Writer, format string) (put func(audit.Record) error, flush func() error, err error) {
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return func(r audit.Record) error { return e.Encode(r) }, func() error { return nil }, nil
	case "csv":
		c := csv.NewWriter(w)
		head := "seq,time,host,component,kind,command,source,server,id,origin,signed_by,user,role,from,result,detail,count,servers"
		if err := c.Write(strings.Split(head, ",")); err != nil {
			return nil, nil, err
		}
		return func(r audit.Record) error {
			row := []string{
				strconv.FormatUint(r.Seq, 10), r.Time.Format(time.RFC3339Nano), r.Host, r.Component, r.Kind, r.Command, r.Source, r.Server, r.ID, r.Origin,
				r.SignedBy, r.User, r.Role, r.From, r.Result, r.Detail, strconv.Itoa(r.Count), strconv.Itoa(r.Servers),
			}
			for i, cell := range row {
				if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
					row[i] = "'" + cell // or a spreadsheet would compute it
				}
			}
			return c.Write(row)
		}, func() error { c.Flush(); return c.Error() }, nil
	}
	return nil, nil, fmt.Errorf("--format %.20q: give json or csv", format)
}
