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

# stopped_at N SIGNAL OUT ARG... - train, with that signal when the reference's file is written for the Nth time; two seconds pass with every look at the clock
stopped_at() {
	local at=$1 signal=$2 out=$3

	shift 3
	status=0
	{ CLOCK_STEP=2 KILL_RENAME=reference.bin KILL_AT=$at KILL_WITH=$signal LD_PRELOAD=$(shim kill.so) \
		"$BUILD/sa-train" "$@" --out "$out" 2>stderr || status=$?; } 2>/dev/null
	stderr=$(cat stderr)
}

# there - how many of the reference's log-probabilities were there already
there() { sed -n 's/.*log-probabilities: [0-9]*, of which \([0-9]*\) are there already/\1/p' stderr; }

@test "prefer: stopped or killed while the reference is computed, a run goes on from what there was, to the same bits" {
	needs kill.so
	head -n 5 "$P/pairs.jsonl" >eval.jsonl
	for stage in dpo kto; do
		args=("${tiny[@]}" "${short[@]}" --batch 1 --stage $stage --data "$P/pairs.jsonl" --eval-data eval.jsonl --max-steps 2)
		train "${args[@]}" --out $stage-whole
		expect_status 0
		for signal in 9 15; do
			out=$stage-$signal
			stopped_at 2 $signal $out "${args[@]}"
			if [ $signal = 9 ]; then
				expect_status 137
			else
				expect_status 0
				expect_stderr_has "stopped; go on with --resume"
			fi
			[ ! -e $out/model.safetensors ]
			stopped_at 2 $signal $out "${args[@]}" --resume
			had=$(there)
			[ "$had" -gt 0 ]
			[ ! -e $out/model.safetensors ]
			cp -r $out $out-other
			train "${args[@]}" --resume --out $out
			expect_status 0
			[ "$(there)" -gt "$had" ]
			cmp $out/reference.bin $stage-whole/reference.bin
			cmp $out/model.safetensors $stage-whole/model.safetensors
			assert_equal "$(losses $out)" "$(losses $stage-whole)"
		done
		train "${args[@]}" --seed 8 --resume --out $out-other	# another start than that of what there is
		assert_equal "$(there)" 0
	done
}

@test "prefer: an evaluation is the loss of the next step over the same data, and in the golden case that of torch" {
	for stage in dpo kto; do
		train "${tiny[@]}" --compute f32 --lr 3e-3 --seed 7 --threads 1 --stage $stage --data "$P/pairs.jsonl" --eval-data "$P/pairs.jsonl" --eval-every 1 \
			--batch 4 --accum 6 --max-steps 6 --warmup-ratio 0 --out $stage --tensorboard $stage/events
		expect_status 0
		expect_stderr_has "step 1: evaluation loss 0." ", rewards' accuracy "
		jq -c 'select(has("loss")) | select(.step > 1) | {step, loss, c: .["rewards/chosen"], r: .["rewards/rejected"], a: .["rewards/accuracies"],
			m: .["rewards/margins"], kl: (.kl // 0)}' $stage/log.jsonl >$stage.want
		jq -c 'select(has("eval_loss")) | select(.step < 6) | {step: (.step + 1), loss: .eval_loss, c: .["eval_rewards/chosen"],
			r: .["eval_rewards/rejected"], a: .["eval_rewards/accuracies"], m: .["eval_rewards/margins"], kl: (.eval_kl // 0)}' $stage/log.jsonl >$stage.got
		assert_equal "$(wc -l <$stage.got)" 5
		same_as $stage.want $stage.got
		[ -L $stage/best ]
		grep -aq eval/rewards/margins $stage/events/*
	done
	# as it began, nothing is better than the reference
	train "${tiny[@]}" "${short[@]}" "${dpo[@]}" --lr 0 --eval-data "$P/pairs.jsonl" --max-steps 1 --out begin
	jq -es '.[1] | (.eval_loss - (2 | log) | fabs) < 1e-6 and .["eval_rewards/margins"] == 0' begin/log.jsonl
	# the pairs of the golden's step 3, evaluated before it
	sed -n "5p;7p;8p" "$P/pairs.jsonl" >third.jsonl
	train "${tiny[@]}" "${short[@]}" "${dpo[@]}" --eval-data third.jsonl --eval-every 2 --max-steps 10 --out golden
	expect_status 0
	jq -c 'select(.step == 3) | del(.grad_norm)' "$P/dpo.jsonl" >want
	jq -c 'select(.eval_loss and .step == 2) | with_entries(.key |= ltrimstr("eval_")) | .step = 3' golden/log.jsonl >got
	same_as want got
}

@test "prefer: what is set aside are whole records, and neither part sees the other" {
	train "${tiny[@]}" "${short[@]}" --stage dpo --data "$P/pairs.jsonl" --eval-ratio 3 --epochs 1 --out ratio
	expect_status 0
	expect_stderr_has "6 samples of them are set aside to evaluate with" "2 steps of 2 x 2 pairs"
	jq -es '[.[] | select(.eval_loss)] | length == 1 and .[0].step == 2' ratio/log.jsonl
	for stage in dpo kto; do	# the same as with files of the two parts
		train "${tiny[@]}" "${short[@]}" --stage $stage --data "$P/pairs.jsonl" --eval-ratio 0.25 --eval-every 1 --epochs 1 --out $stage-ratio
		expect_status 0
		sed -n "5,7p" "$P/pairs.jsonl" >eval.jsonl
		sed "5,7d" "$P/pairs.jsonl" >data.jsonl
		train "${tiny[@]}" "${short[@]}" --stage $stage --data data.jsonl --eval-data eval.jsonl --eval-every 1 --epochs 1 --out $stage-files
		expect_status 0
		assert_equal "$(losses $stage-ratio)" "$(losses $stage-files)"
	done
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
	for with in --pack "--loss-norm sample"; do
		train "${tiny[@]}" --stage dpo --data one.jsonl --out no $with
		expect_status 2
		expect_stderr_has "--stage dpo does not go with ${with%% *}" ": leave it out"
	done
	train "${tiny[@]}" --stage dpo --data one.jsonl --out no --eval-ratio 0.1
	expect_status 2
	expect_stderr_has "--eval-ratio 0.1 leaves none of 1 records to train on"
	train "${tiny[@]}" --stage kto --data "$P/pairs.jsonl" --out no --eval-data one.jsonl
	expect_status 2
	expect_stderr_has "to evaluate with: kto: " "there is one record"
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
