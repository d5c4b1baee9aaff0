package main

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/pquerna/otp/totp"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/weir-sensor/weir/pkg/web/signin"
)

func newWebUser() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Say who may sign in to the page",
		Long: `Say who may sign in to the page: a file of names, roles, hashes of passwords (argon2id) and secrets of second factors
(TOTP), which web.users names. viewer sees all, operator commands, too. SIGHUP makes weir web read the file again; whoever was
changed is signed out.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.New("web user: give one of add, password, totp, remove, list")
		},
	}
	cmd.PersistentFlags().String("file", "/etc/weir/users.yaml", "the file of users")
	add := userVerb("add", "Add somebody; asks for the password, and prints the second factor's secret once", addUser)
	add.Flags().String("role", "viewer", "viewer or operator")
	add.Flags().Bool("no-totp", false, "without a second factor: web.second-factor must be optional then")
	cmd.AddCommand(add,
		userVerb("password", "Change somebody's password", func(_ *cobra.Command, u *signin.User) (err error) {
			u.Password, err = askPassword()
			return err
		}),
		userVerb("totp", "Give somebody another second factor, as after a lost phone", func(cmd *cobra.Command, u *signin.User) error {
			return newTOTP(cmd, u)
		}),
		userVerb("remove", "Let somebody in no longer", nil),
		&cobra.Command{Use: "list", Short: "List who may sign in", Args: cobra.NoArgs, RunE: listUsers},
	)
	return cmd
}

// userVerb changes one user of the file; a nil change removes it.
func userVerb(verb, short string, change func(*cobra.Command, *signin.User) error) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("web user %s: give one name", verb)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			path, _ := cmd.Flags().GetString("file")
			users, err := signin.ReadUsers(path)
			if err != nil && !(verb == "add" && errors.Is(err, fs.ErrNotExist)) {
				return err
			}
			i := slices.IndexFunc(users, func(u signin.User) bool { return u.Name == args[0] })
			switch {
			case verb == "add" && i >= 0:
				return fmt.Errorf("%s is there already: weir web user password, totp or remove", args[0])
			case verb == "add":
				i, users = len(users), append(users, signin.User{Name: args[0]})
			case i < 0:
				return fmt.Errorf("there is no user %.64q in %s", args[0], path)
			}
			if change == nil {
				users = slices.Delete(users, i, i+1)
			} else if err := change(cmd, &users[i]); err != nil {
				return err
			}
			return signin.WriteUsers(path, users)
		},
	}
}

func addUser(cmd *cobra.Command, u *signin.User) (err error) {
	role, _ := cmd.Flags().GetString("role")
	if u.Role = signin.Role(role); u.Role != signin.Viewer && u.Role != signin.Operator {
		return fmt.Errorf("--role %.32q: give %s or %s", role, signin.Viewer, signin.Operator)
	}
	if u.Password, err = askPassword(); err != nil {
		return err
	}
	if without, _ := cmd.Flags().GetBool("no-totp"); without {
		return nil
	}
	return newTOTP(cmd, u)
}

func newTOTP(cmd *cobra.Command, u *signin.User) error {
	key, err := totp.Generate(totp.GenerateOpts{Issuer: "weir", AccountName: u.Name})
	if err != nil {
		return err
	}
	u.TOTP = key.Secret()
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "for the authenticator, shown this once: %s\n%s\n", key.Secret(), key.URL())
	return err
}

// askPassword asks twice on a terminal, and reads one line elsewhere.
func askPassword() (string, error) {
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		line, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err != nil && line == "" {
			return "", errors.New("no password on standard input")
		}
		return signin.Hash(strings.TrimRight(line, "\r\n"), rand.Reader)
	}
	var typed [2]string
	for i, prompt := range []string{"password: ", "again: "} {
		fmt.Fprint(os.Stderr, prompt)
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(os.Stderr)
		if err != nil {
			return "", err
		}
		typed[i] = string(b)
	}
	if typed[0] != typed[1] {
		return "", errors.New("the two differ: nothing was changed")
	}
	return signin.Hash(typed[0], rand.Reader)
}

func listUsers(cmd *cobra.Command, _ []string) error {
	path, _ := cmd.Flags().GetString("file")
	users, err := signin.ReadUsers(path)
	if err != nil {
		return err
	}
	for _, u := range users {
		second := "no second factor"
		if u.TOTP != "" {
			second = "TOTP"
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%-20s %-10s %s\n", u.Name, u.Role, second); err != nil {
			return err
		}
	}
	return nil
}
