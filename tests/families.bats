# families.bats - Qwen2.5 and Qwen3 checkpoints from beginning to end: made, fine-tuned, written back and served

load lib

setup() {
	sa_setup
	mkdir tok
	cp "$ROOT/tests/goldens/tokenizer-qwen/tokenizer.json" tok
	jq -nc 'range(16) | . as $i | {messages: [{role: "user", content: "What is number \($i)?"}, {role: "assistant", content: "Number \($i) is red."}]}' >data
}

# checkpoint ARCH TEMPLATE MEMBERS - a new model of a few thousand parameters, in base/
checkpoint() {
	cp "$ROOT/tests/goldens/template/$2/chat_template.jinja" tok
	jq -n --arg arch "$1" "{architectures: [\$arch], hidden_act: \"silu\", hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 4,
		num_key_value_heads: 2, intermediate_size: 48, vocab_size: 640, max_position_embeddings: 256, rms_norm_eps: 1e-6, initializer_range: 0.1,
		tie_word_embeddings: true, dtype: \"bfloat16\", eos_token_id: 635, use_sliding_window: false} + $3" >new.json
	run_filter sa-train --init new.json --tokenizer tok --data data --out base --lr 5e-3 --batch 4 --accum 1 --max-steps 2 --threads 1
	expect_status 0
}

# The names of a checkpoint's tensors, with shapes.
tensors() {
	head -c "$((8 + $(od -An -tu8 -N8 "$1/model.safetensors")))" "$1/model.safetensors" | tail -c +9 |
		jq -c 'to_entries[] | select(.key != "__metadata__") | [.key, .value.dtype, .value.shape]' | sort
}

losses() { jq -s "[.[$1:$2][].loss] | add / length" tuned/log.jsonl; }

fine_tune() {
	run_filter sa-train --model base --data data --out tuned --lr 1e-2 --batch 4 --accum 1 --epochs 40 --threads 1
	expect_status 0
	expect_stderr_has "16 samples, " "; 0 dropped, 0 cut"
	jq -en "$(losses -4 160) < $(losses 0 4) / 4" >/dev/null || losses -4 160 | fail
	tensors base >want
	tensors tuned >got
	cmp want got
	for f in config.json tokenizer.json chat_template.jinja; do cmp "base/$f" "tuned/$f"; done
}

# ask - what the fine-tuned model says of number 7
ask() {
	: >log
	sa-serve tuned --port 0 --threads 1 >serve 2>log 3>&- &
	wait_until 60 grep -q ready log
	curl -s "$(sed -n 's/.* ready on \(http:[^ ]*\).*/\1/p' log)/chat/completions" -H 'Content-Type: application/json' -d "{\"model\": \"tuned\",
		\"temperature\": 0, \"max_tokens\": 60, \"messages\": [{\"role\": \"user\", \"content\": \"What is number 7?\"}]}" |
		jq -r '.choices[0] | .finish_reason, .message.content'
}

@test "families: Qwen2.5 is fine-tuned with its biases, written back whole, and served" {
	checkpoint Qwen2ForCausalLM qwen2.5 '{rope_theta: 1000000, sliding_window: 131072, max_window_layers: 28}'
	fine_tune
	assert_equal "$(grep -c '_proj.bias' got)" 6
	assert_equal "$(ask)" "$(printf 'stop\nNumber 7 is red.')"
}

@test "families: Qwen3 is fine-tuned with its norms, written back whole, and served" {
	checkpoint Qwen3ForCausalLM qwen3 '{head_dim: 16, rope_parameters: {rope_type: "default", rope_theta: 1000000}, attention_bias: false}'
	fine_tune
	assert_equal "$(grep -c 'self_attn.[qk]_norm.weight' got)" 4
	grep -qF '["model.layers.0.self_attn.q_proj.weight","BF16",[64,32]]' got
	run ask
	assert_line --index 0 stop
	assert_line --partial 'Number 7 is red.'
}
