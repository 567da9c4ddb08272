#!/bin/sh
# train.sh [DIR] - train the two bundled models from nothing into DIR/teacher and DIR/student (default: this folder; `make nano`);
# also makes the sample inputs, DIR/samples
#
# Corpora from the banks, a vocabulary learned on both, then one pass of sa-train for each model. All seeds are fixed and every operation adds in a
# fixed order, so the same machine type gives the same bytes; the checksums are printed at the end. Work files and logs stay in work/nano.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top"
here=pipelines/nano
out=${1:-$here}
work=work/nano
PATH=$top/build:$PATH
mkdir -p "$work"

mkdir -p "$out/samples"
nano-corpus --set prompts -n 320 >"$out/samples/prompts.ndjson"
nano-corpus --set general -n 200 >"$out/samples/general.ndjson"
nano-corpus --set newsafety -n 200 >"$out/samples/newsafety.ndjson"
nano-corpus --set teacher -n 18000 --seed 1 >"$work/teacher.ndjson"
nano-corpus --set student -n 9000 --seed 2 >"$work/student.ndjson"
cat "$work/teacher.ndjson" "$work/student.ndjson" | nano-bpe --vocab 4096 --out "$work/tokenizer"

train() {
	rm -rf "$work/$1"
	sa-train --init $here/config.json --tokenizer "$work/tokenizer" --data "$work/$1.ndjson" --out "$work/$1" \
		--lr 3e-3 --warmup-ratio 0.03 --epochs 1 --batch 10 --accum 1 --beta2 0.98 --seed 1 --save-every 500 --keep 1
	mkdir -p "$out/$1"
	cp "$work/$1/model.safetensors" "$work/tokenizer/tokenizer.json" "$work/tokenizer/tokenizer_config.json" "$out/$1/"
	cp $here/config.json "$out/$1/config.json"
	cp $here/generation_config.json "$out/$1/generation_config.json"
}
train teacher
train student
sha256sum "$out"/teacher/* "$out"/student/*
