#!/usr/bin/env bash
# engine.sh COMMAND...: runs COMMAND with a Docker engine that has node:24-bookworm-slim.
#
# An engine that answers is used as it is; the tests then need to be root beside it, on Linux, with containers on this
# machine's own network. Where none answers, this needs root on a Debian with its package mirror and npm: it unpacks an engine from Debian packages into a cache (nothing but runc, iptables and mmdebstrap is installed),
# starts it with a socket and a data folder of its own, and stops it in the end. No image registry is asked: what stands
# in for the base image is made of Debian's packages and of Node.js from npm.
#
# COMMAND finds DOCKER_HOST and DOCKER_CONFIG, in BUILD_NETWORK what `docker build --network` needs, and in
# ENGINE_PID_FILE the process of an engine that tests may restart; it is not set for an engine that was there before.
# CONTAINER_CACHE (/var/tmp/mission-control-container) holds engine, base image and layers; 1.5 GB.
set -euo pipefail

. "$(dirname "$0")/debian.sh"
base=node:24-bookworm-slim
suite=bookworm
engine_suite=trixie # its engine runs on bookworm, whose own is too old for health checks at the start

if [ $# -eq 0 ]; then give_up "usage: engine.sh COMMAND..."; fi
if docker info >/dev/null 2>&1; then
  export BUILD_NETWORK=default
  exec "$@"
fi

[ "$(uname -s)" = Linux ] || give_up "no Docker engine answers: start one"
[ "$(id -u)" = 0 ] || give_up "no Docker engine answers, and only root can start one: start one, or be root"
command -v apt-get >/dev/null || give_up "no Docker engine answers, and there is no apt-get to get one with: start one"
lock_cache 9
mkdir -p "$cache"/{bin,config/cli-plugins,data,exec}
install_missing runc iptables mmdebstrap

know_mirrors
mirror=$(mirror_of "$suite")
security=$(mirror_of "$suite-security")

unpack_engine() {
  local to
  to=$(mktemp -d "$cache/unpacked.XXXXXX")
  unpack_packages "$engine_suite" "$to" docker.io docker-cli containerd docker-compose docker-buildx tini
  cp "$to"/usr/libexec/docker/cli-plugins/* "$cache/config/cli-plugins/"
  cp "$to"/usr/bin/{containerd,containerd-shim-runc-v2,docker} "$to"/usr/sbin/docker-proxy "$cache/bin/"
  cp "$to/usr/bin/tini-static" "$cache/bin/docker-init"
  cp "$to/usr/sbin/dockerd" "$cache/bin/dockerd.new"
  rm -rf "$to"
  mv "$cache/bin/dockerd.new" "$cache/bin/dockerd" # last: it says that all is there
}
[ -x "$cache/bin/dockerd" ] || unpack_engine

command -v docker >/dev/null || PATH=$PATH:$cache/bin
export DOCKER_HOST=unix://$cache/docker.sock DOCKER_CONFIG=$cache/config BUILD_NETWORK=host
say "starting the engine; it logs to $cache/dockerd.log"
# A test that ends the engine with SIGTERM gets it back.
keep_engine() {
  while
    rm -f "$cache/dockerd.pid"
    PATH=$cache/bin:$PATH setsid --wait dockerd --host "$DOCKER_HOST" --data-root "$cache/data" \
      --exec-root "$cache/exec" --pidfile "$ENGINE_PID_FILE"
  do
    [ ! -e "$cache/stopping" ] || break
  done
}
export ENGINE_PID_FILE=$cache/dockerd.pid
rm -f "$cache/stopping"
keep_engine >"$cache/dockerd.log" 2>&1 </dev/null 9>&- &
engine=$!
stop_engine() {
  touch "$cache/stopping"
  kill "$(cat "$ENGINE_PID_FILE")" 2>/dev/null || true
  wait "$engine" 2>/dev/null || true
}
trap stop_engine EXIT
trap 'exit 130' INT TERM HUP
until docker info >/dev/null 2>&1; do
  kill -0 "$engine" 2>/dev/null || {
    tail -n 20 "$cache/dockerd.log" >&2
    give_up "the Docker engine does not start here"
  }
  sleep 0.3
done

make_base() {
  local work files system version
  work=$(mktemp -d "$cache/base.XXXXXX")
  files=$work/files
  say "making $base: Node.js 24 and npm 11 from npm"
  quietly "$cache/npm.log" npm install --prefix "$work/npm" --no-save --ignore-scripts --no-audit --no-fund \
    "node-linux-$(node -p process.arch)@24" npm@11
  mkdir -p "$files"/usr/local/{bin,etc,lib/node_modules}
  cp "$work"/npm/node_modules/node-linux-*/bin/node "$files/usr/local/bin/node"
  cp -r "$work/npm/node_modules/npm" "$files/usr/local/lib/node_modules/npm"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$files/usr/local/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$files/usr/local/bin/npx"
  printf '%s\n' '#!/bin/sh' 'command -v "$1" >/dev/null || set -- node "$@"' 'exec "$@"' \
    >"$files/usr/local/bin/docker-entrypoint.sh"
  chmod 755 "$files"/usr/local/bin/{node,docker-entrypoint.sh} "$files"/usr/local/lib/node_modules/npm/bin/*-cli.js
  # Authorities that this machine trusts beyond Debian's, so that npm reaches its registry from in there as from here.
  if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
    cat /usr/local/share/ca-certificates/*.crt >"$files/usr/local/etc/authorities.crt"
    echo "cafile=/usr/local/etc/authorities.crt" >"$files/usr/local/etc/npmrc"
  fi
  # How this machine's apt reaches its mirrors, for packages that an image installs.
  mkdir -p "$files/etc/apt/apt.conf.d"
  apt-config dump --no-empty --format '%F "%v";%n' Acquire::http Acquire::https Acquire::Check-Valid-Until \
    Acquire::Check-Date >"$files/etc/apt/apt.conf.d/90machine"
  chown -R 0:0 "$files"
  version=$("$files/usr/local/bin/node" -p process.versions.node)
  say "making $base: Debian $suite"
  system=$work/system.tar
  local sources=("deb $mirror $suite main")
  [ -z "$security" ] || sources+=("deb $security $suite-security main")
  quietly "$cache/mmdebstrap.log" mmdebstrap --mode=root --variant=essential --include=apt,libstdc++6,tzdata \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="cp -a '$files/.' \"\$1/\"" \
    --customize-hook='chroot "$1" useradd --uid 1000 --user-group --create-home node' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/etc/resolv.conf "$1"/etc/hostname' \
    "$suite" "$system" "${sources[@]}"
  docker import --change "ENV NODE_VERSION=$version" --change 'ENTRYPOINT ["docker-entrypoint.sh"]' \
    --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' --change 'CMD ["node"]' \
    "$system" "$base" >/dev/null
  rm -rf "$work"
}
docker image inspect "$base" >/dev/null 2>&1 || make_base

"$@" 9>&-
