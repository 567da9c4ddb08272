#!/bin/sh
# soak.sh [BUILD] - `make soak`: 200,000 records at -j 256 past a server that meets one request in twenty with each of fourteen faults
#
# What goes in comes out, in order and done; the filter neither grows nor keeps descriptors; nothing is asked again that was answered well.
# RECORDS=N and JOBS=N change the size. Prints a line of figures; status 1 when something is wrong, or when it took more than three minutes.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${1:-build}
records=${RECORDS:-200000} jobs=${JOBS:-256}
tmp=$(mktemp -d) || exit 1
server= filter=
trap 'kill $server $filter 2>/dev/null; rm -rf "$tmp"' EXIT

# Each fault meets 5% of the records at their first attempt; 30% meet none.
cat >"$tmp/script" <<'END'
mix 5% first 1 status 429 retry-after-ms 20 | 5% first 1 status 500 | 5% first 1 status 503 retry-after 0 | 5% first 1 cut | 5% first 1 cut-reset | 5% first 1 close | 5% first 1 reset | 5% first 1 garbage | 5% first 1 half x | 5% first 1 noise | 5% first 1 bad-chunks echo | 5% first 1 claim +9 echo | 5% first 1 delay 50-200 echo | 5% first 1 hang | then-close echo
END
seq -f '{"id":"%.0f","prompt":"a harmless question and its number"}' "$records" |
	awk '{ sub(/number/, "number " NR); print }' >"$tmp/in"
"$build/fault" --script "$tmp/script" --ready "$tmp/ready" &
server=$!
while [ ! -s "$tmp/ready" ]; do sleep 0.05; done

figures() { # open descriptors and resident kB of the filter
	echo "$(ls "/proc/$1/fd" 2>/dev/null | wc -l) $(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status" 2>/dev/null)"
}

start=$(date +%s)
"$build/sa-ppl" -e "$(cat "$tmp/ready")" -m m -j "$jobs" --timeout 1 --stats "$tmp/stats" <"$tmp/in" >"$tmp/out" 2>"$tmp/err" &
filter=$!
early= late= most=0
while kill -0 $filter 2>/dev/null; do
	now=$(figures $filter)
	[ "$(wc -l <"$tmp/out")" -lt $((records / 5)) ] || early=${early:-$now}
	[ "$(wc -l <"$tmp/out")" -lt $((records * 4 / 5)) ] || late=${late:-$now}
	sleep 0.5
done
wait $filter
status=$?
filter=
seconds=$(($(date +%s) - start))
peer=$(cat "$tmp/ready")
count=$(curl -s "${peer%/v1}/count")

wrong=0
say() { echo "soak: $*" >&2; wrong=1; }
[ $status = 0 ] || say "exit status $status: $(tail -n 3 "$tmp/err")"
jq -r .id "$tmp/out" | cmp -s - - <<END2 || say "the output is not the input's records in order"
$(jq -r .id "$tmp/in")
END2
[ "$(jq -c 'has("ppl") and (has("sa_error") | not)' "$tmp/out" | sort -u)" = true ] || say "some records are not done"
jq -e '.in == .out and .failed == 0' "$tmp/stats" >/dev/null || say "the sums do not agree: $(cat "$tmp/stats")"
[ "$(echo "$count" | jq .paid_again)" = 0 ] || say "$(echo "$count" | jq .paid_again) replies were paid for twice"
set -- ${early:-0 0} ${late:-0 0}
[ "$3" -le $(($1 + jobs)) ] || say "descriptors grew from $1 to $3"
[ "$4" -le $(($2 * 5 / 4)) ] || say "memory grew from $2 to $4 kB"
[ "$seconds" -le 180 ] || say "it took $seconds seconds"
echo "soak: $records records, $(jq .requests "$tmp/stats") requests, $seconds s; descriptors $1 then $3, resident $2 kB then $4 kB;" \
	"p99 $(jq .p99 "$tmp/stats") s, concurrency $(jq .concurrency "$tmp/stats") at the end"
exit $wrong
