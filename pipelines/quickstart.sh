#!/bin/sh
# quickstart.sh [--no-install] [-e ENDPOINT -m MODEL] [--cache DIR] [-o DIR] [file ...] - the main job, from raw prompts to a report
#
# Installs what is missing, builds, and then: attack prompts -> fine-tuning set -> fine-tuned student -> before/after report in DIR (work/quickstart).
#   -e, -m   the model that labels, writes, answers and judges (default: the bundled teacher; a real one: -e https://host/v1 -m NAME,
#            key in OPENAI_API_KEY)
#   --cache  keep what the model replies there: another run, or one after an interruption, asks only for what is new
#   file     prompts of any known shape (import.sh: Safety-Prompts, CValues, SafetyBench, alpaca, records, text; default: the bundled samples)
# Exit status: 0, or that of the first stage that could not do its work.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
nano=$top/pipelines/nano
endpoint=local:$nano/teacher model= cache= run=$top/work/quickstart install=

while [ $# -gt 0 ]; do
	case $1 in
	--no-install) install=--no-install; shift ;;
	-e)	endpoint=$2; shift 2 ;;
	-m)	model=$2; shift 2 ;;
	--cache) cache=$2; shift 2 ;;
	-o)	run=$2; shift 2 ;;
	-h|--help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
	-*)	echo "quickstart.sh: unknown option $1 (try --help)" >&2; exit 2 ;;
	*)	break ;;
	esac
done
[ $# -gt 0 ] || set -- "$nano/samples/prompts.ndjson"

sh "$top/pipelines/install.sh" $install
make -s -C "$top" -j"$(nproc)" all
PATH=$top/build:$PATH
rm -rf "$run"
mkdir -p "$run/stats"

say() { printf '== %s\n' "$*" >&2; }

# One stage of the pipe: N PROGRAM [option ...]. Its counts go to stats/N-PROGRAM.json; a status above 1 (1: some records failed, they are counted) is kept.
stage() {
	n=$1 program=$2
	shift 2
	"$program" --stats "$run/stats/$n-$program.json" "$@" || { s=$?; [ $s -eq 1 ] || echo "$program $s" >>"$run/broken"; }
}
import() { sh "$top/pipelines/import.sh" "$@" || echo "import.sh $?" >>"$run/broken"; }
# A stage that asks the model.
ask() { n=$1 program=$2; shift 2; stage "$n" "$program" -e "$endpoint" ${model:+-m "$model"} ${cache:+--cache "$cache"} --seed 1 "$@"; }

say "prompts to fine-tuning set"
import "$@" |
	ask 1 sa-intent |
	ask 2 sa-expand --factor 1.2 |
	ask 3 sa-intent |
	ask 4 sa-regen |
	ask 5 sa-ppl |
	ask 6 sa-judge |
	tee "$run/judged.ndjson" |
	stage 7 sa-pick --general "$nano/samples/general.ndjson" --general-n 120 >"$run/sft.jsonl"
if [ -s "$run/broken" ]; then
	sed 's/^\([^ ]*\) \(.*\)/quickstart.sh: \1 ended with status \2/' "$run/broken" >&2
	exit "$(sed -n '1s/.* //p' "$run/broken")"
fi
say "$(wc -l <"$run/sft.jsonl") samples in $run/sft.jsonl"

say "fine-tuning the student"
sa-train --model "$nano/student" --data "$run/sft.jsonl" --out "$run/train" --lr 2e-4 --epochs 3 --batch 8 --accum 1 --seed 1

evaluate() {
	say "New-Safety, $1"
	sa-eval newsafety -e "local:$2" --data "$nano/samples/newsafety.ndjson" --judge-endpoint "$endpoint" ${model:+--judge-model "$model"} ${cache:+--cache "$cache"} \
		--out "$run/eval/newsafety-$1"
}
evaluate before "$nano/student"
evaluate after "$run/train"
sa-eval compare --out "$run/eval/newsafety-after" "$run/eval/newsafety-before" "$run/eval/newsafety-after" >/dev/null	# for the report

sa-report "$run" >"$run/report.html"
say "report: $run/report.html"
