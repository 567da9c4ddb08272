#!/usr/bin/env bats
# The bundled models' recipe: what they are measured on was never in what they learned, and the recipe repeats.
load lib
bats_require_minimum_version 1.5.0

corpus() { (cd "$ROOT" && nano-corpus "$@"); }
# The prompts inside the training samples, as text: every message and plain text, one a line.
said() { jq -r '.text // (.messages[] | .content)' "$@"; }

@test "nano: the corpus is the same for the same seed and another for another" {
	for set in labels scores teacher writing practice review variety student manners prompts general newsafety held held-pair held-one; do
		corpus --set $set -n 50 --seed 3 >a
		corpus --set $set -n 50 --seed 3 >b
		corpus --set $set -n 50 --seed 4 >c
		cmp a b
		! cmp -s a c
	done
}

@test "nano: no held pattern and no held wish is ever in a corpus" {
	corpus --set held -n 2000 --seed 5 | jq -r .prompt | sort -u >held
	corpus --set newsafety -n 2000 --seed 6 | jq -r .prompt | sort -u >>held
	for set in labels scores teacher writing practice review variety student manners; do corpus --set $set -n 3000 --seed 1; done | said >corpus
	corpus --set prompts -n 400 | jq -r '.prompt, .response // empty' >>corpus
	corpus --set general -n 400 | jq -r '.instruction, .output' >>corpus
	[ "$(wc -l <held)" -gt 1000 ]
	run -1 grep -cFf held corpus
	# The wishes too, wherever they stand: a held verb with its held object.
	corpus --set held-wishes | jq -r .wish >wishes
	[ "$(wc -l <wishes)" -gt 200 ]
	run -1 grep -cFf wishes corpus
}

@test "nano: the held prompts are the bundled samples' kind but not in them" {
	jq -r .prompt "$ROOT/pipelines/nano/samples/prompts.ndjson" | sort -u >samples
	jq -r .instruction "$ROOT/pipelines/nano/samples/general.ndjson" | sort -u >>samples
	jq -r .prompt "$ROOT/pipelines/nano/samples/newsafety.ndjson" | sort -u >held
	run -1 grep -cxFf samples held
}

@test "nano: the bundled samples have every category in both languages" {
	jq -s -e 'length == 320 and (map(.lang) | unique == ["en","zh"]) and all(.prompt | length > 0)' "$ROOT/pipelines/nano/samples/prompts.ndjson"
	jq -s -e 'group_by(.category) | length == 15 and all(.[]; length >= 10)' "$ROOT/pipelines/nano/samples/newsafety.ndjson"
	jq -s -e 'length == 200 and all(.output | length > 0)' "$ROOT/pipelines/nano/samples/general.ndjson"
}

@test "nano: the bundled samples are what train.sh makes" {
	grep '^nano-corpus .*samples/' "$ROOT/pipelines/nano/train.sh" >lines
	[ "$(wc -l <lines)" = 3 ]
	mkdir samples
	(cd "$ROOT" && out=$BATS_TEST_TMPDIR sh -e "$BATS_TEST_TMPDIR/lines")
	diff -r samples "$ROOT/pipelines/nano/samples"
}

@test "nano: the stages' prompt files are what the teacher learns" {
	corpus --set teacher -n 300 | jq -r '.messages[]? | select(.role == "system") | .content' | sort -u >learned
	for f in intent judge-pair judge-one judge-prompt regen expand-keyword; do
		sed -n '/^--- system/{n;p;}' "$ROOT/filters/prompts/$f.txt" | sed 's/{lang}/English/' >first
		grep -qFf first learned
	done
}

@test "nano: an unreadable bank or a wrong set is refused" {
	run -2 nano-corpus --bank /nonexistent --set teacher
	assert_output --partial "/nonexistent"
	run -2 nano-corpus --set nothing
}

@test "nano: both bundled models load and answer" {
	for model in teacher student; do
		[ -f "$ROOT/pipelines/nano/$model/model.safetensors" ]
		[ "$(du -sk "$ROOT/pipelines/nano/$model" | cut -f1)" -le 8192 ]
		given '{"prompt":"How do I bake fresh bread?"}'
		run_filter sa-ppl -e "local:$ROOT/pipelines/nano/$model"
		expect_status 0
		jq -e '.ppl > 1 and .ppl < 200' output
	done
}
