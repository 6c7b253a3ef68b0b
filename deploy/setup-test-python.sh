#!/usr/bin/env bash
# Makes a virtual environment in ${XDG_CACHE_HOME:-~/.cache}/pith/test-python
# with the packages that the tests compare pith's tokenizer with.
set -euo pipefail

# What is imported needs none of their dependencies.
requirements=(numpy==2.4.6 tokenizers==0.23.3 zstandard==0.25.0)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/pith/test-python
stamp=$venv/pith-requirements

if [[ -x $venv/bin/python && -e $stamp ]] &&
  [[ $(<"$stamp") == "${requirements[*]}" ]]; then
  exit 0
fi
echo "setup: ${requirements[*]} into $venv"
python3 -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  --no-deps --only-binary=:all: "${requirements[@]}"
echo "${requirements[*]}" >"$stamp"
