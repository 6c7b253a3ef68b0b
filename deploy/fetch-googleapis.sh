#!/usr/bin/env bash
# Fetches google/rpc/{status,error_details}.proto, which the protos of pith
# import and Debian does not package, into
# ${XDG_CACHE_HOME:-~/.cache}/pith/googleapis, where CMake finds them.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/fetch-wheel.sh"

requirement=googleapis-common-protos==1.76.0
sha256=59e13344a9f3651aa201a03e2bee815a3bf43a4baf1f9ff8a9b62a840ce25fac
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pith

if [[ -e $cache/googleapis/google/rpc/error_details.proto ]]; then
  exit 0
fi
echo "fetch: $requirement into $cache/googleapis"
mkdir -p "$cache"
work=$(mktemp -d "$cache/googleapis.XXXXXX")
trap 'rm -rf "$work"' EXIT
unpack_wheel "$requirement" "$sha256" "$work"
mkdir -p "$work/new/google/rpc"
mv "$work"/google/rpc/{status,error_details}.proto "$work/new/google/rpc"
# Whatever is there lacks a file.
rm -rf "$cache/googleapis"
mv -T "$work/new" "$cache/googleapis"
