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
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/weir-sensor/weir/pkg/web/signin"
)

func newWebUser() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Say who may sign in to the page",
		Long: `Say who may sign in to the page: a file of names, roles, hashes of passwords (argon2id) and second factors (secrets of
TOTP, public keys of passkeys), which web.users names. viewer sees all, operator commands, too. SIGHUP makes weir web read the
file again; whoever was changed is signed out. Passkeys are added at the page, by whoever is to use them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.New("web user: give one of add, password, totp, passkeys, remove, list")
		},
	}
	cmd.PersistentFlags().String("file", "/etc/weir/users.yaml", "the file of users")
	add := userVerb("add", "Add somebody; asks for the password, and prints the second factor's secret once", addUser)
	add.Flags().String("role", "viewer", "viewer or operator")
	add.Flags().Bool("no-totp", false, "without a second factor: web.second-factor must be optional then")
	passkeys := userVerb("passkeys", "List somebody's passkeys, or remove one that is lost", passkeysOf)
	passkeys.Flags().String("remove", "", "name of the passkey to remove")
	cmd.AddCommand(add, passkeys,
		userVerb("password", "Change somebody's password", changePassword),
		userVerb("totp", "Give somebody another second factor, as after a lost phone", newTOTP),
		userVerb("remove", "Let somebody in no longer", func(*cobra.Command, signin.User) (userChange, error) {
			return userChange{remove: true}, nil
		}),
		&cobra.Command{Use: "list", Short: "List who may sign in", Args: cobra.NoArgs, RunE: listUsers},
	)
	return cmd
}

// userChange is what a verb does to a user, once everything has been asked.
type userChange struct {
	to     func(*signin.User) error // nil for nothing
	remove bool
	said   string // once it is done
}

// userVerb changes one user of the file. ask is given the user as it is now; the file isn't held while people think.
func userVerb(verb, short string, ask func(*cobra.Command, signin.User) (userChange, error)) *cobra.Command {
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
			find := func(users []signin.User) (int, error) {
				i := slices.IndexFunc(users, func(u signin.User) bool { return u.Name == args[0] })
				switch {
				case verb == "add" && i >= 0:
					return i, fmt.Errorf("%s is there already: weir web user password, totp or remove", args[0])
				case verb != "add" && i < 0:
					return i, fmt.Errorf("there is no user %.64q in %s", args[0], path)
				}
				return i, nil
			}
			users, err := signin.ReadUsers(path)
			if err != nil && !(verb == "add" && errors.Is(err, fs.ErrNotExist)) {
				return err
			}
			i, err := find(users)
			if err != nil {
				return err
			}
			u := signin.User{Name: args[0]}
			if i >= 0 {
				u = users[i]
			}
			change, err := ask(cmd, u)
			if err != nil {
				return err
			}
			if change.to != nil || change.remove {
				_, err = signin.ChangeUsers(path, func(users []signin.User) ([]signin.User, error) {
					i, err := find(users)
					switch {
					case err != nil:
						return nil, err
					case change.remove:
						return slices.Delete(users, i, i+1), nil
					case i < 0:
						i, users = len(users), append(users, signin.User{Name: args[0]})
					}
					return users, change.to(&users[i])
				})
			}
			if err == nil {
				_, err = fmt.Fprint(cmd.OutOrStdout(), change.said)
			}
			return err
		},
	}
}

func addUser(cmd *cobra.Command, u signin.User) (userChange, error) {
	role, _ := cmd.Flags().GetString("role")
	if u.Role = signin.Role(role); u.Role != signin.Viewer && u.Role != signin.Operator {
		return userChange{}, fmt.Errorf("--role %.32q: give %s or %s", role, signin.Viewer, signin.Operator)
	}
	password, err := askPassword()
	if err != nil {
		return userChange{}, err
	}
	c := userChange{}
	if without, _ := cmd.Flags().GetBool("no-totp"); !without {
		if c, err = newTOTP(cmd, u); err != nil {
			return userChange{}, err
		}
	}
	totp := c.to
	c.to = func(new *signin.User) error {
		new.Role, new.Password = u.Role, password
		if totp == nil {
			return nil
		}
		return totp(new)
	}
	return c, nil
}

func changePassword(*cobra.Command, signin.User) (userChange, error) {
	password, err := askPassword()
	return userChange{to: func(u *signin.User) error {
		u.Password = password
		return nil
	}}, err
}

func newTOTP(_ *cobra.Command, u signin.User) (userChange, error) {
	key, err := totp.Generate(totp.GenerateOpts{Issuer: "weir", AccountName: u.Name})
	if err != nil {
		return userChange{}, err
	}
	return userChange{
		to: func(u *signin.User) error {
			u.TOTP = key.Secret()
			return nil
		},
		said: fmt.Sprintf("for the authenticator, shown this once: %s\n%s\n", key.Secret(), key.URL()),
	}, nil
}

func passkeysOf(cmd *cobra.Command, u signin.User) (userChange, error) {
	if lost, _ := cmd.Flags().GetString("remove"); lost != "" {
		return userChange{to: func(u *signin.User) error {
			had := len(u.Passkeys)
			u.Passkeys = slices.DeleteFunc(u.Passkeys, func(p signin.Passkey) bool { return p.Name == lost })
			if len(u.Passkeys) == had {
				return fmt.Errorf("%s has no passkey %.64q", u.Name, lost)
			}
			return nil
		}}, nil
	}
	said := ""
	for _, p := range u.Passkeys {
		where := "on one device"
		if p.Synced {
			where = "synced by its owner's devices"
		}
		said += fmt.Sprintf("%-40s %s, %s\n", p.Name, p.Added.Format(time.DateOnly), where)
	}
	return userChange{said: said}, nil
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
		var second []string
		if u.TOTP != "" {
			second = append(second, "TOTP")
		}
		if n := len(u.Passkeys); n > 0 {
			second = append(second, fmt.Sprintf("passkeys: %d", n))
		}
		if len(second) == 0 {
			second = []string{"no second factor"}
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%-20s %-10s %s\n", u.Name, u.Role, strings.Join(second, ", ")); err != nil {
			return err
		}
	}
	return nil
}
