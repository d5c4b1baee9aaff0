package doctor

import "strings"

// sessions are where PAM says what is done for a login by SSH: of sshd, of Debian and of Red Hat.
var sessions = []string{"etc/pam.d/sshd", "etc/pam.d/common-session", "etc/pam.d/password-auth", "etc/pam.d/system-auth"}

// Logins tells whether a controller that may look into no process can find out who is logged in by SSH.
func (m Machine) Logins(r *Report) {
	if _, err := m.read("etc/ssh/sshd_config"); err != nil {
		return // there is no sshd
	}
	for _, file := range sessions {
		text, _ := m.read(file)
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") && strings.Contains(line, "pam_systemd.so") {
				r.ok("logins", "systemd-logind knows who is logged in by SSH")
				return
			}
		}
	}
	r.add("logins", Warning, "systemd-logind isn't told who logs in by SSH",
		"a controller that isn't root, like the packages', exempts only those who have a terminal", "apt-get install libpam-systemd")
}
