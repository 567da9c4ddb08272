# cuda-train.bats - sa-train --device cuda, on the simulated GPU of tests/cudasim: that it trains as the CPU does, and how it ends

load lib

setup() {
	sa_setup
	T=$ROOT/tests/goldens/train
	how=plain
	if nm "$BUILD/sa-train" | grep -q __asan_init; then how=asan; fi
	if nm "$BUILD/sa-train" | grep -q __tsan_init; then how=tsan; fi
	export SA_CUDA=$BUILD/cudasim/$how/sa-cuda.so SA_TUNE=off
	shape Llama
	tiny=(--init shape.json --model "$T/tiny" --data "$T/data.jsonl" --lr 3e-3 --batch 2 --accum 2 --warmup-ratio 0.1 --seed 7 --threads 1)
	gpu=("${tiny[@]}" --device cuda)
}

# shape FAMILY - shape.json, of heads that a GPU's attention takes
shape() {
	jq --arg f "$1" '.architectures = [$f + "ForCausalLM"] | .model_type = ($f | ascii_downcase) | .head_dim = 16 | .num_attention_heads = 2 | .num_key_value_heads = 1 |
		.torch_dtype = "float32"' "$T/tiny/config.json" >shape.json
}

train() { run_filter sa-train "$@"; }
losses() { jq -c '[.step,.loss,.lr,.grad_norm,.tokens,.supervised]' "$1/log.jsonl"; }

# near A B - losses of the two runs within 0.3%, gradients' norms within 3%: bf16 has 8 bits
near() {
	paste -d '\n' "$1/log.jsonl" "$2/log.jsonl" | jq -es 'def off(f): (.[0] | f) as $a | (.[1] | f) as $b | if $b then ($a - $b | fabs) / $b else 0 end; [_nwise(2) |
		off(.loss) < 3e-3 and off(.eval_loss) < 3e-3 and off(.grad_norm) < 3e-2 and off(.supervised) == 0] | length > 2 and all' >/dev/null ||
		{ paste <(losses "$1") <(losses "$2") | fail; }
}

@test "cuda-train: every family learns as on the CPU, packed, in micro-batches, with an evaluation" {
	for family in Llama Qwen2 Qwen3; do
		shape $family
		run=(--max-steps 4 --pack --cutoff 64 --eval-ratio 0.2 --eval-every 3 --loss-norm sample --weight-decay 0.1)
		train "${tiny[@]}" "${run[@]}" --compute f32 --out cpu
		expect_status 0
		train "${gpu[@]}" "${run[@]}" --out gpu
		expect_status 0
		near gpu cpu
		rm -rf cpu gpu
	done
}

@test "cuda-train: the same bits in every run, and whatever is made again" {
	train "${gpu[@]}" --max-steps 3 --out a
	expect_status 0
	for way in norms blocks; do
		train "${gpu[@]}" --max-steps 3 --recompute $way --out b
		expect_status 0
		cmp a/model.safetensors b/model.safetensors
		assert_equal "$(losses a)" "$(losses b)"
		rm -rf b
	done
}

@test "cuda-train: resumed, the run is as if it had never stopped" {
	train "${gpu[@]}" --max-steps 4 --save-every 2 --keep 0 --out whole
	expect_status 0
	cp -r whole cut
	rm -rf cut/step_4 cut/state.json cut/model.safetensors
	train "${gpu[@]}" --max-steps 4 --save-every 2 --keep 0 --resume --out cut
	expect_status 0
	cmp whole/step_4/state.bin cut/step_4/state.bin
	cmp whole/model.safetensors cut/model.safetensors
	assert_equal "$(losses cut)" "$(losses whole)"
}

@test "cuda-train: a run goes on from the CPU to a GPU and back" {
	two=(--max-steps 4 --save-every 2 --keep 0)
	train "${tiny[@]}" "${two[@]}" --compute bf16 --out cpu
	expect_status 0
	train "${gpu[@]}" "${two[@]}" --out gpu
	expect_status 0
	for way in "cpu gpu --device=cuda" "gpu cpu --device=cpu"; do
		set -- $way
		cp -r $1 on
		rm -rf on/step_4 on/state.json
		train "${tiny[@]}" "${two[@]}" --compute bf16 $3 --resume --out on
		expect_status 0
		expect_stderr_has "resumed on another device: the result will not be the same to the last bit"
		near on $1
		rm -rf on
	done
}

@test "cuda-train: preferences, and a part of the tensors" {
	jq -nc 'range(6) | {prompt: "Say \(.).", chosen: "The number \(.) is red.", rejected: "No \(.)."}' >pairs.jsonl
	pairs=(--init shape.json --model "$T/tiny" --data pairs.jsonl --stage dpo --lr 1e-3 --batch 2 --accum 1 --max-steps 3 --threads 1)
	train "${pairs[@]}" --compute f32 --out cpu
	expect_status 0
	train "${pairs[@]}" --device cuda --out gpu
	expect_status 0
	near gpu cpu
	# evaluated is what the next step has over the same pairs
	train "${pairs[@]}" --accum 3 --max-steps 2 --warmup-ratio 0 --eval-data pairs.jsonl --eval-every 1 --device cuda --out evaluated
	expect_status 0
	jq -es 'map([.step, .loss // .eval_loss, .["rewards/margins"] // .["eval_rewards/margins"]]) | .[2] as $next | .[1] as $eval |
		$next[0] == 2 and $next[1] < 0.69 and
		([range(1; 3) | ($next[.] - $eval[.]) | fabs] | max) < 1e-9' evaluated/log.jsonl
	train "${tiny[@]}" --freeze 'model.embed*' --freeze '*.k_proj.*' --max-steps 3 --compute f32 --out some
	expect_status 0
	train "${gpu[@]}" --freeze 'model.embed*' --freeze '*.k_proj.*' --max-steps 3 --out gpusome
	expect_status 0
	near gpusome some
}

# base - a model to lay adapters beside; lora, the options that do so
base() {
	train "${tiny[@]}" --lr 0 --max-steps 1 --dtype bf16 --out base
	expect_status 0
	lora=(--model base --data "$T/data.jsonl" --lr 1e-2 --batch 2 --accum 2 --seed 7 --threads 1)
}

@test "cuda-train: adapters of every family learn as on the CPU, and merged they are the model that was trained" {
	for family in Llama Qwen2 Qwen3; do
		shape $family
		base
		lora+=(--lora 5:10:all --max-steps 6 --weight-decay 0.1)
		train "${lora[@]}" --compute f32 --out cpu
		expect_status 0
		train "${lora[@]}" --device cuda --out gpu
		expect_status 0
		near gpu cpu
		[ -s gpu/adapter_model.safetensors ] && [ ! -e gpu/model.safetensors ]
		rm -rf base cpu gpu
	done
	shape Llama
	base
	train "${lora[@]}" --lora 5:10:all --epochs 5 --device cuda --merge --out merged
	expect_status 0
	jq -en "$(tail -n 1 merged/log.jsonl | jq .loss) < 0.95 * $(head -n 1 merged/log.jsonl | jq .loss)"
	for as in base merged; do
		train "${lora[@]/base/$as}" --max-steps 1 --lr 0 --accum 8 --compute f32 --out "of-$as"
		expect_status 0
	done
	jq -en "$(jq .loss of-merged/log.jsonl) < 0.95 * $(jq .loss of-base/log.jsonl)"
}

@test "cuda-train: adapters, resumed, some of them frozen, and whatever is made again: the same bits; the reference of preferences is without them" {
	base
	lora+=(--max-steps 4 --lora 3:6:q,v,down --freeze '*layers.0.*v_proj*' --save-every 2 --keep 0)
	train "${lora[@]}" --device cuda --out whole
	expect_status 0
	for way in none norms blocks; do
		cp -r whole cut
		rm -rf cut/step_4 cut/state.json cut/adapter_model.safetensors
		train "${lora[@]}" --device cuda --resume --recompute $way --out cut
		expect_status 0
		cmp whole/step_4/state.bin cut/step_4/state.bin
		cmp whole/adapter_model.safetensors cut/adapter_model.safetensors
		assert_equal "$(losses cut)" "$(losses whole)"
		rm -rf cut
	done
	jq -nc 'range(6) | {prompt: "Say \(.).", chosen: "The number \(.) is red.", rejected: "No \(.)."}' >pairs.jsonl
	pairs=(--model base --data pairs.jsonl --stage dpo --lr 1e-2 --batch 2 --accum 1 --max-steps 4 --threads 1 --lora 4:8:all --save-every 2 --keep 0)
	train "${pairs[@]}" --compute f32 --out cpu
	expect_status 0
	train "${pairs[@]}" --device cuda --out gpu
	expect_status 0
	near gpu cpu
	cp -r gpu cut
	rm -rf cut/step_4 cut/state.json cut/reference.bin
	train "${pairs[@]}" --device cuda --resume --out cut
	expect_status 0
	cmp gpu/reference.bin cut/reference.bin
	cmp gpu/adapter_model.safetensors cut/adapter_model.safetensors
	rm -rf cpu gpu
	pairs=("${pairs[@]/dpo/kto}")
	train "${pairs[@]}" --compute f32 --out cpu
	expect_status 0
	train "${pairs[@]}" --device cuda --out gpu
	expect_status 0
	near gpu cpu
}

@test "cuda-train: what is not there, or does not fit, is told" {
	cp "$BUILD/sa-train" .	# beside no library
	SA_CUDA= BUILD=. train "${gpu[@]}" --out out
	expect_status 2
	expect_stderr_has 'sa-cuda.so is not there: `make cuda` builds it where CUDA is installed'
	train "${tiny[@]}" --device cuda:5 --out out
	expect_status 2
	expect_stderr_has "CUDA device 5: "
	train "${tiny[@]}" --device cuda:0.6GiB --out out
	expect_status 2
	expect_stderr_has "GiB, 0.00 are to be had: lower --batch or --cutoff"
	CUDASIM_MEMORY=280000000 train "${gpu[@]}" --out out
	expect_status 2
	expect_stderr_has "tokens takes 0.0" " are to be had: lower --batch or --cutoff"
	train "${gpu[@]}" --compute f32 --out out
	expect_status 2
	expect_stderr_has "--device cuda computes in bf16"
}

@test "cuda-train: a number that is not finite is told by line and tensor" {
	train "${gpu[@]}" --max-steps 60 --lr 1000 --clip 0 --beta2 0 --schedule constant --warmup-ratio 0 --eps 1e-30 --weight-decay 1000 --out out
	expect_status 1
	expect_stderr_has "; $T/data.jsonl:" ", first in the " "nothing was saved"
	[ ! -e out/model.safetensors ]
}

@test "cuda-train: algorithms are timed once, kept, and a run that has others says so" {
	run=(--max-steps 4 --save-every 2 --keep 0 --out)
	train "${gpu[@]}" "${run[@]}" off
	unset SA_TUNE XDG_CACHE_HOME
	file=$HOME/.cache/sa/products
	train "${gpu[@]}" "${run[@]}" timed
	expect_status 0
	expect_stderr_has "sa-train: timing the algorithms of 45 matrix products on cudasim, once; the choices are kept in $file"
	assert_equal "$(wc -l <"$file")" 45
	if cmp timed/model.safetensors off/model.safetensors; then false; fi
	cp "$file" products
	train "${gpu[@]}" "${run[@]}" found
	expect_status 0
	[[ $stderr != *timing* ]]
	cmp found/model.safetensors timed/model.safetensors
	cmp "$file" products
	for state in found off; do	# the run without is gone on from with
		rm -rf "$state"/step_4 "$state"/state.json "$state"/model.safetensors
		train "${gpu[@]}" "${run[@]}" $state --resume
		expect_status 0
		said=$(grep -c "resumed with other algorithms of matrix products" stderr) || true
		assert_equal "$state $said" "$state $([ $state = found ] && echo 0 || echo 1)"
	done
	cmp found/model.safetensors timed/model.safetensors
	sed -i '7s/ [^ ]*$//' "$file"
	SA_TUNE=$file train "${gpu[@]}" "${run[@]}" again
	expect_status 0
	expect_stderr_has "$file: line 7 is no choice of an algorithm; the file is made again" "timing the algorithms of 45"
	cmp "$file" products
	cmp again/model.safetensors timed/model.safetensors
	SA_TUNE=/dev/null/file train "${gpu[@]}" "${run[@]}" nowhere
	expect_status 0
	expect_stderr_has "/dev/null/file: Not a directory; products keep the algorithms that cuBLASLt proposes"
}

# lost KERNEL:N WHERE LEFT - a run whose device is lost with the Nth launch of that kernel ends so
lost() {
	rm -rf out
	CUDASIM_LOST=$1 train "${gpu[@]}" "${way[@]}" --out out
	expect_status 4
	expect_stderr_has "sa-train: $2: cudasim: waiting for a transfer: unspecified launch failure; $3"
	[ ! -e out/model.safetensors ]
}

@test "cuda-train: a device that fails is told with the step, and the last checkpoint is gone on from" {
	way=(--max-steps 4 --save-every 2 --keep 0 --eval-ratio 0.2 --eval-every 3)
	train "${gpu[@]}" "${way[@]}" --out whole
	expect_status 0
	lost cross_entropy:1 "step 1" "nothing was saved"
	lost clip:2 "step 2" "nothing was saved"
	lost join:9 "saving after step 2" "nothing was saved"
	[ ! -e out/step_2 ]
	lost cross_entropy:5 "step 3" "out/step_2 is whole"
	lost cross_entropy:7 "evaluation after step 3" "out/step_2 is whole"
	cp -r out cpu
	train "${gpu[@]}" "${way[@]}" --resume --out out
	expect_status 0
	cmp out/model.safetensors whole/model.safetensors
	assert_equal "$(losses out)" "$(losses whole)"
	train "${tiny[@]}" "${way[@]}" --compute bf16 --device cpu --resume --out cpu
	expect_status 0
	expect_stderr_has "resumed on another device"
	near cpu whole
}

@test "cuda-train: a device that fails at the reference, or where what is not finite is looked for, is no other failure" {
	jq -nc 'range(6) | {prompt: "Say \(.).", chosen: "The number \(.) is red.", rejected: "No \(.)."}' >pairs.jsonl
	gpu=(--init shape.json --model "$T/tiny" --data pairs.jsonl --stage dpo --batch 2 --accum 1 --threads 1 --device cuda) way=(--max-steps 3)
	lost cross_entropy:1 "the reference before step 1" "nothing was saved"
	[ ! -e out/reference.bin ]
	lost cross_entropy:4 "step 1" "nothing was saved"
	gpu=("${tiny[@]}" --device cuda)
	way=(--max-steps 60 --lr 1000 --clip 0 --beta2 0 --schedule constant --warmup-ratio 0 --eps 1e-30 --weight-decay 1000)
	train "${gpu[@]}" "${way[@]}" --out out
	expect_status 1
	step=$(sed -n 's/^sa-train: step \([0-9]*\): the loss is nan.*/\1/p' stderr)
	lost "clip:$step" "step $step" "nothing was saved"	# in each step before there was one
}

@test "cuda-train: in whatever order threads, blocks and streams run, the same bytes come back" {
	same_bytes cudatrain "gradients are"
}
