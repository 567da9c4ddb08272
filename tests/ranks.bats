# ranks.bats - one training run in several processes over MPI: it is the run of one process, and ends as one

load lib
load ranks

setup() {
	sa_setup
	mpi "$BUILD/sa-mpi.so"
	T=$ROOT/tests/goldens/train
	new=(--init "$T/tiny/config.json" --model "$T/tiny" --seed 7 --threads 1 --compute f32)
	tiny=("${new[@]}" --data "$T/data.jsonl")
	short=(--lr 3e-3 --batch 2 --accum 3 --warmup-ratio 0.1)
}

losses() { jq -c '[.step,.loss,.lr,.grad_norm,.tokens,.supervised,.eval_loss,.best,.spike]' "$1/log.jsonl"; }

@test "ranks: two and four are one process, with each loss norm, packed and not" {
	# loss norm, packing, and how many ranks
	for shape in "token 2 4" "sample 2" "token-packed 2" "sample-packed 4"; do
		set -- $shape
		run=("${tiny[@]}" "${short[@]}" --eval-ratio 0.2 --eval-every 3 --epochs 2 --dtype f32 --loss-norm "${1%-packed}")
		[ "${1%-packed}" = "$1" ] || run+=(--pack --cutoff 64)
		shift
		rm -rf one
		train "${run[@]}" --out one
		expect_status 0
		for n; do
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
		ranks 3 "${tiny[@]}" "${short[@]}" --epochs 3 --compute bf16 --out $out
		expect_status 0
	done
	cmp a/model.safetensors b/model.safetensors
	assert_equal "$(losses a)" "$(losses b)"
}

# gradient DIR - the floats of a single step's gradient, which without beta1 and a clip is the first moment
gradient() {
	local n

	n=$(od -An -v -td8 -j16 -N8 "$1/step_1/state.bin" | tr -d ' ')
	floats "$1/step_1/state.bin" $((24 + 4 * n)) | head -n "$n"
}

@test "pitfall 1: 1 x 50, 50 x 1 and 5 x 10 have one gradient, on one and two ranks, packed and not, in both loss norms" {
	run=("${tiny[@]}" --data "$T/data.jsonl" --max-samples 25 --beta1 0 --clip 0 --max-steps 1 --save-every 1)
	token=("1 50" "50 1" "5 10" "1 50 --pack") sample=("5 10" "3 7 --pack")	# on one rank all of them: tests/unit/pitfalls.c
	for norm in token sample; do
		train "${run[@]}" --loss-norm $norm --batch 1 --accum 50 --out first
		gradient first >want
		assert_equal "$(wc -l <want)" 28832
		declare -n shapes=$norm
		for shape in "${shapes[@]}"; do
			set -- $shape
			ranks 2 "${run[@]}" --loss-norm $norm --batch $1 --accum $2 $3 --out out
			expect_status 0
			paste <(gradient out) want | awk '{ d += ($1 - $2) ^ 2; n += $2 ^ 2 } END { exit !(NR == 28832 && sqrt(d / n) <= 1e-6) }' ||
				{ echo "$norm, $shape: another gradient" | fail; }
			rm -rf out
		done
		rm -rf first
	done
}

@test "pitfall 8: a run goes on with another number of ranks, and bit for bit with the same" {
	run=("${tiny[@]}" "${short[@]}" --epochs 6 --save-every 7 --keep 0 --dtype f32 --eval-ratio 0.1)
	train "${run[@]}" --out one
	ranks 2 "${run[@]}" --out two
	expect_status 0
	near two one 1e-5
	# From step 7 of any, with any: nothing but the number of ranks in state.json tells who wrote it.
	for way in "two 2" "two 1" "one 4"; do
		set -- $way
		mkdir cut
		cp -r $1/step_7 $1/log.jsonl cut
		ranks $2 "${run[@]}" --out cut --resume
		expect_status 0
		near cut $1 1e-5
		if [ "$way" = "two 2" ]; then
			cmp two/step_28/state.bin cut/step_28/state.bin
			assert_equal "$(losses cut)" "$(losses two)"
		else
			expect_stderr_has "resumed with another number of ranks"
		fi
		rm -rf cut
	done
}

@test "ranks: more of them than packs in a step, or than samples to evaluate with" {
	run=("${tiny[@]}" --lr 3e-3 --batch 1 --accum 1 --max-steps 12 --eval-ratio 2 --dtype f32)
	train "${run[@]}" --out one
	ranks 4 "${run[@]}" --out many
	expect_status 0
	near many one 1e-6
}

@test "ranks: DPO and KTO are those of one process, reference and divergence included" {
	for stage in dpo kto; do
		run=("${new[@]}" --stage $stage --data "$ROOT/tests/goldens/prefer/pairs.jsonl" --lr 3e-3 --batch 2 --accum 2 --max-steps 8 --dtype f32)
		train "${run[@]}" --out one-$stage
		expect_status 0
		ranks 3 "${run[@]}" --out many-$stage
		expect_status 0
		near many-$stage one-$stage 1e-5
		for value in rewards/margins rewards/accuracies kl; do
			paste <(jq ".[\"$value\"] // 0" many-$stage/log.jsonl) <(jq ".[\"$value\"] // 0" one-$stage/log.jsonl) |
				awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > 1e-5) exit 1 }' || { echo "$stage: $value" | fail; }
		done
	done
}

@test "ranks: a part of the tensors, and adapters, are trained as by one process" {
	for part in "--freeze *embed* --freeze *layers.0*" "--lora 4:8:all --merge"; do
		run=(--tokenizer "$T/tiny" --seed 7 --threads 1 --compute f32 --data "$T/data.jsonl" "${short[@]}" --max-steps 6 --dtype f32 --weight-decay 0.1)
		[ -d start ] || train "${tiny[@]}" "${short[@]}" --max-steps 1 --dtype f32 --out start
		set -f
		run+=(--model start $part)
		set +f
		rm -rf one many
		train "${run[@]}" --out one
		expect_status 0
		ranks 3 "${run[@]}" --out many
		expect_status 0
		near many one 1e-6
	done
}

# rank_pid N - the process that is rank N of the test's run
rank_pid() {
	local pid

	for pid in $(started); do
		! grep -qsz "^OMPI_COMM_WORLD_RANK=$1\$" "/proc/$pid/environ" || [ "$(cat "/proc/$pid/comm")" != sa-train ] || echo "$pid"
	done
}

@test "ranks: a rank that is killed ends them all, and the run goes on from its last checkpoint" {
	run=("${mpirun[@]}" -np 2 "$BUILD/sa-train" "${tiny[@]}" "${short[@]}" --epochs 4000 --save-every 5 --out cut)
	in_background timeout 60 "${run[@]}"
	wait_until 60 lines_in_log cut 12
	kill -9 "$(rank_pid 1)"
	ended
	[ "$status" != 0 ] && [ "$status" != 124 ]
	expect_stderr_has "on signal 9"
	wait_until 20 no_ranks
	[ -e cut/step_10/state.bin ] || ls cut/step_*/state.bin
	n=$(wc -l <cut/log.jsonl)
	in_background timeout 60 "${run[@]}" --resume
	wait_until 60 lines_in_log cut $((n + 5))
	kill -TERM "$(rank_pid 0)"
	ended
	expect_status 0
	[ -z "$(find cut -name '*.tmp')" ]
	assert_equal "$(jq .step cut/log.jsonl | xargs)" "$(seq -s ' ' "$(wc -l <cut/log.jsonl)")"
}

no_ranks() { [ -z "$(rank_pid 0)$(rank_pid 1)" ]; }

@test "ranks: killed while it saves, the run is as if it had never stopped" {
	run=("${tiny[@]}" "${short[@]}" --max-steps 6 --save-every 2 --keep 1 --out)
	ranks 2 "${run[@]}" whole
	# Of rank 0's calls that change a file about 60 are MPI's, and 30 more the first steps' and the first save's.
	status=0
	timeout 60 "${mpirun[@]}" -np 2 sh -c '[ $OMPI_COMM_WORLD_RANK != 0 ] || export KILL_AT=95 LD_PRELOAD='"$(shim kill.so)"'; exec "$@"' sh \
		"$BUILD/sa-train" "${run[@]}" cut 2>stderr || status=$?
	stderr=$(cat stderr)
	expect_status 137
	ranks 2 "${run[@]}" cut --resume
	expect_status 0
	cmp whole/step_6/state.bin cut/step_6/state.bin
	assert_equal "$(losses cut)" "$(losses whole)"
	assert_equal "$(ls cut)" "$(ls whole)"
}

# stopped - the run in the background ended with 0 and told so once
stopped() {
	ended
	expect_status 0
	assert_equal "$(grep -c "stopped; go on with --resume" stderr)" 1
}

@test "ranks: SIGTERM to one of them or SIGUSR1 to mpirun saves once and all end with 0; resumed, it is the run that never stopped" {
	run=("${tiny[@]}" "${short[@]}" --epochs 60)
	ranks 2 "${run[@]}" --out whole
	in_background timeout 60 "${mpirun[@]}" -np 2 "$BUILD/sa-train" "${run[@]}" --out cut
	wait_until 60 lines_in_log cut 3
	kill -TERM "$(rank_pid 1)"
	stopped
	assert_equal "$(ls -d cut/step_* | wc -l)" 1
	in_background "${mpirun[@]}" -np 2 "$BUILD/sa-train" "${run[@]}" --out cut --resume
	wait_until 60 lines_in_log cut $(($(wc -l <cut/log.jsonl) + 3))
	kill -USR1 $pid
	stopped
	ranks 2 "${run[@]}" --out cut --resume
	expect_status 0
	cmp whole/model.safetensors cut/model.safetensors
	assert_equal "$(losses cut)" "$(losses whole)"
}

@test "ranks: stopped or killed while the reference of preferences is computed, they go on from what all of them had" {
	run=("${new[@]}" --stage kto --data "$ROOT/tests/goldens/prefer/pairs.jsonl" --eval-ratio 3 --lr 3e-3 --batch 1 --accum 4 --max-steps 4 --eval-every 2 --out)
	ranks 2 "${run[@]}" whole
	expect_status 0
	for signal in 9 15; do
		status=0
		timeout 60 "${mpirun[@]}" -np 2 sh -c 'export CLOCK_STEP=2 KILL_RENAME=reference.bin KILL_AT=3 KILL_WITH='$signal' LD_PRELOAD='"$(shim kill.so)"'
			exec "$@"' sh "$BUILD/sa-train" "${run[@]}" cut-$signal 2>stderr || status=$?
		stderr=$(cat stderr)
		expect_status $((signal == 9 ? 137 : 0))
		ranks 2 "${run[@]}" cut-$signal --resume
		expect_status 0
		expect_stderr_has "log-probabilities: 44, of which "
		case $stderr in *"of which 0 are"*) fail <stderr ;; esac
		cmp whole/reference.bin cut-$signal/reference.bin
		cmp whole/model.safetensors cut-$signal/model.safetensors
		assert_equal "$(losses cut-$signal)" "$(losses whole)"
	done
	# one process has the same evaluation
	train "${run[@]}" one
	expect_status 0
	paste <(jq .eval_loss whole/log.jsonl) <(jq .eval_loss one/log.jsonl) | awk '$1 != "null" { n++; d = $1 - $2; if (d > 1e-6 || d < -1e-6) exit 1 } END { exit n != 2 }'
}

@test "ranks: after SIGTERM to mpirun the state is there too" {
	# mpirun kills what has not ended a second later, or after what this sets, which it waits out; its own status is 1 then.
	in_background "${mpirun[@]}" --mca odls_base_sigkill_timeout 3 -np 2 "$BUILD/sa-train" "${tiny[@]}" "${short[@]}" --epochs 4000 --out cut
	wait_until 60 lines_in_log cut 3
	kill -TERM $pid
	ended
	[ -s cut/step_*/state.bin ]
}

# ranks_in DIR... - sa-train with the arguments in "${run[@]}", rank by rank in these directories; as ranks
ranks_in() {
	printf '%s\n' "$@" >dirs
	status=0
	timeout 60 "${mpirun[@]}" -np $# sh -c 'cd "$(sed -n "$((OMPI_COMM_WORLD_RANK + 1))p" dirs)" && exec "$@"' sh \
		"$BUILD/sa-train" "${run[@]}" <input >output 2>stderr || status=$?
	stderr=$(cat stderr)
}

said_once() { assert_equal "$(grep -c "^sa-train: $1" stderr)" 1; }

@test "ranks: an error is told once, with the rank where it is not rank 0's, and nothing is trained" {
	mkdir good bad other
	cp "$T/data.jsonl" good/d.jsonl
	(cat "$T/data.jsonl"; echo '{"question":"a"}') >bad/d.jsonl
	head -n 29 "$T/data.jsonl" >other/d.jsonl
	run=("${new[@]}" "${short[@]}" --data d.jsonl --max-steps 2 --out out)
	ranks_in bad bad bad
	expect_status 2
	said_once "d.jsonl:31: no known kind of record"
	ranks_in good bad bad
	expect_status 2
	said_once "rank 1: d.jsonl:31: no known kind of record"
	ranks_in good good other
	expect_status 2
	said_once "rank 2: its data, settings or model are not those of rank 0"
	[ ! -e good/out ] && [ ! -e other/out ]
	ranks_in good good good
	expect_status 0
	said_once "30 samples, "
	[ -e good/out/model.safetensors ]
}

@test "ranks: a number that is not finite is told once, by line and tensor, whichever rank has it" {
	# Only the sample with a # looks it up; the head has weights of its own.
	jq '.tie_word_embeddings = false' "$T/tiny/config.json" >untied.json
	train --init untied.json "${new[@]:2}" --data "$T/data.jsonl" --max-steps 1 --dtype f32 --out start
	poison start 2
	for i in 1 2 3 4 5 6 7 8; do
		jq -nc --arg i $i '{prompt: "number \($i)", response: "it is \($i)"}'
	done | sed '5s/it is/it # is/' >d.jsonl
	run=(--model start --data d.jsonl --batch 1 --accum 8 --epochs 1 --threads 1 --out out)
	for seed in 1 2; do
		ranks 4 "${run[@]}" --seed $seed
		expect_status 1
		said_once "\(rank [123]: \)\?step 1: the loss is nan; d.jsonl:5, first in the weights model.embed_tokens.weight; nothing was saved"
		[ ! -e out/model.safetensors ]
	done
	grep -q "sa-train: rank [123]: step 1" stderr
	# One that is in the sum of all.
	ranks 3 "${tiny[@]}" "${short[@]}" --out sum --lr 1000 --clip 0 --beta2 0 --schedule constant --warmup-ratio 0 --epochs 200 --eps 1e-30 --weight-decay 1000
	expect_status 1
	said_once ".*the gradients' norm is .*; $T/data.jsonl:.*, first in the gradient of model.*; nothing was saved"
}

@test "ranks: a full disk ends them all with 4 and leaves the earlier checkpoint whole" {
	run=("${mpirun[@]}" -np 2 "$BUILD/sa-train" "${tiny[@]}" "${short[@]}" --epochs 4000 --save-every 20 --keep 1 --out out)
	in_background timeout 60 "${run[@]}"
	wait_until 60 lines_in_log out 25
	# MPI's own files were made without it. Enough for the model's file, not for the state's.
	prlimit --fsize=200000 --pid "$(rank_pid 0)"
	ended
	expect_status 4
	said_once "out/step_.*/state.bin: File too large"
	assert_equal "$(ls -d out/step_* | wc -l)" 1
	n=$(wc -l <out/log.jsonl)
	in_background timeout 60 "${run[@]}" --resume
	wait_until 60 lines_in_log out $((n + 2))
	kill -TERM "$(rank_pid 0)"
	ended
	expect_status 0
}

@test "ranks: without sa-mpi.so several processes are refused, one is not" {
	mkdir alone
	cp "$BUILD/sa-train" alone/
	for name in OMPI_COMM_WORLD_SIZE PMI_SIZE SLURM_STEP_NUM_TASKS; do
		status=0
		env $name=2 alone/sa-train "${tiny[@]}" "${short[@]}" --max-steps 1 --out out 2>stderr || status=$?
		stderr=$(cat stderr)
		expect_status 2
		said_once "this is one of 2 processes .*/alone/sa-mpi.so is not there: .*libopenmpi-dev"
		[ ! -e out ]
	done
	SLURM_NTASKS=2 SLURM_STEP_NUM_TASKS=2 OMPI_COMM_WORLD_SIZE=1 alone/sa-train "${tiny[@]}" "${short[@]}" --max-steps 1 --out out	# one of mpirun's in a job
	# Processes of a launcher that MPI does not know.
	status=0
	env SLURM_STEP_NUM_TASKS=2 sa-train "${tiny[@]}" "${short[@]}" --max-steps 1 --out other 2>stderr || status=$?
	expect_status 2
	said_once "the launcher started 2 processes, but MPI knows of 1"
}

# slurm STATE ARG... - the job script, with an srun that starts two processes and a scontrol that takes notes; the job is in STATE after srun
slurm() {
	mkdir -p bin
	printf '#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nexec %s -np 2 "$@"\n' "${mpirun[*]}" >bin/srun
	printf '#!/bin/sh\necho "$@" >>requeued\n' >bin/scontrol
	printf '#!/bin/sh\necho %s\n' "$1" >bin/squeue
	chmod +x bin/*
	shift
	PATH=$PWD/bin:$PATH BUILD=$BUILD SLURM_JOB_ID=7 in_background timeout 60 sh "$ROOT/pipelines/slurm/train.sbatch" "$@"
}

@test "slurm: a job that was stopped in time is requeued and goes on, unless it was cancelled; one that is finished or failed is not" {
	run=(out "${tiny[@]}" "${short[@]}" --epochs 100000)
	slurm RUNNING "${run[@]}"
	wait_until 60 lines_in_log out 3
	kill -TERM "$(rank_pid 0)" "$(rank_pid 1)"
	ended
	expect_status 0
	assert_equal "$(cat requeued)" "requeue 7"
	slurm COMPLETING "${run[@]}"
	wait_until 60 lines_in_log out $(($(wc -l <out/log.jsonl) + 3))
	kill -TERM "$(rank_pid 0)" "$(rank_pid 1)"
	ended
	expect_status 0
	expect_stderr_has "train.sbatch: stopped at step"
	run=(small "${tiny[@]}" "${short[@]}" --epochs 1)
	slurm RUNNING "${run[@]}"
	ended
	expect_status 0
	expect_stderr_has "train.sbatch: small is finished"
	slurm RUNNING "${run[@]}" --lr 5
	ended
	expect_status 2
	expect_stderr_has "cannot resume from small: lr was 0.003"
	assert_equal "$(wc -l <requeued)" 1
}
