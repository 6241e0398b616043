#!/bin/sh
# Applies the upgrade or rollback that the runtime has left: pulls the named images and writes their tags into
# VERSIONS_FILE. After any error the previous versions start again, and the runtime reports that the upgrade failed.
# Each request is tried once.
#
#   apply-upgrade.sh UPGRADE_FILE VERSIONS_FILE [COMPOSE_FILE]
#
# VERSIONS_FILE is an environment file with the lines RUNTIME_IMAGE, RUNTIME_TAG, OPENCLAW_IMAGE and OPENCLAW_TAG. It is
# replaced as a whole, and keeps its other lines. The file `images` in the same folder lists the images that may start,
# one per line, as name:tag@sha256:digest. If VERSIONS_FILE has a line COSIGN_KEY, the image must also have a signature
# of that public key.
#
# A unit that starts the containers runs this before each start. With COMPOSE_FILE, Docker starts them: the script waits
# until the runtime's turns have ended, and starts the project with the new images, or with the previous ones if the new
# runtime does not start. VERSIONS_FILE is then its environment file. Needs docker and jq, and cosign for signatures.
set -eu

say() { echo "upgrade: $*" >&2; }

if [ "$#" -ne 2 ] && [ "$#" -ne 3 ]; then
  echo "usage: apply-upgrade.sh UPGRADE_FILE VERSIONS_FILE [COMPOSE_FILE]" >&2
  exit 64
fi
upgrade_file=$1
versions_file=$2
compose_file=${3:-}
images_file=$(dirname "$versions_file")/images
tried_file=$versions_file.tried

[ -f "$upgrade_file" ] || exit 0
if [ ! -f "$versions_file" ]; then
  say "$versions_file is missing: it names the images that start"
  exit 78
fi
requested_at=$(stat -c %Y "$upgrade_file")

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

# digest_of IMAGE:TAG: the digest of that image in the list.
digest_of() {
  [ -f "$images_file" ] || return 1
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
      "$1@sha256:"*)
        echo "${line#"$1@"}"
        return
        ;;
    esac
  done < "$images_file"
  return 1
}

# pull PART VERSION: pulls the image of that part and version by its digest, and prints its tag with the digest.
pull() {
  if ! is_tag "$2"; then
    say "$id names no version that is an image's tag for the $1: nothing is changed"
    return 1
  fi
  image=$(setting "$(echo "$1" | tr '[:lower:]' '[:upper:]')_IMAGE")
  if [ -z "$image" ]; then
    say "$versions_file does not name the image of the $1: nothing is changed"
    return 1
  fi
  if ! digest=$(digest_of "$image:$2"); then
    say "$images_file has no digest of $image:$2: nothing is changed"
    return 1
  fi
  key=$(setting COSIGN_KEY)
  if [ -n "$key" ] && ! cosign verify --private-infrastructure --key "$key" "$image@$digest" > /dev/null; then
    say "$image:$2@$digest has no signature of $key: nothing is changed"
    return 1
  fi
  say "pulling $image:$2@$digest"
  if ! docker pull --quiet "$image:$2@$digest" >&2; then
    say "$image:$2@$digest cannot be pulled: nothing is changed"
    return 1
  fi
  echo "$2@$digest"
}

# Both are pulled before either is used, because no one asked for half of an upgrade.
runtime_tag='' openclaw_tag=''
[ -z "$runtime" ] || runtime_tag=$(pull runtime "$runtime") || exit 0
[ -z "$openclaw" ] || openclaw_tag=$(pull openclaw "$openclaw") || exit 0

draft=$versions_file.tmp
cp -p "$versions_file" "$draft"
set_tag() {
  [ -n "$2" ] || return 0
  grep -v "^$1=" "$draft" > "$draft.next" || true
  printf '%s=%s\n' "$1" "$2" >> "$draft.next"
  cat "$draft.next" > "$draft"
  rm -f "$draft.next"
}
set_tag RUNTIME_TAG "$runtime_tag"
set_tag OPENCLAW_TAG "$openclaw_tag"
cp -p "$versions_file" "$versions_file.before"
mv "$draft" "$versions_file"
say "$id: starting runtime $(setting RUNTIME_TAG), openclaw $(setting OPENCLAW_TAG)"
[ -n "$compose_file" ] || exit 0

compose() { docker compose --env-file "$versions_file" --file "$compose_file" "$@"; }
container=$(compose ps --all --quiet runtime)
# The runtime exits when its turns have ended. Docker then starts the previous image, which the new one replaces.
has_exited() {
  started=$(docker inspect --format '{{.State.StartedAt}}' "$container")
  [ "$(date -d "$started" +%s)" -ge "$requested_at" ]
}
until has_exited; do
  if [ "$(docker inspect --format '{{.State.Running}}' "$container")" != true ]; then
    say "the runtime was stopped: its next start uses the new images"
    exit 0
  fi
  sleep 1
done
# Before the gateway, so that the runtime ends its turns first.
compose stop runtime
if ! compose up --detach --no-build --no-deps --wait --wait-timeout 120 runtime; then
  say "$id: runtime $(setting RUNTIME_TAG) does not start: starting the previous images"
  cp -p "$versions_file.before" "$draft"
  mv "$draft" "$versions_file"
fi
compose up --detach --no-build
