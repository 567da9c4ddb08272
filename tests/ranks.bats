# ranks.bats - one training run in several processes over MPI: it is the run of one process, and ends as one

load lib

setup() {
	sa_setup
	command -v mpirun >/dev/null || skip "there is no mpirun (Debian: openmpi-bin)"
	[ -e "$BUILD/sa-mpi.so" ] || skip "sa-mpi.so was not built: there was no mpicc (Debian: libopenmpi-dev)"
	T=$ROOT/tests/goldens/train
	new=(--init "$T/tiny/config.json" --model "$T/tiny" --seed 7 --threads 1)
	tiny=("${new[@]}" --data "$T/data.jsonl")
	short=(--lr 3e-3 --batch 2 --accum 3 --warmup-ratio 0.1)
	# More processes than processors, maybe in a container. What the launchers of MPI never release is no leak of ours.
	export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_mpi_yield_when_idle=1
	export ASAN_OPTIONS=detect_leaks=0:$ASAN_OPTIONS
	mpirun=(mpirun --oversubscribe --bind-to none)
}

train() { run_filter sa-train "$@"; }

# ranks N ARG... - sa-train in N processes; $status, $stderr
ranks() {
	local n=$1

	shift
	status=0
	timeout 60 "${mpirun[@]}" -np "$n" "$BUILD/sa-train" "$@" <input >output 2>stderr || status=$?
	stderr=$(cat stderr)
}

losses() { jq -c '[.step,.loss,.lr,.grad_norm,.tokens,.supervised,.eval_loss,.best,.spike]' "$1/log.jsonl"; }
lines_in_log() { [ -f "$1/log.jsonl" ] && [ "$(wc -l <"$1/log.jsonl")" -ge "$2" ]; }

# floats FILE FROM - the floats of a file from byte FROM on
floats() { od -An -v -tf4 -w4 -j"$2" "$1"; }

# apart FILE FILE FROM - the distance of their floats as a part of the second's length
apart() {
	paste <(floats "$1" "$3") <(floats "$2" "$3") |
		awk '{ d += ($1 - $2) ^ 2; n += $2 ^ 2 } END { if (!NR || !n) exit 1; printf "%.3g\n", sqrt(d / n) }'
}

# near A B TOLERANCE - are the runs A and B the same but for a relative difference: losses, norms, and the weights in model.safetensors?
near() {
	local far

	far=$(apart "$1/model.safetensors" "$2/model.safetensors" 4096)
	awk "BEGIN { exit !($far <= $3) }" || { echo "the weights of $1 and $2 are $far apart"; } | fail
	jq -es --slurpfile b "$2/log.jsonl" --argjson tol "$3" '
		length == ($b | length) and ([., $b] | transpose | all(.[0] as $x | .[1] as $y |
			["loss", "grad_norm", "eval_loss"] | all(($x[.] // 0) as $p | ($y[.] // 0) as $q | ($p - $q | fabs) <= $tol * ($q | fabs))))' "$1/log.jsonl" >log ||
		{ echo "$1 and $2 are not within $3:"; paste <(losses "$1") <(losses "$2"); } | fail
}

@test "ranks: two and four are one process, with each loss norm, packed and not" {
	for shape in "token" "sample --pack --cutoff 64" "sample" "token --pack --cutoff 64"; do
		run=("${tiny[@]}" "${short[@]}" --eval-ratio 0.2 --eval-every 3 --epochs 2 --dtype f32 --loss-norm $shape)
		rm -rf one many
		train "${run[@]}" --out one
		expect_status 0
		for n in 2 4; do
			ranks $n "${run[@]}" --out many
			expect_status 0
			expect_stderr_has "$n ranks, $n of them on this machine"
			near many one 1e-6
			assert_equal "$(ls many)" "$(ls one)"
			rm -rf many
		done
	done
}

@test "ranks: the same number of them gives the same bits" {
	for out in a b; do
		ranks 3 "${tiny[@]}" "${short[@]}" --epochs 3 --out $out
		expect_status 0
	done
	cmp a/model.safetensors b/model.safetensors
	assert_equal "$(losses a)" "$(losses b)"
}
