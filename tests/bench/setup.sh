#!/bin/sh
# setup.sh [DIR] - install the Python peers of `make bench` and `make bench-infer` from PyPI, into virtual environments DIR/bench-venv-* (default: build, where
# filters.sh and infer.py look for them). One for each that has demands of its own on the others' versions. About 8 GB, most of it torch;
# llama.cpp is compiled (cmake, a C++ compiler, some minutes), which is how it gets the instructions of this CPU.
set -eu
dir=${1:-$(dirname "$0")/../../build}
mkdir -p "$dir"

# venv NAME PACKAGE...
venv() {
	venv=$dir/bench-venv-$1
	shift
	[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
	"$venv/bin/python" -m pip install -q --disable-pip-version-check -U "$@" || echo "setup.sh: not installed: $*" >&2
}

venv client 'openai[aiohttp]' orjson
venv litellm litellm
venv distilabel 'distilabel[openai]' requests pillow beautifulsoup4
venv curator bespokelabs-curator
venv infer torch transformers gguf 'llama-cpp-python[server]'
