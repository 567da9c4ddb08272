# ranks.bash - training runs in several processes over MPI, and how far apart two runs are

# mpi LIBRARY - skip without MPI or the library of ours that was built by it; $mpirun is how processes are started
mpi() {
	command -v mpirun >/dev/null || skip "there is no mpirun (Debian: openmpi-bin)"
	[ -e "$1" ] || skip "${1##*/} was not built: there was no mpicc (Debian: libopenmpi-dev)"
	if nm "$BUILD/sa-train" | grep -q __tsan_init; then skip "Open MPI is not built for ThreadSanitizer, which takes its locks for errors"; fi
	# More processes than processors, maybe in a container. What the launchers of MPI never release is no leak of ours.
	export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_mpi_yield_when_idle=1
	export ASAN_OPTIONS=detect_leaks=0:$ASAN_OPTIONS
	# What a killed rank shared with the others goes with the test's folder, not into /dev/shm for ever.
	export OMPI_MCA_btl_vader_backing_directory=$BATS_TEST_TMPDIR
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

lines_in_log() { [ -f "$1/log.jsonl" ] && [ "$(wc -l <"$1/log.jsonl")" -ge "$2" ]; }

# floats FILE FROM - the floats of a file from byte FROM on
floats() { od -An -v -tf4 -w4 -j"$2" "$1"; }

# apart FILE FILE FROM - the distance of their floats as a part of the second's length
apart() {
	paste <(floats "$1" "$3") <(floats "$2" "$3") |
		awk '{ d += ($1 - $2) ^ 2; n += $2 ^ 2 } END { if (!NR || !n) exit 1; printf "%.3g\n", sqrt(d / n) }'
}

# near A B WEIGHTS [LOSSES] - are the runs A and B the same but for these relative differences, of the weights in model.safetensors, and of losses and norms
# (LOSSES: the same)?
near() {
	local far tol=${4:-$3}

	far=$(apart "$1/model.safetensors" "$2/model.safetensors" 4096)
	awk "BEGIN { exit !($far <= $3) }" || { echo "the weights of $1 and $2 are $far apart"; } | fail
	jq -es --slurpfile b "$2/log.jsonl" --argjson tol "$tol" '
		length == ($b | length) and ([., $b] | transpose | all(.[0] as $x | .[1] as $y |
			["loss", "grad_norm", "eval_loss"] | all(($x[.] // 0) as $p | ($y[.] // 0) as $q | ($p - $q | fabs) <= $tol * ($q | fabs))))' "$1/log.jsonl" >log ||
		{ echo "$1 and $2 are not within $tol:"; paste <(losses "$1") <(losses "$2"); } | fail
}
