# plan.bats - sa-train --plan: what a run needs, said without running it, and true on the CPU

load lib

setup() {
	sa_setup
	T=$ROOT/tests/goldens/train
	jq '.hidden_size = 256 | .num_hidden_layers = 8 | .num_attention_heads = 4 | .num_key_value_heads = 2 | .head_dim = 64 | .intermediate_size = 1024 |
		.max_position_embeddings = 2048' "$T/tiny/config.json" >shape.json
}

together() { awk '/^together/ { print $2 }' output; }

@test "plan: on the CPU a run takes what was planned, within 3%" {
	if nm "$BUILD/sa-train" | grep -qE '__[at]san_init'; then skip "a sanitizer has memory of its own"; fi
	needs bench-timed
	jq -nc '[range(400)] | {text: map("The cat number \(.) is red.") | join(" ")}' >line
	cat line line >data.jsonl
	for again in none norms blocks; do
		run_filter sa-train --plan --init shape.json --cutoff 512 --batch 2 --threads 2 --recompute $again
		expect_status 0
		bench-timed took-$again.json sa-train --init shape.json --model "$T/tiny" --data data.jsonl --cutoff 512 --batch 2 --accum 1 --threads 2 --max-steps 1 --out $again \
			--recompute $again 2>log
		planned=$(together) jq -e '(.rss / 1048576) as $is | (env.planned | tonumber) as $was | ($is - $was | fabs) <= 0.03 * $was' took-$again.json ||
			{ cat output took-$again.json log; false; }
	done
	cmp none/model.safetensors norms/model.safetensors
	cmp none/model.safetensors blocks/model.safetensors
}

@test "plan: on the CPU the memory that there is chooses what is made again" {
	jq '.max_position_embeddings = 8192' shape.json >long.json
	for choice in "4GiB all activations are kept" "1.3GiB norms and SwiGLU are made again" "1GiB only a block's input is kept"; do
		run_filter sa-train --plan --init long.json --device "cpu:${choice%% *}" --cutoff 8192 --batch 1 --threads 1
		expect_status 0
		grep -q "${choice#* }" output || { cat output; false; }
	done
	run_filter sa-train --plan --init long.json --device cpu:0.1GiB --cutoff 8192
	expect_status 2
}

@test "plan: a card's memory chooses what is kept, or says what would fit" {
	jq '.max_position_embeddings = 8192' shape.json >long.json
	run_filter sa-train --plan --init long.json --device cuda:h100 --cutoff 8192 --batch 8
	expect_status 0
	grep -q 'all activations are kept$' output
	grep -qE '^expected: [0-9]+ tokens/s, [0-9.]+% MFU of 989.4 TFLOP/s, the datasheet of the H100 SXM; computed, not measured$' output
	run_filter sa-train --plan --init long.json --device cuda:h100 --cutoff 8192 --batch 8 --ranks 4
	expect_status 0
	grep -qE '^gradients to and from the others +[0-9.]+ +[0-9.]+   and [0-9.]+ during the backward$' output
	grep -qE '^expected: [0-9]+ tokens/s a rank, ' output
	run_filter sa-train --plan --init long.json --device cuda:24GiB --ranks 4
	expect_status 0
	grep -qE '^[0-9.]+ GB of gradients and [0-9.]+ GB of weights go each way between 4 cards; the time that takes is not counted$' output
	run_filter sa-train --plan --init long.json --device cuda:5GiB --cutoff 8192 --batch 8
	expect_status 0
	grep -q 'norms and SwiGLU are made again in the backward$' output
	run_filter sa-train --plan --init long.json --device cuda:2.5GiB --cutoff 8192 --batch 8
	expect_status 0
	grep -q "only a block's input is kept, all else made again\$" output
	grep -q 'the time is not known without --peak' output
	run_filter sa-train --plan --init long.json --device cuda:0.8GiB --cutoff 8192 --batch 8
	expect_status 2
	most=$(sed -n 's/^\([0-9]*\) tokens a micro-batch would fit.*/\1/p' output)
	run_filter sa-train --plan --init long.json --device cuda:0.8GiB --cutoff "$most" --batch 1
	expect_status 0
	run_filter sa-train --plan --init long.json --device cuda:0.8GiB --cutoff $((most + 1)) --batch 1
	expect_status 2
	run_filter sa-train --plan --init long.json --device cuda:0.7GiB
	expect_status 2
	grep -q 'train a part (--freeze), or adapters (--lora)' output
	# 8 billion parameters: weights and gradients are on each card, moments are divided.
	jq '.hidden_size = 4096 | .num_hidden_layers = 32 | .num_attention_heads = 32 | .num_key_value_heads = 8 | .head_dim = 128 | .intermediate_size = 14336 |
		.vocab_size = 128256 | .tie_word_embeddings = false' long.json >large.json
	run_filter sa-train --plan --init large.json --device cuda:80GiB
	expect_status 2
	grep -qx 'it would fit on 4 such cards (--ranks 4)' output
	run_filter sa-train --plan --init large.json --device cuda:80GiB --ranks 4
	expect_status 0
}

@test "plan: frozen tensors and adapters are counted" {
	run_filter sa-train --plan --init shape.json --freeze '*'
	expect_status 2
	expect_stderr_has "nothing is left to train"
	run_filter sa-train --plan --init shape.json --freeze 'model.embed*'
	expect_status 0
	all=$(jq -n '320 * 256') free=$(awk 'NR == 1 { print $1 - $3 }' output)
	assert_equal "$free" "$all"
	sa-train --init shape.json --model "$T/tiny" --data "$T/data.jsonl" --lr 0 --max-steps 1 --accum 1 --out base 2>log
	run_filter sa-train --plan --model base --lora 8:16:q,v
	expect_status 0
	assert_equal "$(awk 'NR == 1 { print $3 }' output)" $((8 * 8 * (256 + 256 + 256 + 128)))
	grep -q "products of adapters" output
	jq '.num_hidden_layers = 200' base/config.json >log && cp log base/config.json
	for rank in 8 1; do	# rows of both are of 8 on a card
		run_filter sa-train --plan --model base --device cuda:24GiB --lora $rank:16:all
		expect_status 0
		grep -E '^(gradients, float|first moments, float) ' output
	done | awk '{ print $(NF - 1) }' | sort -u >sizes
	assert_equal "$(cat sizes)" "$(sa-train --plan --model base --lora 8:16:all | awk 'NR == 1 { printf "%.3f", $3 * 4 / 2 ^ 30 }')"
}

@test "plan: no such device" {
	run_filter sa-train --plan --init shape.json --device tpu
	expect_status 2
	expect_stderr_has "--device tpu"
}
