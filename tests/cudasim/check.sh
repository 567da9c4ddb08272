#!/bin/sh
# check.sh BUILD - `make check-cuda`: what `make check` does of the CUDA operations, at length; for before a release, half an hour on two cores
#
# Every program in all orders and builds, ThreadSanitizer with unordered blocks among them; the engine that trains and the one that serves (tests/unit), once in each
# build; the planted bugs; mutants. Where NVIDIA's headers are (CUDA=/usr/local/cuda), the programs are built with them too: the same bytes must come of it; and
# NCCL's header and library are looked into. Prints a line a step as it ends, with its seconds, and how many failed.
cd "$(dirname "$0")/../.." || exit 1
build=$1
real=${CUDA:-/usr/local/cuda}/include
began=$(date +%s)
steps=0
failed=0

step() {	# WHAT CMD...
	what=$1
	from=$(date +%s)
	steps=$((steps + 1))
	shift
	if out=$("$@" 2>&1); then
		echo "ok: $what ($(($(date +%s) - from)) s)${out:+: $(echo "$out" | tail -n 1)}"
	else
		echo "FAILED: $what"
		echo "$out"
		failed=$((failed + 1))
	fi
}

programs=$(ls tests/cudasim/test/*.c tests/cudasim/test/*.cu | sed 's/.*\///; s/\..*//')
for p in $programs; do
	step "$p" sh tests/cudasim/run.sh "$build" full "$p"
done
step "training" sh tests/cudasim/run.sh "$build" once cudatrain
step "serving" sh tests/cudasim/run.sh "$build" once cudaserve
step "planted bugs" sh tests/cudasim/bugs.sh "$build" full
if [ -f "$real/cuda_runtime_api.h" ]; then
	step "building with $real" make -s B="$build/nvidia" CUDA_HEADERS="$real" cudasim-plain cudasim-asan
	for p in $programs; do
		step "$p with NVIDIA's headers" sh tests/cudasim/run.sh "$build/nvidia" quick "$p"
	done
else
	echo "left out: NVIDIA's headers are not in $real"
fi
nccl=${NCCL:-$(ldconfig -p | sed -n 's/.*libnccl.so.2 .*=> //p' | head -n 1)}
if [ -f "$real/nccl.h" ] && [ -n "$nccl" ]; then
	step "what is declared of NCCL" sh tests/cudasim/nccl.sh "$real/nccl.h" "$nccl"
else
	echo "left out: there is no $real/nccl.h, or no libnccl.so.2 (NCCL=path)"
fi
steps=$((steps + 1))
sh tests/cudasim/mutants.sh "$build" || failed=$((failed + 1))
echo "check-cuda: $steps steps, $failed failed, $((($(date +%s) - began + 59) / 60)) minutes"
[ "$failed" = 0 ]
