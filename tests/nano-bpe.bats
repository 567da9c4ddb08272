#!/usr/bin/env bats
# nano-bpe: learning a vocabulary from records

load lib

corpus() {
	for word in wander wonder wander hinder; do
		printf '{"prompt":"a %s, 天气 %s","response":"%s! %s"}\n{"text":"%s"}\n' $word $word $word $word $word
		printf '{"messages":[{"role":"system","content":"%s"}],"other":"zzzzzzzz zzzzzzzz"}\n' $word
	done
}

@test "nano-bpe: bytes, then merges by frequency, then the special tokens, as many as asked for" {
	corpus >input
	run_filter nano-bpe --vocab 290 --out v
	expect_status 0
	expect_output
	run jq -r '[(.model.vocab | length), (.model.merges | length), (.added_tokens | length), .added_tokens[-1].id, .model.merges[0]] | @tsv' v/tokenizer.json
	assert_output "$(printf '284\t28\t6\t289\te r')"
	run jq -r '[.chat_template | contains("<|start_header_id|>")] | @tsv' v/tokenizer_config.json
	assert_output true
}

@test "nano-bpe: every id below the first special token is a token's, once" {
	corpus >input
	run_filter nano-bpe --vocab 290 --out v
	run jq -c '[.model.vocab[]] == [range(284)]' v/tokenizer.json
	assert_output true
}

@test "nano-bpe: members that no model sees are not learned from" {
	corpus >input
	run_filter nano-bpe --vocab 290 --out v
	run jq -c '[.model.vocab | keys[] | select(test("zz"))]' v/tokenizer.json
	assert_output '[]'
}

@test "nano-bpe: the same text gives the same bytes, from files as from standard input" {
	corpus >input
	run_filter nano-bpe --vocab 290 --out v
	head -n 7 input >one
	tail -n +8 input >two
	: >input
	run_filter nano-bpe --vocab 290 --out w one two
	expect_status 0
	diff -r v w
}

@test "nano-bpe: text that cannot fill the vocabulary says how far it goes" {
	given '{"text":"ab ab"}'
	run_filter nano-bpe --vocab 4096 --out v
	expect_status 1
	expect_stderr_has "nano-bpe: the text gives only 258 tokens; ask for --vocab 264 or give more text"
	[ ! -e v/tokenizer.json ]
}

@test "nano-bpe: a line that is no object is named, and no vocabulary is written" {
	given '{"text":"ab ab"}' 'ab ab'
	run_filter nano-bpe --vocab 262 --out v
	expect_status 1
	expect_stderr_has "nano-bpe: stdin:2: not a JSON object"
	[ ! -e v/tokenizer.json ]
}

@test "nano-bpe: a full disk is an error" {
	given '{"text":"ab ab"}'
	mkdir v
	ln -s /dev/full v/tokenizer.json
	run_filter nano-bpe --vocab 262 --out v
	expect_status 4
	expect_stderr_has "nano-bpe: v/tokenizer.json: No space left on device"
}
