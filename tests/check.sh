#!/bin/sh
# check.sh [--no-install] - install what is missing, build, run the tests
set -eu
cd "$(dirname "$0")/.."
sh pipelines/install.sh "$@"
make -s -j"$(nproc)"
exec make -s check
