# cuda-ranks.bats - one run on several GPUs, simulated ones of tests/cudasim with NCCL between them: it is the run of one GPU, and ends as one

load lib
load ranks

setup() {
	sa_setup
	mpi "$BUILD/cudasim/mpi.so"
	how=plain preload=$BUILD/cudasim/mpi.so
	if nm "$BUILD/sa-train" | grep -q __asan_init; then how=asan preload="$(cc -print-file-name=libasan.so):$preload"; fi
	T=$ROOT/tests/goldens/train
	jq '.architectures = ["Qwen2ForCausalLM"] | .model_type = "qwen2" | .head_dim = 16 | .num_attention_heads = 2 | .num_key_value_heads = 1 |
		.num_hidden_layers = 3 | .tie_word_embeddings = false | .torch_dtype = "float32"' "$T/tiny/config.json" >shape.json
	tiny=(--init shape.json --model "$T/tiny" --data "$T/data.jsonl" --lr 3e-3 --batch 1 --accum 4 --warmup-ratio 0.1 --seed 7 --threads 1 --dtype f32)
	gpu=("${tiny[@]}" --device cuda)
	export SA_CUDA=$BUILD/cudasim/$how/sa-cuda.so SA_NCCL=$BUILD/cudasim/$how/sa-cuda.so SA_TUNE=off
	mpirun+=(-x "LD_PRELOAD=$preload")
}

losses() { jq -c '[.step,.loss,.lr,.grad_norm,.tokens,.supervised,.eval_loss,.best]' "$1/log.jsonl"; }

# gradient DIR - the floats of a single step's gradient, which without beta1 and a clip is the first moment
gradient() {
	local n

	n=$(od -An -v -td8 -j16 -N8 "$1/step_1/state.bin" | tr -d ' ')
	floats "$1/step_1/state.bin" $((24 + 4 * n)) | head -n "$n"
}

@test "cuda-ranks: two and four GPUs have the gradient of one, in each loss norm, packed and not" {
	# From the same weights and micro-batches: but for the order of float sums it is the same.
	for way in "2 token" "4 sample --pack --cutoff 64"; do
		set -- $way
		run=("${gpu[@]}" --beta1 0 --clip 0 --max-steps 1 --save-every 1 --loss-norm "${@:2}")
		train "${run[@]}" --out one
		expect_status 0
		ranks "$1" "${run[@]}" --out many
		expect_status 0
		paste <(gradient many) <(gradient one) | awk '{ d += ($1 - $2) ^ 2; n += $2 ^ 2 } END { exit !(NR > 30000 && sqrt(d / n) <= 1e-6) }' ||
			{ echo "$way: another gradient" | fail; }
		rm -rf one many
	done
}

@test "cuda-ranks: three GPUs train as one, with an evaluation, and more ranks than packs in a step" {
	# A weight that lies between two bf16 numbers may be rounded to the other one by the last bit of a sum, and all losses change by what that is worth.
	run=("${gpu[@]}" --max-steps 6 --eval-ratio 2 --eval-every 3 --weight-decay 0.1 --accum 2)
	train "${run[@]}" --out one
	expect_status 0
	ranks 3 "${run[@]}" --out many
	expect_status 0
	expect_stderr_has "3 ranks, 3 of them on this machine"
	near many one 1e-6 1e-4
	assert_equal "$(ls many)" "$(ls one)"
}

@test "cuda-ranks: the same bits whatever the order in which streams run, and whether sums are on their way during the backward or after it" {
	for way in "lazy 1" "lazy 2" "eager 3"; do
		set -- $way
		CUDASIM_STREAMS=$1 CUDASIM_SEED=$2 ranks 2 "${gpu[@]}" --max-steps 2 --save-every 2 --out out
		expect_status 0
		md5sum <out/step_2/state.bin >>sums
		rm -rf out
	done
	assert_equal "$(sort -u sums | wc -l)" 1
}

@test "cuda-ranks: a run goes on with as many GPUs to the same bits, and with another number or on the CPU" {
	run=("${gpu[@]}" --max-steps 4 --save-every 2 --keep 0)
	ranks 2 "${run[@]}" --out two
	expect_status 0
	for way in "2" "1" "4" "2 --device cpu --compute bf16"; do
		set -- $way
		cp -r two on
		rm -rf on/step_4 on/state.json
		ranks "$1" "${run[@]}" "${@:2}" --out on --resume
		expect_status 0
		case $way in
		2) cmp two/step_4/state.bin on/step_4/state.bin && assert_equal "$(losses on)" "$(losses two)" ;;
		*cpu*) near on two 1e-3 1e-2 ;;
		*) near on two 1e-6 1e-4 ;;
		esac
		rm -rf on
	done
}

@test "cuda-ranks: preferences, and a part of the tensors" {
	jq -nc 'range(6) | {prompt: "Say \(.).", chosen: "The number \(.) is red.", rejected: "No \(.)."}' >pairs.jsonl
	kto=(--init shape.json --model "$T/tiny" --data pairs.jsonl --stage kto --lr 1e-3 --batch 1 --accum 3 --max-steps 3 --threads 1 --dtype f32 --device cuda)
	some=("${gpu[@]}" --freeze 'model.embed*' --freeze '*.k_proj.*' --freeze '*layers.0*' --max-steps 3)
	for what in kto some; do
		declare -n run=$what
		train "${run[@]}" --out one
		expect_status 0
		ranks 2 "${run[@]}" --out many
		expect_status 0
		near many one 1e-6 1e-4
		rm -rf one many
	done
}

@test "cuda-ranks: adapters, in rows that are padded: as with one, and resumed by as many to the same bits" {
	train "${tiny[@]}" --lr 0 --max-steps 1 --out base
	expect_status 0
	run=(--model base --data "$T/data.jsonl" --lr 1e-2 --batch 1 --accum 4 --seed 7 --threads 1 --dtype f32 --device cuda --max-steps 4 --save-every 2 --keep 0 --lora 5:10:all)
	train "${run[@]}" --merge --out one
	expect_status 0
	ranks 2 "${run[@]}" --merge --out many
	expect_status 0
	near many one 1e-6 1e-4
	cp -r many on
	rm -rf on/step_4 on/state.json on/model.safetensors
	ranks 2 "${run[@]}" --merge --out on --resume
	expect_status 0
	cmp many/step_4/state.bin on/step_4/state.bin
	cmp many/model.safetensors on/model.safetensors
}

# rank_pid N - the process that is rank N of the test's run
rank_pid() {
	local pid

	for pid in $(started); do
		! grep -qsz "^OMPI_COMM_WORLD_RANK=$1\$" "/proc/$pid/environ" || [ "$(cat "/proc/$pid/comm")" != sa-train ] || echo "$pid"
	done
}

no_ranks() { [ -z "$(rank_pid 0)$(rank_pid 1)" ]; }

@test "cuda-ranks: a rank that is killed ends them all: by mpirun, and without it by what NCCL says of it" {
	in_background timeout 60 "${mpirun[@]}" -np 2 "$BUILD/sa-train" "${gpu[@]}" --epochs 4000 --out cut
	wait_until 60 lines_in_log cut 3
	kill -9 "$(rank_pid 1)"
	ended
	[ "$status" != 0 ] && [ "$status" != 124 ]
	expect_stderr_has "on signal 9"
	wait_until 20 no_ranks
	# In the middle of what the other one's device waits for; and where mpirun lets that one live.
	export CUDASIM_DIE=1
	ranks 2 "${gpu[@]}" --out mid
	[ "$status" != 0 ] && [ "$status" != 124 ]
	expect_stderr_has "on signal 9"
	mpirun+=(--mca orte_enable_recovery 1)
	ranks 2 "${gpu[@]}" --out mid
	[ "$status" != 0 ] && [ "$status" != 124 ]
	expect_stderr_has "sa-train: rank 0: step " ": cudasim: NCCL: waiting for the other ranks: remote process exited"
}

# stopped - the run in the background ended with 0 and told so once
stopped() {
	ended
	expect_status 0
	assert_equal "$(grep -c "stopped; go on with --resume" stderr)" 1
}

@test "cuda-ranks: SIGTERM to one of them in the middle of a step saves once and all end with 0; resumed, it is the run that never stopped" {
	run=("${gpu[@]}" --accum 12 --max-steps 4)
	ranks 2 "${run[@]}" --out whole
	in_background timeout 60 "${mpirun[@]}" -np 2 "$BUILD/sa-train" "${run[@]}" --out cut
	wait_until 60 lines_in_log cut 1
	kill -TERM "$(rank_pid 1)"
	stopped
	ranks 2 "${run[@]}" --out cut --resume
	expect_status 0
	cmp whole/model.safetensors cut/model.safetensors
	assert_equal "$(losses cut)" "$(losses whole)"
}

@test "cuda-ranks: a number that is not finite is told once, by line and tensor" {
	ranks 2 "${gpu[@]}" --max-steps 60 --lr 1000 --clip 0 --beta2 0 --schedule constant --warmup-ratio 0 --eps 1e-30 --weight-decay 1000 --out out
	[ "$status" = 1 ]
	expect_stderr_has "$T/data.jsonl:" ", first in the " "nothing was saved"
	assert_equal "$(grep -c "nothing was saved" stderr)" 1
}

@test "cuda-ranks: without NCCL it is told once" {
	SA_NCCL=/nowhere/libnccl.so.2 ranks 2 "${gpu[@]}" --out out
	expect_status 2
	expect_stderr_has "--device cuda in several processes needs NCCL: /nowhere/libnccl.so.2: "
	assert_equal "$(grep -c "needs NCCL" stderr)" 1
	[ ! -e out/log.jsonl ]
}

@test "cuda-ranks: algorithms are timed once by all ranks together, and then found by all" {
	export SA_TUNE=$PWD/products
	for run in first second; do
		ranks 2 "${gpu[@]}" --max-steps 3 --save-every 2 --out $run
		expect_status 0
		sort -u products | wc -l >>lines
		wc -l <products >>lines
	done
	[[ $stderr != *timing* ]]
	assert_equal "$(sort -u lines | wc -l)" 1	# nothing was timed twice, nor later
	cmp first/model.safetensors second/model.safetensors
	rm second/state.json second/model.safetensors
	ranks 2 "${gpu[@]}" --max-steps 3 --save-every 2 --resume --out second
	expect_status 0
	[[ $stderr != *"other algorithms"* ]]
	cmp first/model.safetensors second/model.safetensors
}
