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

@test "cudasim: barriers, warps, copies and launches do what CUDA says" {
	same_bits sim
}

@test "cuda: add" {
	same_bits add
}

@test "cuda: rmsnorm, of rows and of heads" {
	same_bits rmsnorm
}

@test "cuda: bias" {
	same_bits bias
}

@test "cuda: rope" {
	same_bits rope
}

@test "cuda: attention" {
	same_bits attend
}

@test "cuda: attention backward" {
	same_bits attend_back
}

@test "cuda: attention over pages" {
	same_bits attend_cached
}

@test "cuda: swiglu" {
	same_bits swiglu
}

@test "cuda: embed" {
	same_bits embed
}

@test "cuda: cross entropy" {
	same_bits cross_entropy
}

@test "cuda: norm and clipping" {
	same_bits sumsq
}

@test "cuda: adamw" {
	same_bits adamw
}

@test "cuda: matrix products" {
	same_bits matmul
}

@test "cuda: arena and transfers, a step submitted before the last one is read" {
	same_bits device
}
