#!/bin/sh
# Runs before each start of the account's containers. If the runtime has left an upgrade or rollback, it pulls the named
# images, and these start. After any error the previous versions start again, and the runtime reports that the upgrade
# failed. Each request is tried once.
#
#   apply-upgrade.sh UPGRADE_FILE VERSIONS_FILE
#
# VERSIONS_FILE is an environment file with the lines RUNTIME_IMAGE, RUNTIME_TAG, OPENCLAW_IMAGE and OPENCLAW_TAG. It is
# replaced as a whole, and keeps its other lines. Needs docker and jq.
set -eu

say() { echo "upgrade: $*" >&2; }

if [ "$#" -ne 2 ]; then
  echo "usage: apply-upgrade.sh UPGRADE_FILE VERSIONS_FILE" >&2
  exit 64
fi
upgrade_file=$1
versions_file=$2
tried_file=$versions_file.tried

[ -f "$upgrade_file" ] || exit 0
if [ ! -f "$versions_file" ]; then
  say "$versions_file is missing: it names the images that start"
  exit 78
fi

# Only jq reads the file, never the shell, because it is data.
field() { jq -er --arg name "$1" '.[$name] // "" | if type == "string" then . else error("no text") end' "$upgrade_file" 2>/dev/null; }
# The last line of that name, as Docker and systemd read it.
setting() { sed -n "s/^$1=//p" "$versions_file" | tail -n 1; }

if ! id=$(field id) || ! runtime=$(field runtimeVersion) || ! openclaw=$(field openclawVersion) || [ -z "$id" ]; then
  say "$upgrade_file cannot be read as an upgrade: nothing is changed"
  exit 0
fi
if [ -f "$tried_file" ] && [ "$(cat "$tried_file")" = "$id" ]; then
  say "$id was tried before: nothing is changed"
  exit 0
fi
# Written first, so that an upgrade that crashes this machine is not tried at each of its starts.
printf '%s\n' "$id" > "$tried_file.tmp"
mv "$tried_file.tmp" "$tried_file"

# The tag of an image, without characters that mean something in a shell, a path or a registry's address.
is_tag() {
  case $1 in
    '' | *[!A-Za-z0-9._-]* | [.-]*) return 1 ;;
  esac
  [ "${#1}" -le 64 ]
}

# pull PART VERSION: pulls the image of that part and version if it is missing.
pull() {
  if ! is_tag "$2"; then
    say "$id names no version that is an image's tag for the $1: nothing is changed"
    exit 0
  fi
  image=$(setting "$(echo "$1" | tr '[:lower:]' '[:upper:]')_IMAGE")
  if [ -z "$image" ]; then
    say "$versions_file does not name the image of the $1: nothing is changed"
    exit 0
  fi
  say "pulling $image:$2"
  if ! docker pull --quiet "$image:$2" >&2; then
    say "$image:$2 cannot be pulled: nothing is changed"
    exit 0
  fi
}

# Both are pulled before either is used, because no one asked for half of an upgrade.
[ -z "$runtime" ] || pull runtime "$runtime"
[ -z "$openclaw" ] || pull openclaw "$openclaw"

draft=$versions_file.tmp
cp -p "$versions_file" "$draft"
set_tag() {
  [ -n "$2" ] || return 0
  grep -v "^$1=" "$draft" > "$draft.next" || true
  printf '%s=%s\n' "$1" "$2" >> "$draft.next"
  cat "$draft.next" > "$draft"
  rm -f "$draft.next"
}
set_tag RUNTIME_TAG "$runtime"
set_tag OPENCLAW_TAG "$openclaw"
cp -p "$versions_file" "$versions_file.before"
mv "$draft" "$versions_file"
say "$id: starting runtime $(setting RUNTIME_TAG), openclaw $(setting OPENCLAW_TAG)"
