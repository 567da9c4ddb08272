#!/bin/sh
# run.sh BUILD [MOST [FILTER]] - torture every filter of BUILD: three records, and one call after another fails (torture.c, fail.c)
#
# MOST runs a filter and way of failing at most (default 1500; a filter that talks to a server makes some 4000 allocations), spread over all calls.
# Prints a line of figures for each, and before it what was wrong; status 1 when something was.
cd "$(dirname "$0")/../.." || exit 2
[ -x "$1/torture" ] || { echo "usage: run.sh BUILD [MOST [FILTER]]" >&2; exit 2; }
BUILD=$(cd "$1" && pwd)
MOST=${2:-1500}
ONLY=$3
for v in $(env | sed -n 's/^\(\(SA\|OPENAI\)_[A-Z_]*\)=.*/\1/p'); do
	unset "$v"
done
tmp=$(mktemp -d "${TMPDIR:-/tmp}/sa-torture.XXXXXX") || exit 2
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
status=0

export XDG_RUNTIME_DIR="$tmp/run"
mkdir -m 700 "$tmp/run"

# all_ways LABEL NAME OPTION... - the filter, with each way of failing
all_ways() {
	label=$1 name=$2
	shift 2
	for mode in memory files short eintr; do
		"$BUILD/torture" --mode $mode --most "$MOST" --label "$label" --fresh "$tmp/fresh" --shim "$BUILD/fail.so" --input "$tmp/input" -- \
			"$BUILD/$name" "$@" || status=1
	done
}

# torture LABEL ACTION OPTION... - the filter that the label's first word names, against a fault server (tests/fault/fault.c) that answers everything by
# that action; without one when ACTION is empty
torture() {
	label=$1 name=${1%% *} action=$2
	shift 2
	[ -z "$ONLY" ] || [ "$ONLY" = "$name" ] || return 0
	if [ -z "$action" ]; then
		all_ways "$label" "$name" --stats "$tmp/stats" "$@"
		return
	fi
	printf '%s\n' "$action" >"$tmp/script"
	rm -f "$tmp/ready"
	"$BUILD/fault" --script "$tmp/script" --log "$tmp/log" --ready "$tmp/ready" &
	server=$!
	until [ -s "$tmp/ready" ]; do
		kill -0 $server || { server=; exit 2; }
		sleep 0.05
	done
	all_ways "$label" "$name" -e "$(cat "$tmp/ready")" -m fault -j 2 --retries 0 --stats "$tmp/stats" "$@"
	kill $server
	wait $server 2>/dev/null
	server=
}

# Options whose files are in $tmp/fresh begin anew with every run.
cat >"$tmp/input" <<END
{"prompt":"a b"}
{"prompt":"你好","x":1.50}
{"prompt":"c","category":"EM","intents":["ethics"]}
END
torture sa-intent 'ok bias, fraud'
cat >"$tmp/input" <<END
{"prompt":"a b","category":"EM"}
{"prompt":"你好","category":"PP"}
{"prompt":"c","category":"none"}
END
torture sa-expand 'ok How do plants grow in spring?' --per-category 1 --tries 1
cat >"$tmp/input" <<END
{"prompt":"a b","response":"x"}
{"prompt":"你好"}
{"prompt":"c","responses":[{"text":"y","by":"original"}]}
END
torture 'sa-regen --failed' 'ok Analysis: a\nAnswer: b' --failed "$tmp/failed"
cat >"$tmp/input" <<END
{"prompt":"a b"}
{"prompt":"你 好"}
{"prompt":"c d e","ppl":1.50}
END
torture 'sa-ppl --rpm' echo --rpm 1000000 --tpm 1000000000
cat >"$tmp/input" <<END
{"prompt":"a b","response":"x"}
{"prompt":"你好","response":"y"}
{"prompt":"c","responses":[{"text":"z"}]}
END
torture sa-judge 'ok [0.5]'
torture 'sa-judge --cache' 'ok [0.5]' --cache "$tmp/fresh"
torture 'sa-judge --batch-out' '' -m fault --batch-out "$tmp/requests"
if [ -s "$tmp/requests" ]; then
	"$BUILD/sa-judge" -m fault --batch-out "$tmp/requests" <"$tmp/input" >/dev/null || exit 2
	jq -c '{custom_id, response: {status_code: 200, body: {choices: [{message: {content: "[0.5]"}, finish_reason: "stop"}]}}}' "$tmp/requests" >"$tmp/results"
	torture 'sa-judge --batch-in' '' -m fault --batch-in "$tmp/results"
fi
printf '[{"instruction":"i","input":"x","output":"o"},\n{"instruction":"j","output":"p"}]' >"$tmp/general"
cat >"$tmp/input" <<END
{"prompt":"a b","ppl":2.5,"prompt_safety":0.1,"responses":[{"text":"x","by":"original","safety":0.2},{"text":"y","by":"m","safety":0.95}]}
{"prompt":"你好","ppl":3.5,"prompt_safety":0.2,"responses":[{"text":"z","safety":1}]}
{"prompt":"c","ppl":1e2,"prompt_safety":0.9,"responses":[]}
END
torture sa-pick '' --general "$tmp/general" --general-n 2
exit $status
