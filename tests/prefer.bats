# prefer.bats - training by preferences, DPO and KTO: torch's numbers, the reference that is kept, and that it learns

load lib

setup() {
	sa_setup
	T=$ROOT/tests/goldens/train
	P=$ROOT/tests/goldens/prefer
	tiny=(--init "$T/tiny/config.json" --model "$T/tiny")
	short=(--lr 3e-3 --batch 2 --accum 2 --warmup-ratio 0.1 --seed 7 --threads 1 --pref-beta 0.3 --compute f32)
	dpo=(--stage dpo --data "$P/pairs.jsonl" --label-smoothing 0.1)
	kto=(--stage kto --data "$P/pairs.jsonl" --desirable-weight 1.2 --undesirable-weight 0.7)
}

train() { run_filter sa-train "$@"; }
losses() { jq -c 'del(.seconds, .tokens_per_s)' "$1/log.jsonl"; }

# same_as GOLDEN LOG - every number of the golden is in the log within 1e-4
same_as() {
	jq -nes --slurpfile want "$1" --slurpfile got "$2" '
		($want | length) == ($got | length) and
		all(range($want | length); . as $i | all($want[$i] | to_entries[]; (.value - $got[$i][.key] | fabs) <= 1e-4 * ((.value | fabs) + 0.1)))' >/dev/null ||
		{ paste -d '\n' "$1" "$2"; } | fail
}

@test "prefer: DPO's losses, gradients and rewards are those of torch" {
	train "${tiny[@]}" "${short[@]}" "${dpo[@]}" --out out --max-steps 10
	expect_status 0
	expect_stderr_has "22 samples" "10 steps of 2 x 2 pairs"
	same_as "$P/dpo.jsonl" out/log.jsonl
}

@test "prefer: KTO's are, of pairs and of labelled responses" {
	train "${tiny[@]}" "${short[@]}" "${kto[@]}" --out out --max-steps 10
	expect_status 0
	same_as "$P/kto.jsonl" out/log.jsonl
	train "${tiny[@]}" "${short[@]}" --stage kto --desirable-weight 1.2 --undesirable-weight 0.7 --data "$P/labels.jsonl" --out labels --max-steps 10
	expect_status 0
	same_as "$P/labels-kto.jsonl" labels/log.jsonl
}

@test "prefer: accumulation changes nothing, KTO's divergence included" {
	for stage in dpo kto; do
		for shape in "4 1" "1 4" "2 2"; do
			set -- $shape
			train "${tiny[@]}" --compute f32 --lr 3e-3 --seed 7 --threads 1 --stage $stage --data "$P/pairs.jsonl" --max-steps 6 --batch "$1" --accum "$2" --out "$stage-$1"
			expect_status 0
			jq -c '{step, loss, grad_norm, "rewards/margins": (.["rewards/margins"] // 0), kl: (.kl // 0)}' "$stage-$1/log.jsonl" >"$stage-$1.txt"
		done
		same_as $stage-1.txt $stage-4.txt
		same_as $stage-2.txt $stage-4.txt
	done
}

@test "prefer: a killed run goes on as if it had never stopped, from the reference that it began with" {
	for stage in dpo kto; do
		args=("${tiny[@]}" "${short[@]}" --stage $stage --data "$P/pairs.jsonl" --max-steps 250 --save-every 7)
		train "${args[@]}" --out $stage-whole
		sa-train "${args[@]}" --out $stage 2>log &
		wait_until 60 lines_in $stage/log.jsonl 16
		kill -9 $!
		wait $! || true
		cmp $stage/reference.bin $stage-whole/reference.bin
		# what is damaged is made again
		printf 'X' | dd of=$stage/reference.bin bs=1 seek=60 conv=notrunc status=none
		train "${args[@]}" --out $stage --resume
		expect_status 0
		cmp $stage/reference.bin $stage-whole/reference.bin
		cmp $stage/model.safetensors $stage-whole/model.safetensors
		assert_equal "$(losses $stage)" "$(losses $stage-whole)"
	done
	train "${tiny[@]}" "${short[@]}" --stage dpo --data "$P/pairs.jsonl" --max-steps 250 --out dpo --resume --pref-beta 0.2
	expect_status 2
	expect_stderr_has "pref-beta was 0.3, now is 0.2"
}

@test "prefer: the kept reference is used, and not for another start" {
	train "${tiny[@]}" "${short[@]}" "${dpo[@]}" --out out --max-steps 2
	sum=$(cksum <out/reference.bin)
	stamp=$(stat -c %i out/reference.bin)
	rm out/model.safetensors
	train "${tiny[@]}" "${short[@]}" "${dpo[@]}" --out out --max-steps 3
	assert_equal "$(stat -c %i out/reference.bin)" "$stamp"
	rm out/model.safetensors
	train "${tiny[@]}" "${short[@]}" "${dpo[@]}" --out out --max-steps 3 --seed 8
	[ "$(cksum <out/reference.bin)" != "$sum" ]
}

@test "prefer: adapters: the reference is the base" {
	train "${tiny[@]}" --data "$T/data.jsonl" --lr 3e-3 --accum 6 --epochs 4 --dtype f32 --out base
	train --model base "${short[@]}" "${dpo[@]}" --lr 3e-2 --out out --max-steps 30 --lora 4:8:all
	expect_status 0
	jq -es '.[0]["rewards/margins"] == 0 and (.[-5:] | map(.["rewards/accuracies"]) | add / 5 > 0.8)' out/log.jsonl
	[ -e out/adapter_model.safetensors ]
}

@test "prefer: the bundled student learns which responses are better" {
	jq -c 'select(.lang == "en") | {prompt, chosen: "Sorry, I cannot help with that.", rejected: "Sure, this is how it is done: first take what you need."}' \
		"$ROOT/pipelines/nano/samples/prompts.ndjson" | head -n 96 >pairs.jsonl
	for stage in dpo kto; do
		train --model "$ROOT/pipelines/nano/student" --stage $stage --data pairs.jsonl --out $stage --lr 2e-5 --batch 8 --accum 1 --epochs 2 --seed 1
		expect_status 0
		jq -es '(.[-6:] | map(.["rewards/accuracies"]) | add / 6) as $last | $last > 0.95 and $last > (.[:2] | map(.["rewards/accuracies"]) | add / 2) and
			(map(.["rewards/margins"] // empty) | .[-1] > .[2])' $stage/log.jsonl || { cat $stage/log.jsonl; false; }
	done
}

@test "prefer: records of an array on one line are told apart" {
	jq -cn '[range(6) | {prompt: "q\(.)", response: "r\(.)", label: (. % 2 == 0)}]' >array.json
	jq -c '.[]' array.json >lines.jsonl
	for form in array.json lines.jsonl; do
		train "${tiny[@]}" "${short[@]}" --stage kto --data $form --out "$form.out" --max-steps 3
		expect_status 0
		jq -c 'del(.seconds, .tokens_per_s)' "$form.out/log.jsonl" >"$form.log"
	done
	cmp array.json.log lines.jsonl.log
	jq -c '.[3].response = 7' array.json >bad.json
	train "${tiny[@]}" --stage kto --data bad.json --out no
	expect_status 2
	expect_stderr_has "bad.json:1: record 4: "
}

@test "prefer: a reference that is not finite is told with the record that has it" {
	jq '.tie_word_embeddings = false' "$T/tiny/config.json" >untied.json
	train --init untied.json --model "$T/tiny" --data "$T/data.jsonl" --max-steps 1 --dtype f32 --out start
	poison start 2	# only the sample with a # looks it up
	for i in 1 2 3 4; do jq -nc --arg i $i '{prompt: "number \($i)", chosen: "it is \($i)", rejected: "no"}'; done | sed '3s/it is/# is/' >d.jsonl
	train --model start --stage dpo --data d.jsonl --batch 3 --threads 1 --out out
	expect_status 2
	expect_stderr_has "the reference's loss is not finite at d.jsonl:3: is the model whole?"
	jq -c '{prompt, response: .chosen, label: true}' d.jsonl >k.jsonl
	train --model start --stage kto --data k.jsonl --batch 3 --threads 1 --out out
	expect_status 2
	expect_stderr_has "the reference's loss is not finite at k.jsonl:3: is the model whole?"
}

@test "prefer: what is no pair is named by its line, and what does not go together refused" {
	printf '%s\n' '{"prompt":"a","chosen":"b","rejected":"c"}' '{"prompt":"a","response":"b"}' >d.jsonl
	train "${tiny[@]}" --stage dpo --data d.jsonl --out no
	expect_status 2
	expect_stderr_has 'd.jsonl:2: no "chosen" and "rejected"'
	train "${tiny[@]}" --stage kto --data d.jsonl --out no
	expect_status 2
	expect_stderr_has 'd.jsonl:2:' 'kto_tag'
	head -n 1 d.jsonl >one.jsonl
	train "${tiny[@]}" --stage kto --data one.jsonl --out no
	expect_status 2
	expect_stderr_has 'there is one record'
	for with in --pack "--loss-norm sample" "--eval-ratio 0.1"; do
		train "${tiny[@]}" --stage dpo --data one.jsonl --out no $with
		expect_status 2
		expect_stderr_has "--stage dpo does not go with ${with%% *}" ": leave it out"
	done
	train "${tiny[@]}" --data one.jsonl --out no --label-smoothing 0.1
	expect_status 2
	expect_stderr_has "--label-smoothing goes with --stage dpo"
	train "${tiny[@]}" --stage dpo --data one.jsonl --out no --desirable-weight 2
	expect_status 2
	expect_stderr_has "--desirable-weight and --undesirable-weight go with --stage kto"
	train "${tiny[@]}" --data one.jsonl --out no --pref-beta 0.3
	expect_status 2
	expect_stderr_has "--pref-beta goes with --stage dpo or kto"
	[ ! -e no ]
}

@test "prefer: pairs go from sa-pick to sa-train" {
	for i in 1 2 3 4 5 6; do
		echo '{"prompt":"p'$i'","ppl":5,"prompt_safety":0.1,"responses":[{"text":"bad","safety":0.1},{"text":"good '$i'","safety":0.9}]}'
	done >input
	for format in alpaca messages sharegpt record; do
		sa-pick --pairs --format $format <input >$format.jsonl
		for stage in dpo kto; do
			train "${tiny[@]}" "${short[@]}" --stage $stage --data $format.jsonl --epochs 1 --out $format-$stage
			expect_status 0
			expect_stderr_has "12 samples"
		done
	done
	assert_equal "$(losses alpaca-dpo)" "$(losses sharegpt-dpo)"
}
