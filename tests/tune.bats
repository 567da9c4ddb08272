# tune.bats - training a part of a model: frozen tensors

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
