# Programs of Debian packages that this machine does not have, for the scripts that source this file. They are unpacked
# into $cache; only install_missing installs anything.

cache=${CONTAINER_CACHE:-/var/tmp/mission-control-container}

say() { printf 'container: %s\n' "$*" >&2; }
give_up() {
  say "$*"
  exit 1
}
quietly() { # FILE COMMAND...: prints its output only if it fails
  local file=$1
  shift
  "$@" >"$file" 2>&1 || {
    tail -n 30 "$file" >&2
    give_up "this failed: $*"
  }
}

# mirror_of RELEASE: the mirror that this machine's sources name for it.
mirror_of() { apt-get indextargets --format '$(SITE) $(RELEASE)' | awk -v release="$1" '$2 == release { print $1; exit }'; }

# know_mirrors: sees to it that apt knows its mirrors of bookworm.
know_mirrors() {
  [ -n "$(mirror_of bookworm)" ] || quietly "$cache/apt-update.log" apt-get update -q
  [ -n "$(mirror_of bookworm)" ] || give_up "apt's sources name no Debian bookworm"
}

# lock_cache DESCRIPTOR: waits for other runs that use the cache.
lock_cache() {
  mkdir -p "$cache"
  eval "exec $1>\"\$cache/lock\""
  flock -w 1800 "$1" || give_up "another run has held $cache for half an hour"
}

# install_missing PROGRAM...: installs the packages of these names whose programs are missing.
install_missing() {
  local missing=() program
  for program; do command -v "$program" >/dev/null || missing+=("$program"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing Debian's ${missing[*]}"
  quietly "$cache/apt-update.log" apt-get update -q
  DEBIAN_FRONTEND=noninteractive quietly "$cache/apt-install.log" apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# unpack_packages SUITE FOLDER PACKAGE...: downloads these packages of a Debian suite and unpacks them into the folder.
unpack_packages() {
  local suite=$1 to=$2 apt=$cache/apt mirror package
  shift 2
  say "unpacking Debian $suite's $*"
  know_mirrors
  mirror=$(mirror_of bookworm)
  rm -rf "$apt" "$cache/debs" && mkdir -p "$apt"/{lists/partial,archives/partial} "$cache/debs"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/sources.list"
  local with=(-q -o "Dir::State::lists=$apt/lists" -o "Dir::Cache::archives=$apt/archives" -o "Dir::Cache::pkgcache="
    -o "Dir::Cache::srcpkgcache=" -o "Dir::Etc::sourcelist=$apt/sources.list" -o "Dir::Etc::sourceparts=-"
    -o "Dir::Etc::preferencesparts=-" -o "APT::Sandbox::User=root")
  quietly "$cache/apt-update.log" apt-get "${with[@]}" update
  (cd "$cache/debs" && quietly "$cache/apt-download.log" apt-get "${with[@]}" download "$@")
  for package in "$cache"/debs/*.deb; do dpkg -x "$package" "$to"; done
  rm -rf "$apt" "$cache/debs"
}
