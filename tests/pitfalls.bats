# pitfalls.bats - the ten ways in which fine-tuning goes wrong without a word: what takes a whole run. (What can be seen inside the trainer is in
# tests/unit/pitfalls.c, by the same numbers.)

load lib

setup() {
	sa_setup
	T=$ROOT/tests/goldens/train
	tiny=(--init "$T/tiny/config.json" --model "$T/tiny" --data "$T/data.jsonl" --seed 7 --threads 1)
}

train() { run_filter sa-train "$@"; }
losses() { jq -c '[.step,.loss,.lr,.grad_norm,.tokens,.supervised,.eval_loss,.best]' "$1/log.jsonl"; }

# close A B TOLERANCE - two numbers, but for a relative difference
close() { jq -en "($1 - $2 | fabs) <= $3 * ($2 | fabs)" >/dev/null || { echo "$1 is not $2 within $3" | fail; }; }

@test "pitfall 1: a step's loss is the mean over tokens, or over samples, whatever its micro-batches and packs" {
	# Each sample alone, at a rate of 0: its mean loss, and how many tokens that is of.
	train "${tiny[@]}" --lr 0 --batch 1 --accum 1 --epochs 1 --out single
	expect_status 0
	token=$(jq -s '(map(.loss * .supervised) | add) / (map(.supervised) | add)' single/log.jsonl)
	sample=$(jq -s 'map(.loss) | add / length' single/log.jsonl)
	run close "$token" "$sample" 1e-4
	assert_failure
	for shape in "1 30" "30 1" "5 6" "1 30 --pack" "2 15 --pack"; do
		set -- $shape
		for norm in token sample; do
			train "${tiny[@]}" --lr 0 --batch $1 --accum $2 $3 --max-steps 1 --loss-norm $norm --out "out-$norm-$1$3"
			expect_status 0
			close "$(jq .loss "out-$norm-$1$3/log.jsonl")" "${!norm}" 1e-6
		done
	done
}

@test "pitfall 2: what is cut, dropped or left out is counted and said" {
	printf '%s\n' '{"prompt":"a question that is long","response":"x"}' '{"prompt":"?","response":"a reply that is much longer than the question was"}' \
		'{"conversations":[{"from":"gpt","value":"x"}]}' '{"messages":[{"role":"user","content":"no reply"}]}' >d.jsonl
	train "${tiny[@]}" --data d.jsonl --cutoff 16 --lr 0 --batch 1 --accum 1 --epochs 1 --out out
	expect_status 0
	expect_stderr_has "left out: turn 1 is of \"gpt\"" " dropped, 1 left out, " " without the header of a reply, " " without an end)"
	jq -es 'all(.loss | isnormal)' out/log.jsonl >log
}

@test "pitfall 3: the end of a turn is supervised though it is the padding token too" {
	cp -r "$T/tiny" same
	jq '.pad_token = .eos_token' "$T/tiny/tokenizer_config.json" >same/tokenizer_config.json
	train "${tiny[@]}" --lr 0 --batch 30 --accum 1 --max-steps 1 --out as-it-is
	train "${tiny[@]}" --model same --lr 0 --batch 30 --accum 1 --max-steps 1 --out same-token
	expect_status 0
	assert_equal "$(losses same-token)" "$(losses as-it-is)"
}

@test "pitfall 6: a step at 6e-7 is not lost between checkpoints of 16 bits" {
	# Saved as bfloat16, killed and resumed: the weights of 32 bits are in state.bin.
	run=("${tiny[@]}" --lr 6e-7 --warmup-ratio 0 --batch 5 --accum 1 --epochs 4 --dtype bf16 --save-every 5)
	train "${run[@]}" --out whole
	{ KILL_AT=50 LD_PRELOAD=$(shim kill.so) "$BUILD/sa-train" "${run[@]}" --out cut 2>log || true; } 2>/dev/null
	[ -e cut/step_5/state.bin ] && [ ! -e cut/model.safetensors ]
	train "${run[@]}" --out cut --resume
	expect_status 0
	cmp whole/step_24/state.bin cut/step_24/state.bin
	cmp whole/model.safetensors cut/model.safetensors
}

@test "pitfall 8: killed at any moment, also while saving, and resumed, the run is as if it had never stopped" {
	run=("${tiny[@]}" --lr 3e-3 --batch 4 --accum 2 --epochs 3 --save-every 2 --keep 1 --eval-ratio 0.1 --eval-every 3 --pack --cutoff 64)
	train "${run[@]}" --out whole
	expect_status 0
	losses whole >want
	at=1 killed=yes
	while [ $killed ]; do	# until so many calls are more than a run has
		killed=
		rm -rf cut
		for life in 1 2; do
			status=0
			{ KILL_AT=$at LD_PRELOAD=$(shim kill.so) "$BUILD/sa-train" "${run[@]}" --out cut --resume 2>stderr || status=$?; } 2>/dev/null
			case $status in
			0) ;;
			137) killed=yes ;;
			*) { echo "killed at call $at: status $status"; cat stderr; } | fail ;;
			esac
		done
		train "${run[@]}" --out cut --resume
		[ "$status" = 0 ] || { echo "after call $at: $stderr" | fail; }
		cmp whole/model.safetensors cut/model.safetensors
		cmp whole/best/state.bin cut/best/state.bin
		losses cut | cmp - want
		[ -z "$(find cut -name '*.tmp')" ] || { echo "after call $at: $(find cut -name '*.tmp')" | fail; }
		assert_equal "$(ls cut)" "$(ls whole)"
		at=$((at + 7))
	done
	[ $at -gt 100 ]
}
