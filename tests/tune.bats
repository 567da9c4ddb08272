# tune.bats - training a part of a model: frozen tensors, adapters

load lib

setup() {
	sa_setup
	T=$ROOT/tests/goldens/train
	tiny=(--init "$T/tiny/config.json" --model "$T/tiny" --data "$T/data.jsonl")
	short=(--lr 3e-3 --batch 2 --accum 3 --warmup-ratio 0.1 --seed 7 --threads 1)
}

train() { run_filter sa-train "$@"; }

header() { tail -c +9 "$1" | head -c "$(od -An -t u8 -N 8 "$1" | tr -d ' ')"; }
names() { header "$1" | jq -r 'del(.__metadata__) | keys_unsorted[]'; }

# sum_of FILE TENSOR - a checksum of the tensor's bytes
sum_of() {
	local n from to

	n=$(od -An -t u8 -N 8 "$1")
	read -r from to < <(header "$1" | jq -r --arg t "$2" '.[$t].data_offsets | @tsv')
	tail -c +$((9 + n + from)) "$1" | head -c $((to - from)) | cksum
}

# changed FILE FILE - the names of the tensors that differ
changed() {
	local t

	for t in $(names "$1"); do
		[ "$(sum_of "$1" "$t")" = "$(sum_of "$2" "$t")" ] || echo "$t"
	done
}

@test "freeze: what a pattern matches keeps its bits, all the rest is trained" {
	train "${tiny[@]}" "${short[@]}" --out start --lr 0 --max-steps 1
	train "${tiny[@]}" "${short[@]}" --out out --epochs 2 --freeze 'model.embed*' --freeze '*.layers.0.*'
	expect_status 0
	expect_stderr_has "9312 of the parameters are trained"
	assert_equal "$(changed start/model.safetensors out/model.safetensors)" "$(names start/model.safetensors | grep -E '\.layers\.1\.|^model.norm')"
}

@test "freeze: the state holds what is trained, and a killed run goes on as if it had never stopped" {
	frozen=(--freeze '*mlp*' --freeze '*norm*')
	train "${tiny[@]}" "${short[@]}" --out whole --epochs 40 "${frozen[@]}"
	sa-train "${tiny[@]}" "${short[@]}" --out cut --epochs 40 --save-every 7 "${frozen[@]}" 2>log &
	wait_until 60 lines_in cut/log.jsonl 24
	kill -9 $!
	wait $! || true
	train "${tiny[@]}" "${short[@]}" --out cut --epochs 40 --save-every 7 "${frozen[@]}" --resume
	expect_status 0
	cmp whole/model.safetensors cut/model.safetensors
	# 320 x 32 of the embedding and 2 x (32 x 32 + 2 x 16 x 32 + 32 x 32) of attention, three times, with 24 bytes before and 8 after
	assert_equal "$(stat -c %s cut/step_200/state.bin)" $((16384 * 12 + 32))
	train "${tiny[@]}" "${short[@]}" --out cut --epochs 40 --freeze '*mlp*' --resume
	expect_status 2
	expect_stderr_has 'freeze was ["*mlp*", "*norm*"], now is ["*mlp*"]'
}

@test "freeze: a pattern that matches nothing, and nothing left to train, are refused" {
	train "${tiny[@]}" "${short[@]}" --out out --freeze 'model.layer.*'
	expect_status 2
	expect_stderr_has "--freeze model.layer.*: the model has no such tensor"
	train "${tiny[@]}" "${short[@]}" --out out --freeze '*'
	expect_status 2
	expect_stderr_has "nothing is left to train"
	[ ! -e out ]
}

# ---- adapters ----

# A model to begin from: four epochs over the data.
base() {
	train "${tiny[@]}" "${short[@]}" --out base --epochs 4 --dtype f32
	expect_status 0
	with=(--model base --data "$T/data.jsonl" "${short[@]}" --lr 2e-2)
}

last_loss() { tail -n 1 "$1/log.jsonl" | jq .loss; }

@test "lora: only adapters are trained and written, in PEFT's files; --merge writes the whole model" {
	base
	train "${with[@]}" --out out --epochs 20 --lora 4:8:all
	expect_status 0
	expect_stderr_has "4096 of the parameters are trained"
	assert_equal "$(ls out | xargs)" "adapter_config.json adapter_model.safetensors log.jsonl state.json tokenizer.json tokenizer_config.json"
	assert_equal "$(jq -c '[.peft_type,.r,.lora_alpha == 8,.base_model_name_or_path,.target_modules]' out/adapter_config.json)" \
		'["LORA",4,true,"base",["q_proj","k_proj","v_proj","o_proj","gate_proj","up_proj","down_proj"]]'
	assert_equal "$(names out/adapter_model.safetensors | wc -l)" 28
	names out/adapter_model.safetensors | grep -qxF base_model.model.model.layers.1.mlp.down_proj.lora_B.weight
	jq -en "$(last_loss out) < 0.85 * $(last_loss base)"
	train "${with[@]}" --out merged --epochs 20 --lora 4:8:all --merge
	expect_status 0
	assert_equal "$(ls merged | xargs)" "config.json generation_config.json log.jsonl model.safetensors state.json tokenizer.json tokenizer_config.json"
	assert_equal "$(last_loss merged)" "$(last_loss out)"
	assert_equal "$(changed base/model.safetensors merged/model.safetensors)" "$(names base/model.safetensors | grep -E '_proj')"
	# the loss that the adapters reached is the merged model's
	train --model merged --data "$T/data.jsonl" --out probe --lr 0 --accum 30 --epochs 1
	jq -en "$(jq .loss probe/log.jsonl) < 0.85 * $(last_loss base)"
}

@test "lora: a killed run goes on as if it had never stopped, from the base that it began with" {
	base
	lora=(--epochs 60 --lora 3:6:q,v,down --save-every 7)
	train "${with[@]}" --out whole "${lora[@]}" --merge
	sa-train "${with[@]}" --out cut "${lora[@]}" --merge 2>log &
	wait_until 60 lines_in cut/log.jsonl 24
	kill -9 $!
	wait $! || true
	train "${with[@]}" --out cut "${lora[@]}" --merge --resume
	expect_status 0
	cmp whole/model.safetensors cut/model.safetensors
	cmp whole/step_300/adapter_model.safetensors cut/step_300/adapter_model.safetensors
	rm cut/state.json
	train "${with[@]}" --out cut --epochs 60 --lora 4:6:q,v,down --resume
	expect_status 2
	expect_stderr_has 'lora was "3:6:q,v,down", now is "4:6:q,v,down"'
	cp -r base other
	cp whole/model.safetensors other/
	train "${with[@]}" --model other --out cut "${lora[@]}" --resume
	expect_status 2
	expect_stderr_has "model was "
}

@test "lora: adapters where a model is wanted are told" {
	mkdir out
	echo '{}' >out/adapter_config.json
	cp "$T"/tiny/tokenizer*.json out/
	train --model out --data "$T/data.jsonl" --out next
	expect_status 2
	expect_stderr_has "out: holds adapters alone, not a model; sa-train --merge writes them as one"
	run_filter sa-serve out --port 0
	expect_status 2
	expect_stderr_has "out: holds adapters alone"
}

@test "lora: that nothing can be learnt is told" {
	train "${tiny[@]}" "${short[@]}" --dtype f32 --out base --max-steps 1
	train --model base --data "$T/data.jsonl" --threads 1 --lora 2:2:q --freeze '*lora_B*' --max-steps 3 --out out
	expect_status 0
	assert_equal "$(grep -c 'all gradients are 0: nothing is learnt' stderr)" 1
}

@test "lora: adapters of some layers, by --freeze; what does not go together is refused" {
	base
	train "${with[@]}" --out out --max-steps 3 --lora 4:8:q --freeze '*.layers.0.*'
	expect_status 0
	expect_stderr_has "256 of the parameters are trained"
	train "${tiny[@]}" --out no --lora 4:8:q
	expect_status 2
	expect_stderr_has "--lora needs a model to start from"
	train "${with[@]}" --out no --merge
	expect_status 2
	expect_stderr_has "--merge needs --lora"
	train "${with[@]}" --out no --data nowhere --lora 0:1:q
	expect_status 2
	expect_stderr_has "lora: r: '0' is no integer from 1 to 4096"	# before the data is looked for
	train "${with[@]}" --out no --lora 4:8:head
	expect_status 2
	expect_stderr_has '"head" is none of q, k, v, o, gate, up, down and all'
	[ ! -e no ]
}
