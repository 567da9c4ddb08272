# sa-train.bats - training a very small model: what it learns, what it saves, how it ends

load lib

setup() {
	sa_setup
	T=$ROOT/tests/goldens/train
	new=(--init "$T/tiny/config.json" --model "$T/tiny")
	tiny=("${new[@]}" --data "$T/data.jsonl")
	short=(--lr 3e-3 --batch 2 --accum 3 --warmup-ratio 0.1 --seed 7 --threads 1)
}

# train ARG... - sa-train; $status, $stderr
train() {
	run_filter sa-train "$@"
}

losses() { jq -c '[.step,.loss,.lr,.grad_norm,.tokens,.supervised]' "$1/log.jsonl"; }
last_loss() { tail -n 1 "$1/log.jsonl" | jq .loss; }
has_steps() { [ "$(wc -l <"$1/log.jsonl")" -ge "$2" ]; }

# below A B - is the number A less than B?
below() { jq -en "$1 < $2" >/dev/null || { echo "$1 is not below $2" | fail; }; }

# close FILE FILE TOLERANCE - the same numbers, line by line, but for a relative difference
close() {
	paste -d '\n' "$1" "$2" | jq -es --argjson tol "$3" '[_nwise(2) | select((.[0] - .[1] | fabs) > $tol * (.[1] | fabs))] | length == 0' >/dev/null ||
		{ echo "not within $3:"; paste "$1" "$2"; } | fail
}

@test "train: a new model learns thirty records by heart" {
	train "${tiny[@]}" "${short[@]}" --out out --epochs 60
	expect_status 0
	expect_output
	expect_stderr_has "30 samples, " " tokens, " "; 0 dropped, 0 cut" "300 steps of 2 x 3 samples, 30 of them warm-up"
	assert_equal "$(wc -l <out/log.jsonl)" 300
	below 5 "$(head -n 1 out/log.jsonl | jq .loss)"
	below "$(last_loss out)" 0.3
	assert_equal "$(ls out)" "$(printf '%s\n' config.json generation_config.json log.jsonl model.safetensors state.json tokenizer.json tokenizer_config.json)"
	for f in config.json generation_config.json tokenizer.json tokenizer_config.json; do cmp "out/$f" "$T/tiny/$f"; done
	jq -e 'keys == (["step","epoch","loss","lr","grad_norm","tokens","supervised","tokens_per_s","seconds"] | sort)' out/log.jsonl >log
}

@test "train: twenty steps are those of torch's AdamW on transformers' model" {
	train "${tiny[@]}" "${short[@]}" --compute f32 --out out --max-steps 20
	expect_status 0
	for f in tokens supervised; do
		assert_equal "$(jq -c ".$f" out/log.jsonl)" "$(jq -c ".$f" "$T/curve.jsonl")"
	done
	jq .lr out/log.jsonl >got && jq .lr "$T/curve.jsonl" >want && close got want 1e-12
	jq .loss out/log.jsonl >got && jq .loss "$T/curve.jsonl" >want && close got want 1e-5
	jq .grad_norm out/log.jsonl >got && jq .grad_norm "$T/curve.jsonl" >want && close got want 1e-4
}

@test "train: products of bf16 numbers stay near torch's, by any instruction set, and auto takes them where they are fast" {
	for cpu in plain avx2 avx512 avx512bf16; do
		SA_CPU=$cpu train "${tiny[@]}" "${short[@]}" --compute bf16 --out $cpu --max-steps 20
		[ "$status" = 2 ] && grep -q 'this processor does not have it' stderr && continue
		expect_status 0
		jq .loss $cpu/log.jsonl >got && jq .loss "$T/curve.jsonl" >want && close got want 2e-3
		SA_CPU=$cpu train "${tiny[@]}" "${short[@]}" --out auto-$cpu --max-steps 20
		expect_status 0
		fast=f32
		[ $cpu = avx512bf16 ] && fast=bf16
		SA_CPU=$cpu train "${tiny[@]}" "${short[@]}" --compute $fast --out same-$cpu --max-steps 20
		cmp auto-$cpu/model.safetensors same-$cpu/model.safetensors
	done
}

@test "train: a run is gone on with by the numbers that it began with" {
	train "${tiny[@]}" "${short[@]}" --compute f32 --out out --max-steps 4 --save-every 2
	expect_status 0
	train "${tiny[@]}" "${short[@]}" --compute bf16 --out out --max-steps 4 --save-every 2 --resume
	expect_status 2
	expect_stderr_has 'cannot resume from out: compute was "f32", now is "bf16"'
}

@test "train: two hundred steps on real text are torch's" {
	data general
	jq -c '.[] | select((.instruction + .input + .output) | length <= 300)' "$DATA/alpaca_en_demo.json" "$DATA/alpaca_zh_demo.json" >real.jsonl
	for compute in bf16 f32; do
		train --init "$T/real.json" --model "$ROOT/pipelines/nano/student" --data real.jsonl --out $compute --max-steps 200 --batch 4 --accum 1 --lr 1e-3 \
			--warmup-ratio 0.05 --seed 7 --cutoff 512 --compute $compute
		expect_status 0
	done
	jq .loss bf16/log.jsonl >got && jq .loss "$T/real.jsonl" >want && close got want 2e-3
	mv f32 out
	expect_stderr_has " 0 dropped, 0 cut at 512 tokens"
	jq .tokens out/log.jsonl >got && jq .tokens "$T/real.jsonl" | cmp - got
	jq .loss out/log.jsonl >got && jq .loss "$T/real.jsonl" >want && close got want 1e-3
	jq .grad_norm out/log.jsonl >got && jq .grad_norm "$T/real.jsonl" >want && close got want 2e-2
	below "$(jq .loss "$T/real.jsonl" | tail -n 1)" 7	# from 8.34
}

@test "train: the same seed gives the same bits, also on two threads; another seed does not" {
	for out in a b; do
		train "${tiny[@]}" "${short[@]}" --out $out --epochs 2 --threads 2
		expect_status 0
	done
	cmp a/model.safetensors b/model.safetensors
	assert_equal "$(losses a)" "$(losses b)"
	train "${tiny[@]}" "${short[@]}" --out c --epochs 2 --seed 8 --threads 2
	run cmp -s a/model.safetensors c/model.safetensors
	assert_failure
}

@test "train: killed with -9 and resumed, the run is as if it had never stopped" {
	train "${tiny[@]}" "${short[@]}" --out whole --epochs 60
	expect_status 0
	sa-train "${tiny[@]}" "${short[@]}" --out cut --epochs 60 --save-every 7 2>log &
	wait_until 60 has_steps cut 24
	kill -9 $!
	wait $! || true
	[ ! -e cut/model.safetensors ]
	train "${tiny[@]}" "${short[@]}" --out cut --epochs 60 --save-every 7 --resume
	expect_status 0
	cmp whole/model.safetensors cut/model.safetensors
	assert_equal "$(losses cut)" "$(losses whole)"
	assert_equal "$(ls -d cut/step_*)" "$(printf '%s\n' cut/step_294 cut/step_300)"
	cmp cut/step_300/model.safetensors cut/model.safetensors
}

@test "train: SIGTERM saves a state and ends with 0, SIGINT with the signal; --resume goes on from either" {
	train "${tiny[@]}" "${short[@]}" --out whole --epochs 60
	sa-train "${tiny[@]}" "${short[@]}" --out cut --epochs 60 2>log &
	wait_until 60 has_steps cut 3
	kill -TERM $!
	wait $!
	assert_equal "$(ls -d cut/step_* | wc -l)" 1
	# A background job of a script ignores SIGINT; env restores its default.
	env --default-signal=INT "$BUILD/sa-train" "${tiny[@]}" "${short[@]}" --out cut --epochs 60 --resume 2>log &
	wait_until 60 has_steps cut $(($(jq .step cut/step_*/state.json) + 3))
	kill -INT $!
	status=0
	wait $! || status=$?
	assert_equal "$status" 130
	train "${tiny[@]}" "${short[@]}" --out cut --epochs 60 --resume
	expect_status 0
	cmp whole/model.safetensors cut/model.safetensors
	assert_equal "$(losses cut)" "$(losses whole)"
	run ls -d cut/step_*
	assert_failure	# the state of a finished run is not kept unless --save-every asked for it
}

# handles_term PID - would SIGTERM be handled?
handles_term() { (( 0x$(awk '/^SigCgt/ { print $2 }' "/proc/$1/status") & 1 << 14 )); }
no_longer_handles_term() { ! handles_term "$1"; }

@test "train: a second signal ends the run at once, also in the middle of a long step" {
	for i in $(seq 34); do cat "$T/data.jsonl"; done >big.jsonl
	"$BUILD/sa-train" "${new[@]}" --data big.jsonl --batch 1000 --accum 1 --max-steps 200 --threads 1 --out out 2>log &
	wait_until 60 has_steps out 1
	handles_term $!
	kill -TERM $!
	wait_until 60 no_longer_handles_term $!
	kill -TERM $!
	status=0
	wait $! || status=$?
	assert_equal "$status" 143
	[ ! -e out/model.safetensors ]
}

@test "train: a finished run is not run again by --resume, and one without a state starts anew" {
	train "${tiny[@]}" "${short[@]}" --out out --epochs 1 --resume
	expect_status 0
	expect_stderr_has "no training state, starting anew"
	cp out/model.safetensors was
	train "${tiny[@]}" "${short[@]}" --out out --epochs 1 --resume
	expect_status 0
	expect_stderr_has "finished already"
	cmp was out/model.safetensors
}

@test "train: resuming with other data or settings is refused by name" {
	train "${tiny[@]}" "${short[@]}" --out out --epochs 1 --save-every 2
	expect_status 0
	train "${tiny[@]}" "${short[@]}" --out out --epochs 1 --save-every 2 --resume --lr 1e-3
	expect_status 2
	expect_stderr_has "lr was 0.003, now is 0.001"
	train "${tiny[@]}" "${short[@]}" --out out --epochs 1 --resume --seed 8
	expect_status 2
	expect_stderr_has "seed was 7, now is 8"
	sed 's/cat/cow/' "$T/data.jsonl" >other.jsonl
	train "${new[@]}" "${short[@]}" --out out --epochs 1 --resume --data other.jsonl
	expect_status 2
	expect_stderr_has "data was"
	train "${tiny[@]}" "${short[@]}" --out out --epochs 1
	expect_status 2
	expect_stderr_has "training state of a run at step 5" "--resume"
}

@test "train: a damaged state is refused" {
	sa-train "${tiny[@]}" "${short[@]}" --out out --epochs 60 --save-every 2 2>log &
	wait_until 60 has_steps out 5
	kill -9 $!
	wait $! || true
	state=$(ls -d out/step_*[0-9] | sort -t_ -k2n | tail -n 1)/state.bin
	printf 'X' | dd of="$state" bs=1 seek=5000 conv=notrunc status=none
	train "${tiny[@]}" "${short[@]}" --out out --epochs 60 --save-every 2 --resume
	expect_status 2
	expect_stderr_has "$state: damaged"
	truncate -s 5000 "$state"
	train "${tiny[@]}" "${short[@]}" --out out --epochs 60 --save-every 2 --resume
	expect_status 2
	expect_stderr_has "$state: cut short"
}

@test "train: accumulation changes nothing: 4 x 1, 1 x 4 and 2 x 2 have the same loss and gradient" {
	for norm in token sample; do
		for shape in "4 1" "1 4" "2 2"; do
			set -- $shape
			train "${tiny[@]}" --lr 3e-3 --seed 7 --threads 1 --compute f32 --max-steps 6 --loss-norm $norm --batch "$1" --accum "$2" --out "$norm-$1"
			expect_status 0
			jq '.grad_norm,.loss' "$norm-$1/log.jsonl" >"$norm-$1.txt"
		done
		close $norm-1.txt $norm-4.txt 1e-5
		close $norm-2.txt $norm-4.txt 1e-5
	done
	run cmp -s token-4.txt sample-4.txt
	assert_failure
}

@test "train: several files are one set of data, --max-samples takes the first of each" {
	sed -n 1,10p "$T/data.jsonl" >a.jsonl
	sed -n 11,30p "$T/data.jsonl" >b.jsonl
	train "${tiny[@]}" "${short[@]}" --out whole --epochs 2
	train "${new[@]}" --data a.jsonl --data b.jsonl "${short[@]}" --out parts --epochs 2
	expect_status 0
	cmp whole/model.safetensors parts/model.safetensors
	train "${new[@]}" --data a.jsonl --data b.jsonl --max-samples 4 "${short[@]}" --out few --epochs 1
	expect_status 0
	expect_stderr_has "8 samples, "
	train "${tiny[@]}" --max-samples 12 "${short[@]}" --out few2 --epochs 1
	expect_stderr_has "12 samples, "
}

@test "train: packs hold what fits, count as samples do, and have the loss of their samples" {
	train "${tiny[@]}" --lr 0 --batch 1 --accum 100 --epochs 1 --seed 7 --out single
	jq -c '[.step, .tokens, .supervised]' single/log.jsonl >want
	train "${tiny[@]}" --lr 0 --batch 1 --accum 100 --epochs 1 --seed 7 --out packed --pack
	expect_status 0
	expect_stderr_has " packs, filled to " "steps of 1 x 100 packs"
	jq -c '[.step, .tokens, .supervised]' packed/log.jsonl | cmp - want
	jq '.loss,.grad_norm' single/log.jsonl >want
	jq '.loss,.grad_norm' packed/log.jsonl >got
	close got want 1e-6
}

@test "train: what is set aside to evaluate with is not trained on, is the same for a seed, and its loss is in the log" {
	train "${tiny[@]}" "${short[@]}" --out out --epochs 4 --eval-ratio 0.2 --eval-every 5
	expect_status 0
	expect_stderr_has "6 samples of them are set aside to evaluate with" "16 steps of" "evaluation loss"
	assert_equal "$(jq -c 'select(.eval_loss) | .step' out/log.jsonl | xargs)" "5 10 15 16"
	assert_equal "$(jq 'select(.tokens) | .tokens' out/log.jsonl | head -n 4 | jq -s add)" "$(jq 'select(.tokens) | .tokens' out/log.jsonl | sed -n 5,8p | jq -s add)"
	jq -c 'select(.eval_loss) | [.step, .eval_loss, .best]' out/log.jsonl >want
	train "${tiny[@]}" "${short[@]}" --out again --epochs 4 --eval-ratio 6 --eval-every 5
	jq -c 'select(.eval_loss) | [.step, .eval_loss, .best]' again/log.jsonl | cmp - want
	train "${tiny[@]}" "${short[@]}" --out both --eval-ratio 6 --eval-data "$T/data.jsonl"
	expect_status 2
	expect_stderr_has "--eval-data (eval_dataset) and --eval-ratio (val_size) are both given"
	train "${tiny[@]}" "${short[@]}" --out none --eval-ratio 30
	expect_status 2
	expect_stderr_has "--eval-ratio 30 leaves none of 30 samples to train on"
}

@test "train: the evaluation's loss is that of a step over the same samples" {
	train "${tiny[@]}" --lr 0 --batch 4 --accum 100 --max-steps 1 --seed 7 --out out --eval-data "$T/data.jsonl"
	expect_status 0
	jq 'select(.loss) | .loss' out/log.jsonl >want
	jq 'select(.eval_loss) | .eval_loss' out/log.jsonl >got
	close got want 1e-6
}

@test "train: out/best is the checkpoint with the lowest evaluation loss, kept whatever --keep says" {
	# A rate that ruins the model in the end: the lowest loss is on the way.
	train "${tiny[@]}" --lr 3 --schedule constant --warmup-ratio 0 --batch 5 --accum 1 --max-steps 30 --seed 7 --clip 0 --out out --eval-data "$T/data.jsonl" \
		--eval-every 3 --save-every 4 --keep 1
	expect_status 0
	best=$(jq -s -r 'map(select(.eval_loss)) | min_by(.eval_loss).step' out/log.jsonl)
	below "$best" 30
	assert_equal "$(readlink out/best)" "step_$best"
	assert_equal "$(ls -d out/step_* | sort -V | xargs)" "out/step_$best out/step_30"
	train --model out/best --data "$T/data.jsonl" --lr 0 --batch 5 --accum 6 --max-steps 1 --out probe
	jq .loss probe/log.jsonl >got
	jq "select(.eval_loss and .step == $best) | .eval_loss" out/log.jsonl >want
	close got want 1e-5
}

@test "train: a spike of the loss is told, with the sample that was worst" {
	for i in $(seq 40); do echo '{"text":"red green blue red green blue"}'; done >d.jsonl
	echo '{"text":"山 river 7 ? 花 door 9 ! 白色"}' >>d.jsonl
	train "${new[@]}" --data d.jsonl --lr 1e-2 --batch 1 --accum 1 --epochs 3 --seed 7 --out out
	expect_status 0
	expect_stderr_has "the loss is " ", the median before it was " "highest of all: d.jsonl:41 with "
	jq -es 'map(select(.spike)) | length > 0 and all(.loss > 4)' out/log.jsonl >log
}

@test "train: cut samples are counted, those with nothing to learn dropped, and none is left is an error" {
	printf '%s\n' '{"text":"one two three four five six seven"}' '{"prompt":"a question that is long","response":"x"}' '{"text":"1"}' >d.jsonl
	train "${new[@]}" "${short[@]}" --data d.jsonl --cutoff 4 --epochs 3 --out out
	expect_status 0
	expect_stderr_has "2 samples, 7 tokens, 5 supervised; 1 dropped, 2 cut at 4 tokens"
	jq -e '.loss | isnormal' out/log.jsonl >log
	sed -n 2p d.jsonl >none.jsonl
	train "${new[@]}" "${short[@]}" --data none.jsonl --cutoff 4 --out none
	expect_status 2
	expect_stderr_has "none.jsonl: no sample with a supervised token (1 dropped)"
	[ ! -e none ]
}

@test "train: a bad line is named by file and line and nothing is trained" {
	printf '%s\n' '{"text":"a"}' '' '{"question":"a"}' >d.jsonl
	train "${new[@]}" --data d.jsonl --out out
	expect_status 2
	expect_stderr_has "sa-train: d.jsonl:3: no known kind of record"
	[ ! -e out ]
	train "${new[@]}" --data nowhere.jsonl --out out
	expect_status 2
	expect_stderr_has "nowhere.jsonl: No such file"
}

@test "train: data from a pipe and from standard input; what is compressed, an array in a pipe or spread over lines is told" {
	train "${tiny[@]}" "${short[@]}" --out file --max-steps 2
	cat "$T/data.jsonl" | sa-train "${new[@]}" "${short[@]}" --data - --out pipe --max-steps 2 2>log
	sa-train "${new[@]}" "${short[@]}" --data - --out no --max-steps 2 < <(jq -s . "$T/data.jsonl" | tee array.json) 2>log || true
	[ ! -e no ]
	grep -F -- "-:1: an array; out of a pipe one record a line is read, as jq -c '.[]'" log
	sa-train "${new[@]}" "${short[@]}" --data - --out array --max-steps 2 <array.json 2>log
	for out in pipe array; do cmp file/model.safetensors $out/model.safetensors; done
	gzip -k array.json
	for bad in "array.json.gz: compressed" "pretty.jsonl:1: not a JSON record on one line"; do
		jq . "$T/data.jsonl" >pretty.jsonl
		train "${new[@]}" --data "${bad%%:*}" --out no
		expect_status 2
		expect_stderr_has "$bad"
	done
}

@test "train: a system message beside a prompt or messages is not lost" {
	printf '%s\n' '{"prompt":"a","response":"b","system":"s","history":[["x","y"]]}' >prompt.jsonl
	printf '%s\n' '{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"},{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"system":"s","text":null}' >beside.jsonl
	printf '%s\n' '{"messages":[{"role":"system","content":"s"},{"role":"user","content":"x"},{"role":"assistant","content":"y"},{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}' >inside.jsonl
	printf '%s\n' '{"instruction":"a","output":"b","system":"s","history":[["x","y"]],"messages":null,"conversations":null}' >alpaca.jsonl
	for form in prompt beside inside alpaca; do
		train "${new[@]}" "${short[@]}" --data $form.jsonl --out $form --max-steps 2
		expect_status 0
		cmp inside/model.safetensors $form/model.safetensors || [ ! -e inside ]
		jq -c '[.loss, .tokens, .supervised]' $form/log.jsonl >$form.txt
		cmp prompt.txt $form.txt
	done
	jq -e '.tokens > 30' prompt/log.jsonl >log
	train "${new[@]}" --data prompt.jsonl --out one --max-steps 1 --accum 1
	expect_stderr_has "nothing will be learnt"
}

# columns of the terminal N, COMMAND... - its output there
on_terminal() {
	local columns=$1

	shift
	script -qec "stty cols $columns; TERM=xterm $*" /dev/null </dev/null
}

@test "train: on a narrow terminal the progress is still one line" {
	on_terminal 40 "sa-train ${tiny[*]} ${short[*]} --out out --max-steps 200" | tr '\r' '\n' | grep '^step ' >log
	grep -q '^step 200/200 ' log
	[ "$(awk '{ n = length > n ? length : n } END { print n }' log)" -le 39 ]
}

@test "train: a model goes on from its own checkpoint, stored as bfloat16 and said so" {
	train "${tiny[@]}" "${short[@]}" --out first --epochs 10 --dtype bf16
	expect_status 0
	assert_equal "$(jq -r .torch_dtype first/config.json)" bfloat16
	below "$(stat -c %s first/model.safetensors)" 70000
	train --model first --data "$T/data.jsonl" "${short[@]}" --out second --epochs 1 --lr 1e-4
	expect_status 0
	cmp first/config.json second/config.json
	below "$(head -n 1 second/log.jsonl | jq .loss)" 3
	assert_equal "$(stat -c %s first/model.safetensors)" "$(stat -c %s second/model.safetensors)"
}

@test "train: a checkpoint that is wrong is refused with the file or tensor named" {
	train "${tiny[@]}" "${short[@]}" --out good --max-steps 1
	train --model nowhere --data "$T/data.jsonl" --out out
	expect_status 2
	expect_stderr_has "nowhere/config.json"
	cp -r good short && truncate -s 50000 short/model.safetensors
	train --model short --data "$T/data.jsonl" --out out
	expect_status 2
	expect_stderr_has "short/model.safetensors"
	cp -r good wide && jq '.intermediate_size = 96' good/config.json >wide/config.json
	train --model wide --data "$T/data.jsonl" --out out
	expect_status 2
	expect_stderr_has "model.layers.0.mlp"
	[ ! -e out ]
}

@test "train: a number that is not finite stops the run, names line and tensor and saves nothing" {
	train "${tiny[@]}" "${short[@]}" --out out --lr 1000 --clip 0 --beta2 0 --schedule constant --warmup-ratio 0 --epochs 200 --eps 1e-30 --weight-decay 1000
	expect_status 1
	expect_stderr_has "the gradients' norm is " "; $T/data.jsonl:" ", first in the gradient of model." "; nothing was saved"
	[ ! -e out/model.safetensors ]
}

@test "train: a full disk ends the run with 4 and leaves the earlier checkpoint whole" {
	status=0
	# Enough for the model's file but not for the state's.
	(ulimit -f 200; exec sa-train "${tiny[@]}" "${short[@]}" --out full --max-steps 4 --save-every 2) 2>stderr || status=$?
	stderr=$(cat stderr)
	expect_status 4
	expect_stderr_has "full/step_2.tmp/state.bin: File too large"
	[ ! -e full/step_2 ]
	[ ! -e full/step_2.tmp ]
	# The log ends with a whole line.
	(ulimit -f 1; exec sa-train "${tiny[@]}" "${short[@]}" --out line --max-steps 40) 2>log || status=$?
	grep -F "line/log.jsonl: the disk is full" log
	jq -es 'length > 2' line/log.jsonl >log
	# A run that had a checkpoint keeps it.
	sa-train "${tiny[@]}" "${short[@]}" --out cut --max-steps 300 --save-every 2 2>log &
	wait_until 60 has_steps cut 3
	kill -9 $!
	wait $! || true
	status=0
	(ulimit -f 200; exec sa-train "${tiny[@]}" "${short[@]}" --out cut --max-steps 300 --save-every 2 --resume) 2>stderr || status=$?
	expect_status 4
	train "${tiny[@]}" "${short[@]}" --out cut --max-steps 300 --save-every 2 --resume
	expect_status 0
}

@test "train: that the disk has no room for what the run will write is told at its beginning" {
	jq '.hidden_size = 256 | .num_attention_heads = 4 | .num_key_value_heads = 2 | .head_dim = 64 | .intermediate_size = 8192' "$T/tiny/config.json" >shape.json
	# A million checkpoints of 200 MB.
	sa-train --init shape.json --model "$T/tiny" --data "$T/data.jsonl" --max-steps 10000000 --accum 1 --save-every 10 --keep 1000000 --out out --threads 1 2>log &
	wait_until 60 grep -q 'steps of' log
	kill $!
	wait $! || true
	grep -E 'out: only [0-9.]+ GB are free, what the run writes may take [0-9.]+: the model 0.1, checkpoints 0.2 each' log
	train "${tiny[@]}" "${short[@]}" --out small --max-steps 3 --save-every 1
	expect_status 0
	[[ $stderr != *"are free"* ]]
}

@test "train: a closed standard error does not become the log" {
	sa-train "${tiny[@]}" "${short[@]}" --out out --max-steps 3 <input 2>&-
	assert_equal "$(jq -cs "map(.step)" out/log.jsonl)" "[1,2,3]"
}

has_checkpoint() { compgen -G "$1/step_*[0-9]" >/dev/null; }

@test "train: two runs never write into one folder, and the second disturbs nothing of the first's" {
	sa-train "${tiny[@]}" "${short[@]}" --out out --epochs 50000 2>log &
	wait_until 60 has_steps out 1
	train "${tiny[@]}" "${short[@]}" --out out --epochs 50000
	expect_status 2
	expect_stderr_has "another sa-train"
	kill -9 $!
	wait $! || true
	sa-train "${tiny[@]}" "${short[@]}" --out saves --epochs 50000 --save-every 10 2>log &
	wait_until 60 has_checkpoint saves
	kill -STOP $!
	mkdir saves/step_999999.tmp	# as if it was saving
	train "${tiny[@]}" "${short[@]}" --out saves --epochs 50000 --save-every 10 --resume
	expect_status 2
	expect_stderr_has "another sa-train"
	[ -d saves/step_999999.tmp ]
	kill -9 $!
	wait $! || true
}

@test "train: a model that is there is not written over, least of all the one to start from" {
	train "${tiny[@]}" "${short[@]}" --out base --max-steps 2
	expect_status 0
	rm base/log.jsonl base/state.json	# as one from elsewhere
	for resume in "" --resume; do
		train --model base --data "$T/data.jsonl" --max-steps 2 --threads 1 --out base $resume
		expect_status 2
		expect_stderr_has "base: holds a model already (model.safetensors)"
	done
	[ ! -e base/log.jsonl ]
	train --model base --data "$T/data.jsonl" --max-steps 2 --threads 1 --out tuned --lora 2:2:q
	expect_status 0
	train --model base --data "$T/data.jsonl" --max-steps 2 --threads 1 --out tuned --lora 2:2:q --merge
	expect_status 2
	expect_stderr_has "tuned: holds a model already (adapter_model.safetensors)"
	train --model base --data "$T/data.jsonl" --max-steps 2 --threads 1 --out ""
	expect_status 2
	expect_stderr_has "--out is needed"
}

@test "train: a terminal that is gone has the state saved, unless nohup says that it does not matter; a closed pipe of the progress does not either" {
	env --default-signal=HUP "$BUILD/sa-train" "${tiny[@]}" "${short[@]}" --out cut --epochs 50000 2>log &
	wait_until 60 has_steps cut 3
	kill -HUP $!
	status=0
	wait $! || status=$?
	assert_equal "$status" 129
	[ -e "$(echo cut/step_*)/state.bin" ]
	env --ignore-signal=HUP --default-signal=PIPE "$BUILD/sa-train" "${tiny[@]}" "${short[@]}" --out on --epochs 600 2> >(head -n 1 >first) &
	wait_until 60 has_steps on 3
	kill -HUP $!
	wait $!
	[ -e on/model.safetensors ]
}

@test "train: usage errors are one line and exit 2" {
	for args in "--nonsense" "--data x" "--data x --out y" "--data x --out y --model z extra" "--data x --out y --model z --epochs 0" \
		"--data x --out y --model z --batch 1.5" "--data x --out y --model z --schedule sine"; do
		train $args
		expect_status 2
		assert_equal "$(wc -l <stderr)" 1
	done
	run sa-train --help
	assert_success
	assert_output --partial "--warmup-ratio"
}
