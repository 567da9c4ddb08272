#!/usr/bin/env bats
# The CUDA operations on the CPU (tests/cudasim/README.md): each against its plain twin, in two orders and two seeds with the same bits, and
# address-sanitized.
load lib

same_bits() {
	run sh "$ROOT/tests/cudasim/run.sh" "$BUILD" quick "$@"
	assert_success
}

@test "cudasim: every planted bug is noticed, and its right twin passes" {
	run sh "$ROOT/tests/cudasim/bugs.sh" "$BUILD" quick
	assert_success
	refute_output
}

@test "cudasim: barriers, warps, copies, streams and products do what CUDA says" {
	same_bits sim
}

@test "cuda: add" {
	same_bits add
}
