# shellcheck shell=sh
# What the scripts share; they source it. It leaves the current folder alone, so that paths among their arguments hold.

root=$(cd "$(dirname "$0")/.." && pwd)
me=scripts/$(basename "$0")

# sudo drops Go's folder from PATH; administrators' commands aren't in everybody's.
PATH=$PATH:/usr/local/go/bin:/usr/sbin:/sbin
HOME=${HOME:-/root} # for Go's caches; services have none
# Git distrusts a folder of another user, as a clone is under sudo; Go asks Git too.
GOFLAGS="${GOFLAGS:-} -buildvcs=false"
GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=$root
export PATH HOME GOFLAGS GIT_CONFIG_COUNT GIT_CONFIG_KEY_0 GIT_CONFIG_VALUE_0

die() {
	printf '%s: %s\n' "$me" "$1" >&2
	exit 1
}

need_root() {
	[ "$(id -u)" -eq 0 ] || die "needs root: sudo $me"
}

# Go before 1.21 can't read go.mod; from 1.21 on it fetches the version that go.mod asks for.
usable_go() {
	command -v go >/dev/null || return
	case $(go version) in
	*" go1."[0-9]" "* | *" go1."[0-9].* | *" go1.1"[0-9]* | *" go1.20"*) return 1 ;;
	esac
}

need_go() {
	command -v go >/dev/null || die "Go is not in PATH nor in /usr/local/go/bin: install it from https://go.dev/dl"
	usable_go || die "$(go version | cut -d' ' -f3) is too old: install Go 1.21 or later from https://go.dev/dl"
}

missing=

# want WHAT PACKAGE... notes packages to install if a command or file isn't there.
want() {
	what=$1
	shift
	if [ -e "$what" ] || command -v "$what" >/dev/null; then
		return
	fi
	missing="$missing $*"
}

# install_wanted installs what was noted. Tests and demo start brokers and web servers of their own: the packages' are not to
# come up on this machine's ports.
install_wanted() (
	[ -n "$missing" ] || exit 0
	echo "$me: installing$missing"
	export DEBIAN_FRONTEND=noninteractive
	policy=/usr/sbin/policy-rc.d
	said=$(mktemp)
	if [ -e $policy ]; then
		policy=
	fi
	trap 'rm -f "$said" $policy' EXIT
	trap 'exit 143' INT TERM HUP
	[ -z "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy; }
	install="apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300" # young machines update themselves
	# shellcheck disable=SC2086 # lists of words
	($install $missing || { apt-get update -qq && $install $missing; }) \
		>"$said" 2>&1 9>&- || { cat "$said" >&2 && die "apt-get install$missing went wrong, see above"; }
	case "$missing " in *" mosquitto "*) systemctl disable -q mosquitto >/dev/null 2>&1 || : ;; esac
	case "$missing " in *" nats-server "*) systemctl disable -q nats-server >/dev/null 2>&1 || : ;; esac
	case "$missing " in *" haproxy "*) systemctl disable -q haproxy >/dev/null 2>&1 || : ;; esac
	case "$missing " in *" nginx-light "*) systemctl disable -q nginx >/dev/null 2>&1 || : ;; esac
	case "$missing " in *" openssh-server "*) systemctl disable -q ssh >/dev/null 2>&1 || : ;; esac
)

want_page() {
	want node nodejs
	want npm npm
}

# One static binary, which runs on any machine with the same kind of processor. Protection must not wait for a page: without the npm
# registry it is left out.
build_weir() {
	"$root/scripts/page" || echo "$me: the web page couldn't be built, see above: weir goes without" >&2
	version=$(git -C "$root" describe --tags --always --dirty 2>/dev/null) || version=unknown
	CGO_ENABLED=0 go build -C "$root" -trimpath -ldflags "-s -w -X main.version=$version" -o .build/weir ./cmd/weir
}
