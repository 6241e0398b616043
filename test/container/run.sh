#!/usr/bin/env bash
# Builds the images and runs the tests of them: `npm run test:container -- [vitest arguments]`.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "${1:-}" != --with-engine ]; then
  tools=$(test/container/tools.sh)
  npm ci --prefix test/container --ignore-scripts --no-audit --no-fund >/dev/null
  PATH=$PATH:$tools exec test/container/engine.sh test/container/run.sh --with-engine "$@"
fi
shift
build() { # TARGET IMAGE
  printf 'container: building %s\n' "$2" >&2
  docker build --quiet --network "$BUILD_NETWORK" --target "$1" --tag "$2" \
    --build-arg "VERSION=$(node -p 'require("./package.json").version')" . >/dev/null
}
build runtime mission-control-runtime:test
build demo mission-control-demo:test
printf 'container: building mission-control-openclaw\n' >&2
docker build --quiet --network "$BUILD_NETWORK" --tag mission-control-openclaw:2026.9.6 deploy/openclaw >/dev/null
exec npx --no-install vitest run --project container "$@"
