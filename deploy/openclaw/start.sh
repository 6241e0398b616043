#!/bin/sh
# Waits for the configuration, which the runtime's profile sync writes, then executes the gateway.
set -eu
trap 'exit 0' TERM INT
token=/run/secrets/gateway_token
if [ ! -r "$token" ] || [ ! -s "$token" ]; then
  echo "the gateway's token is missing: mount a file that user $(id -u) can read as $token" >&2
  exit 78
fi
OPENCLAW_GATEWAY_TOKEN=$(cat "$token")
export OPENCLAW_GATEWAY_TOKEN
# The gateway does not start without gateway.mode, which profile sync adds to the provider's settings.
is_complete() { grep -Eqs "[\"']local[\"']|\\\$include" "$OPENCLAW_CONFIG_PATH"; }
is_complete || echo "waiting for gateway.mode in $OPENCLAW_CONFIG_PATH" >&2
until is_complete; do
  sleep 1 &
  wait $!
done
# The runtime is in another container, so the gateway listens on their network, which has no other member.
exec node /gateway/node_modules/openclaw/openclaw.mjs gateway run --bind lan --port 18789
