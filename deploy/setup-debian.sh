#!/usr/bin/env bash
# Installs the Debian 12 packages that pith is built and tested with. Root
# installs what is missing; anyone else is told the line to run, and the script
# fails. With nothing missing it does nothing.
#
#   deploy/setup-debian.sh          build and test
#   deploy/setup-debian.sh --lint   also what `make format`, `make tidy` and fuzzing need
set -euo pipefail

packages=(
  # Tools.
  build-essential cmake ninja-build ccache pkg-config git ca-certificates
  protobuf-compiler protobuf-compiler-grpc
  python3 python3-pip python3-venv
  # Libraries.
  libabsl-dev libcli11-dev libcurl4-openssl-dev libeigen3-dev
  libgoogle-glog-dev libgrpc++-dev libhwy-dev libicu-dev libprotobuf-dev
  librocksdb-dev libssl-dev libsystemd-dev libzstd-dev nlohmann-json3-dev
  zlib1g-dev
  # The models' workers. LibTorch loads whichever BLAS is installed, and the
  # reference BLAS that it falls back to is many times slower.
  libdnnl-dev libtorch-dev libopenblas0-openmp
  # Tests and benchmarks. FAISS is what other projects search with.
  libbenchmark-dev libcpp-httplib-dev libfaiss-dev libgmock-dev libgtest-dev
  zstd
)
lint_packages=(clang-14 clang-format-14 clang-tidy-14 libomp-14-dev shellcheck)

case "$*" in
  "") ;;
  --lint) packages+=("${lint_packages[@]}") ;;
  *)
    echo "usage: $0 [--lint]" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null; then
  echo "setup: this is no Debian; install the equivalents of:" \
    "${packages[*]}" >&2
  exit 1
fi

# dpkg-query fails if it does not know one of the packages; it lists the others
# all the same.
installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' \
  "${packages[@]}" 2>/dev/null || true)
missing=()
for package in "${packages[@]}"; do
  if ! grep -qxF "installed $package" <<<"$installed"; then
    missing+=("$package")
  fi
done

if ((${#missing[@]} == 0)); then
  echo "setup: all ${#packages[@]} Debian packages are installed"
  exit 0
fi
if ((EUID != 0)); then
  {
    echo "setup: ${#missing[@]} Debian packages are missing; run"
    echo "sudo apt-get update && sudo apt-get install -y" \
      "--no-install-recommends ${missing[*]}"
  } >&2
  exit 1
fi
echo "setup: installing ${#missing[@]} Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}"
