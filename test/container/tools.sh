#!/usr/bin/env bash
# Prints a folder with the programs that the tests need besides Docker: kustomize, cosign and docker-registry. Those that
# this machine does not have come from Debian packages in a cache, and jq and openssl are installed; that needs root on a
# Debian.
set -euo pipefail
. "$(dirname "$0")/debian.sh"

suite=trixie # bookworm has no kustomize and no cosign; these programs run on both
tools=$cache/tools
missing=()
for program in kustomize cosign docker-registry; do
  command -v "$program" >/dev/null || [ -x "$tools/$program" ] || missing+=("$program")
done
if [ ${#missing[@]} -gt 0 ] || ! command -v jq >/dev/null || ! command -v openssl >/dev/null; then
  command -v apt-get >/dev/null || give_up "the tests need kustomize, cosign, docker-registry, jq and openssl: install them"
  lock_cache 8
  install_missing jq openssl
fi
if [ ${#missing[@]} -gt 0 ]; then
  to=$(mktemp -d "$cache/unpacked.XXXXXX")
  unpack_packages "$suite" "$to" "${missing[@]}"
  mkdir -p "$tools"
  for program in "${missing[@]}"; do mv "$to/usr/bin/$program" "$tools/"; done
  rm -rf "$to"
fi
echo "$tools"
