#!/bin/sh
# train.sh [DIR] - train the two bundled models from nothing into DIR/teacher and DIR/student (default: this folder; `make nano`);
# also makes the sample inputs, DIR/samples
#
# Corpora from the banks, a vocabulary learned on all of them, then sa-train: the teacher in seven lessons (nano-corpus says why), the student
# in two. All seeds are fixed and every operation adds in a fixed order, so the same machine type gives the same bytes; the checksums are
# printed at the end. Work files and logs stay in work/nano.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top"
here=pipelines/nano
out=${1:-$here}
work=work/nano
PATH=$top/build:$PATH
mkdir -p "$work" "$out/samples"

nano-corpus --set prompts -n 320 --seed 20 >"$out/samples/prompts.ndjson"
nano-corpus --set general -n 200 --seed 21 >"$out/samples/general.ndjson"
nano-corpus --set newsafety -n 200 --seed 22 >"$out/samples/newsafety.ndjson"
nano-corpus --set labels -n 2600 --seed 16 >"$work/labels.ndjson"
nano-corpus --set scores -n 4500 --seed 17 >"$work/scores.ndjson"
nano-corpus --set teacher -n 11000 --seed 18 >"$work/teacher.ndjson"
nano-corpus --set writing -n 16000 --seed 19 >"$work/writing.ndjson"
nano-corpus --set practice -n 12000 --seed 20 >"$work/practice.ndjson"
nano-corpus --set review -n 15000 --seed 23 >"$work/review.ndjson"
nano-corpus --set variety -n 10000 --seed 25 >"$work/variety.ndjson"
nano-corpus --set student -n 9000 --seed 19 >"$work/student.ndjson"
nano-corpus --set manners -n 10000 --seed 24 >"$work/manners.ndjson"
cat "$work/scores.ndjson" "$work/teacher.ndjson" "$work/student.ndjson" | nano-bpe --vocab 4096 --out "$work/tokenizer"

# lesson NAME OPTION...: one pass over NAME's corpus, into work/nano/NAME
lesson() {
	name=$1
	shift
	rm -rf "$work/$name"
	sa-train --data "$work/$name.ndjson" --out "$work/$name" --warmup-ratio 0.05 --epochs 1 --batch 10 --accum 1 --beta2 0.98 --seed 1 "$@"
}
lesson labels --init $here/config.json --tokenizer "$work/tokenizer" --lr 1.2e-3 --schedule constant
lesson scores --model "$work/labels" --lr 1.2e-3 --schedule constant
lesson teacher --model "$work/scores" --lr 1.2e-3
lesson writing --model "$work/teacher" --lr 1.2e-3 --schedule constant
lesson practice --model "$work/writing" --lr 1.2e-3
lesson review --model "$work/practice" --lr 1e-3
lesson variety --model "$work/review" --lr 1e-3
lesson student --init $here/config.json --tokenizer "$work/tokenizer" --lr 1.2e-3
lesson manners --model "$work/student" --lr 1e-3

# keep LESSON MODEL: what a lesson ended with becomes a bundled model.
keep() {
	mkdir -p "$out/$2"
	cp "$work/$1/model.safetensors" "$work/tokenizer/tokenizer.json" "$work/tokenizer/tokenizer_config.json" "$out/$2/"
	cp $here/config.json $here/generation_config.json "$out/$2/"
}
keep variety teacher
keep manners student
sha256sum "$out"/teacher/* "$out"/student/*
