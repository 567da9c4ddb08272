# checkpoints.bats - trouble with checkpoints, as who starts a server meets it: cut, mixed up, too large for the machine
load lib
load serve

TEACHER=$ROOT/pipelines/nano/teacher
GOLDENS=$ROOT/tests/goldens

# refused PATTERN DIR - not served: one line that has PATTERN, exit status 2
refused() {
	run timeout 60 sa-serve "$2" --port 0
	[ "$status" = 2 ] || { echo "exit status $status where 2 is wanted: $1"; echo "$output"; } | fail
	assert_equal "${#lines[@]}" 1
	assert_output --partial "$1"
}

@test "checkpoint: a file that was cut anywhere is named" {
	cp -r "$TEACHER" cut
	for file in config.json tokenizer.json model.safetensors; do
		size=$(stat -Lc %s "cut/$file")
		for n in 0 1 7 $((size / 2)) $((size - 2)); do
			head -c "$n" "$TEACHER/$file" >"cut/$file"
			refused "cut/$file" cut
		done
		cp "$TEACHER/$file" cut/
	done
}

@test "checkpoint: noise in a file is refused or served, never worse" {
	cp -r "$TEACHER" noise
	for seed in 1 2 3 4 5 6; do
		for file in config.json tokenizer.json model.safetensors; do
			# a few bytes of the first thousand, of the header where it is tensors
			awk -v seed="$seed" 'BEGIN { srand(seed); for (i = 0; i < 4; i++) print int(rand() * 600), int(rand() * 256) }' >places
			cp "$TEACHER/$file" noise/
			while read -r at byte; do
				printf "\\x$(printf %x "$byte")" | dd of="noise/$file" bs=1 seek="$at" conv=notrunc status=none
			done <places
			status=0
			timeout 5 sa-serve noise --port 0 2>said || status=$?
			case $status in
			124) grep -q ready said ;;
			2) assert_equal "$(wc -l <said)" 1 ;;
			*) { echo "exit status $status with noise $seed in $file"; cat said; } | fail ;;
			esac
			cp "$TEACHER/$file" noise/
		done
	done
}

@test "checkpoint: files of different checkpoints are told apart" {
	cp -r "$TEACHER" mixed
	cp "$GOLDENS/model/tied/model.safetensors" mixed/
	refused "tensor model.embed_tokens.weight: shape [128,32] where config.json makes it" mixed
	cp -r "$GOLDENS/model/tied" words
	cp "$TEACHER/tokenizer.json" "$TEACHER/tokenizer_config.json" words/
	refused "words: the tokenizer has 4096 tokens, the model only 128" words
}

@test "checkpoint: shards that are missing or lie elsewhere are named" {
	cp -r "$GOLDENS/model/untied-sharded" shards
	cp "$TEACHER/tokenizer_config.json" shards/
	cp "$GOLDENS/tokenizer/tokenizer.json" shards/
	mv shards/model-00002-of-00003.safetensors away
	refused "shards/model-00002-of-00003.safetensors: No such file" shards
	cp shards/model-00001-of-00003.safetensors shards/model-00002-of-00003.safetensors
	refused "in two shards" shards
	mv away shards/model-00002-of-00003.safetensors
	jq '.weight_map["model.norm.weight"] = "model-00001-of-00003.safetensors"' shards/model.safetensors.index.json >index
	cp index shards/model.safetensors.index.json
	refused "tensor model.norm.weight: not in model-00001-of-00003.safetensors but in" shards
}

# The header of a Qwen2 checkpoint in bf16 with its data left out: jq --argjson c CONFIG
header='
def numel: reduce .[] as $d (1; . * $d);
($c.hidden_size / $c.num_attention_heads) as $d | ($c.num_key_value_heads * $d) as $kv | $c.hidden_size as $h | $c.intermediate_size as $f |
[{"model.embed_tokens.weight": [$c.vocab_size, $h]}, {"model.norm.weight": [$h]}, {"lm_head.weight": [$c.vocab_size, $h]},
 (range($c.num_hidden_layers) as $l |
  {"input_layernorm": [$h], "post_attention_layernorm": [$h], "self_attn.q_proj": [$h, $h], "self_attn.k_proj": [$kv, $h], "self_attn.v_proj": [$kv, $h],
   "self_attn.o_proj": [$h, $h], "mlp.gate_proj": [$f, $h], "mlp.up_proj": [$f, $h], "mlp.down_proj": [$h, $f]}
  | to_entries[] | {"model.layers.\($l).\(.key).weight": .value}),
 (range($c.num_hidden_layers) as $l | {"q": $h, "k": $kv, "v": $kv} | to_entries[] | {"model.layers.\($l).self_attn.\(.key)_proj.bias": [.value]})]
| reduce (map(to_entries[])[]) as $t ({at: 0, of: {}};
	(.at + 2 * ($t.value | numel)) as $to | .of[$t.key] = {dtype: "BF16", shape: $t.value, data_offsets: [.at, $to]} | .at = $to)'

# seven_billion DIR - as Qwen2.5-7B: 15 GB of zeros that take no room on disk
seven_billion() {
	mkdir "$1"
	cp "$GOLDENS/tokenizer-qwen/tokenizer.json" "$1"
	echo '{}' >"$1/tokenizer_config.json"
	jq -n '{architectures: ["Qwen2ForCausalLM"], hidden_size: 3584, num_hidden_layers: 28, num_attention_heads: 28, num_key_value_heads: 4,
		intermediate_size: 18944, vocab_size: 152064, max_position_embeddings: 32768, rope_theta: 1e6, rms_norm_eps: 1e-6}' >"$1/config.json"
	jq -n --slurpfile c "$1/config.json" "(\$c[0]) as \$c | $header" >layout
	jq -cj .of layout >text
	n=$(wc -c <text)
	{
		for shift in 0 8 16 24 32 40 48 56; do printf "\\x$(printf %x $((n >> shift & 255)))"; done
		cat text
	} >"$1/model.safetensors"
	truncate -s $((8 + n + $(jq .at layout))) "$1/model.safetensors"
}

resident() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status"; }

@test "checkpoint: one of 7 billion parameters is opened where it lies, without a copy" {
	seven_billion large
	[ "$(stat -c %s large/model.safetensors)" -gt 15000000000 ]
	sa-serve large --port 0 --template qwen2.5 --huge-pages off 2>log 3>&- &
	pid=$!
	wait_until 60 grep -q ready log
	[ "$(resident $pid)" -lt 500000 ] || { resident $pid | fail; }
	kill $pid && wait $pid || true
}

@test "checkpoint: one that the address space cannot hold is refused, in words" {
	! nm "$BUILD/sa-serve" | grep -q __asan_init || skip "the sanitizer takes the address space itself"
	! nm "$BUILD/sa-serve" | grep -q __tsan_init || skip "the sanitizer takes the address space itself"
	seven_billion large
	run sh -c 'ulimit -v 8000000; exec timeout 60 sa-serve large --port 0 --template qwen2.5'
	assert_failure 2
	assert_output --partial "large/model.safetensors: Cannot allocate memory"
	echo '{"prompt":"a","response":"b"}' >data
	run sh -c 'ulimit -v 16500000; exec timeout 60 sa-train --model large --template qwen2.5 --data data --out trained'
	assert_failure 4
	assert_output --partial "out of memory"
}

@test "checkpoint: a file that is cut off while it is served is named, and the server gone" {
	cp -r "$TEACHER" cut
	CK=cut name=cut
	start --huge-pages off
	complete '{prompt: "a", max_tokens: 2}'
	: >cut/model.safetensors
	http POST /v1/completions "$(request '{prompt: "a", max_tokens: 2}')" || true
	status=0
	wait "$pid" || status=$?
	pid=
	assert_equal "$status" 4
	assert_equal "$(tail -n 1 log)" "sa-serve: cut/model.safetensors: cut off while it was in use, or it cannot be read"
}

# KiB of the checkpoint's mapped file that are not in huge pages
mapped() {
	awk '/^[0-9a-f]+-/ { ours = /model\.safetensors/ } ours && /^Size:/ { sum += $2 } ours && /^FilePmdMapped:/ { sum -= $2 } END { print sum + 0 }' "/proc/$pid/smaps"
}

moved() { [ "$(mapped)" -lt 4300 ]; }	# but for what lies before the first and behind the last 2 MiB

@test "checkpoint: weights move to huge pages while they are served, and replies stay the same" {
	ask='{prompt: "The river", max_tokens: 40, logprobs: 3, temperature: 1, seed: 3}'
	start --huge-pages off
	complete "$ask"
	want=$(jq -c .choices <<<"$body")
	[ "$(mapped)" -gt 0 ]
	kill "$pid" && wait "$pid"
	rm log
	start --huge-pages on
	complete "$ask"
	assert_equal "$(jq -c .choices <<<"$body")" "$want"
	# Where the kernel gives none, or /sys is not there to say so, they stay.
	if ! grep -qvF '[never]' /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null; then
		[ "$(mapped)" -gt 4300 ]
	else
		wait_until 20 moved
	fi
	complete "$ask"
	assert_equal "$(jq -c .choices <<<"$body")" "$want"
}
