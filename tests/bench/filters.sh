#!/bin/sh
# filters.sh BUILD OUT.md - how fast the filters are beside their peers, as a table in OUT.md (`make bench`)
#
# All measurements of a table are of one run, the repeats of the clients interleaved; a peer that is not installed is left out, and the table
# says so. tests/bench/setup.sh installs the Python ones. About 15 minutes; the machine should be quiet. Each single measurement is left in
# BUILD/bench-results.ndjson.
#
#     BENCH_PYTHON="P1 P2"   Python interpreters to look for the peers in (default: those that setup.sh made, then python3)
#     BENCH_ONLY=REGEX       only the clients and tools whose name matches (default: all)
#     REPEATS=3              of each measurement; the table shows the median, the least and the most
#     SECS=3                 that each measurement of requests is to run
#     CORE=N                 the core of what is measured on one core (default: the last)
#     QUICK=1                no figures, only whether everything works: our filters, wrk and what is installed of jq and Miller, a second or two
set -eu
build=$(cd "$1" && pwd)
out=$2
cd "$(dirname "$0")"
case $out in /*) ;; *) out=$OLDPWD/$out ;; esac
repeats=${REPEATS:-3} secs=${SECS:-3} only=${BENCH_ONLY:-.} quick=${QUICK:-}
core=${CORE:-$(($(nproc) - 1))}
pythons=${BENCH_PYTHON:-"$(echo "$build"/bench-venv-*/bin/python) python3"}
! [ "$quick" ] || repeats=1 pythons=

PATH=$build:$PATH
unset OPENAI_API_KEY OPENAI_BASE_URL http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
ulimit -n "$(ulimit -Hn)"	# 1,024 connections and a few files more
BENCH_TMP=$(mktemp -d "${TMPDIR:-/tmp}/sa-bench.XXXXXX")
export BENCH_TMP
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$BENCH_TMP"' EXIT
trap 'exit 130' INT TERM
t=$BENCH_TMP
: >"$t/results"

say() { echo "bench: $*" >&2; }
wanted() { echo "$1" | grep -Eq "$only"; }
load() { cut -d' ' -f1 /proc/loadavg; }

# ---- what there is ----

: >"$t/missing"
left_out() {
	say "$1: not installed, left out"
	echo "$1" >>"$t/missing"
}

# python_of CLIENT - the interpreter with the newest of what it needs; the first of several
python_of() {
	for p in $pythons; do
		! version=$("$p" clients.py have "$1" 2>/dev/null) || echo "$version $p"
	done | sort -s -V -r -k 2,2 | sed -n '1s/.* //p' | grep .
}

# have NAME - sets $python for a Python client; says what is missing, once
have() {
	wanted "$1" || return 1
	case $1 in
	wrk | jq) command -v "$1" >/dev/null && return ;;
	miller) command -v mlr >/dev/null && return ;;
	sa-* | cat) return ;;
	*) [ -z "$quick" ] || return; python=$(python_of "$1") && return ;;
	esac
	grep -qx "$1" "$t/missing" || left_out "$1"
	return 1
}

versions() {
	sed -n 's/^#define SA_VERSION "\(.*\)"/sa \1/p' ../../lib/err.h
	git rev-parse --short HEAD 2>/dev/null | sed 's/^/commit /'
	for lib in libcurl libuv jansson; do
		echo "$lib $(pkg-config --modversion $lib 2>/dev/null || echo '?')"
	done
	{ wrk -v 2>&1 || true; } | sed -n '1s/^\(wrk [^ ]*\).*/\1/p'
	jq --version
	{ mlr --version 2>/dev/null || true; } | head -n 1
	for client in aiohttp openai litellm distilabel curator orjson; do
		[ -n "$quick" ] || ! wanted "$client" || ! python=$(python_of "$client") || "$python" clients.py have "$client"
	done
	for p in $pythons; do "$p" --version 2>/dev/null; done | sort -u
}

# ---- records ----

# Prompts of about 300 bytes and responses of about 800, every other one Chinese, with the members that such records come with. They are
# repeated as often as it takes.
cat >"$t/records.awk" <<'AWK'
function words(n, zh,   s) {
	while (length(s) < n) {
		s = s (zh ? ZH[int(rand() * nzh) + 1] : EN[int(rand() * nen) + 1] " ")
		if (rand() < 0.03)
			s = s (zh ? "，" : rand() < 0.5 ? "\\n" : "\\\"so\\\" ")
	}
	return s
}
BEGIN {
	srand(7)
	nen = split("the of to and a in is it you that he was for on are with as his they be at one have this from or had by but some what there we", EN, " ")
	nzh = split("请问 如何 才能 保护 个人 信息 安全 我们 应该 在 网络 上 注意 什么 问题 可以 帮助 大家 了解 的 方法 和 建议", ZH, " ")
	for (i = 1; i <= count; i++) {
		zh = i % 2
		printf "{\"id\":\"r-%07d\",\"lang\":\"%s\",\"source\":\"web\",\"prompt\":\"%s\",\"response\":\"%s\",", i, zh ? "zh" : "en",
			words(zh ? 110 : 300, zh), words(zh ? 280 : 800, zh)
		printf "\"score\":%.4f,\"n_tokens\":%d,\"ok\":true,\"parent\":null,\"tags\":[\"chat\",\"qa\"],\"meta\":{\"model\":\"x\",\"temperature\":0.7}}\n",
			rand(), rand() * 900
	}
}
AWK

# repeat FILE N - its lines again and again, N of them
repeat() {
	while cat "$1" 2>/dev/null; do :; done | head -n "$2"
}

start_server() {
	bench-server >"$t/url" &
	server=$!
	until [ -s "$t/url" ]; do sleep 0.05; done
	url=$(cat "$t/url")
}

prepare() {
	lines=$([ "$quick" ] && echo 50 || echo 2000)
	LC_ALL=C.UTF-8 awk -v count="$lines" -f "$t/records.awk" >"$t/base"
	start_server
	head -n 1 "$t/base" | sa-judge -w responses -e "$url/one/0/v1" -m bench >/dev/null
	bench-server "$url/last" >"$t/body"
	{
		echo "wrk.method = 'POST' wrk.headers['Content-Type'] = 'application/json' wrk.body = [==["
		tr -d '\n' <"$t/body"
		echo ']==]'
	} >"$t/post.lua"
	sa-regen -e "$url/answer/0/v1" -m bench <"$t/base" | sa-judge -w responses -e "$url/two/0/v1" -m bench |
		sa-judge -e "$url/one/0/v1" -m bench >"$t/done.base"
	repeat "$t/done.base" "$([ "$quick" ] && echo 500 || echo 80000)" >"$t/done"
	rm "$t/done.base"
}

# input N - makes in.N, the first N records
input() {
	[ -s "$t/in.$1" ] || { rm -f "$t"/in.*; repeat "$t/base" "$1" >"$t/in.$1"; }
}

# ---- requests ----

# count CLIENT MS C - how many requests it is to make: SECS worth of them at the rate that it may have
count() {
	case $1 in
	sa-*) rate=40000 ;;
	aiohttp) rate=10000 ;;
	openai*) rate=900 ;;
	curator) rate=700 ;;
	*) rate=300 ;;
	esac
	[ "$3" != 1 ] || rate=$((rate / 2))
	[ "$2" = 0 ] || [ "$rate" -lt $((1000 * $3 / $2)) ] || rate=$((1000 * $3 / $2))
	n=$((rate * secs))
	[ "$n" -ge $((2 * $3)) ] || n=$((2 * $3))
	[ -z "$quick" ] || n=200
	echo "$n"
}

# result JQ-EXPRESSION [FILE] - add to the results what it makes of $client, $ms, $c, $n and the file's last line
result() {
	tail -n 1 "${2:-/dev/null}" | jq -nc --arg client "$client" --argjson ms "${ms:-0}" --argjson c "${c:-0}" --argjson n "${n:-0}" \
		--argjson stats "${stats:-null}" --argjson load "$(load)" \
		"[inputs][0] as \$r | {client: \$client, ms: \$ms, c: \$c, n: \$n, load: \$load} + $1" >>"$t/results"
}

# run_filter REPLY PROGRAM [OPTION...]
run_filter() {
	reply=$1
	shift
	input "$n"
	bench-timed -p "$t/timed" timeout 300 "$@" -j "$c" -e "$url/$reply/$ms/v1" -m bench <"$t/in.$n" 2>>"$t/log" ||
		say "$client: $(tail -n 1 "$t/log")"
}

run_one() {
	say "$client, $c in flight, $ms ms"
	bench-server "$url/reset" >/dev/null
	n=$(count "$client" "$ms" "$c")
	case $client in
	sa-judge) run_filter one sa-judge -w responses ;;
	sa-regen) run_filter answer sa-regen ;;
	wrk) bench-timed "$t/timed" wrk -t1 -c"$c" -d"$([ "$quick" ] && echo 1 || echo "$secs")s" -s "$t/post.lua" "$url/one/$ms/v1/chat/completions" >"$t/wrk" ;;
	*) timeout 300 "$python" clients.py ask "$client" "$t/body" "$n" "$c" "$url/one/$ms/v1" >"$t/client" 2>>"$t/log" || {
		say "$client failed: $(tail -n 1 "$t/log")"
		return
	} ;;
	esac
	stats=$(bench-server "$url/stats")
	case $client in
	sa-*) result '{kind: "requests", rate: ($n / $r.wall), cpu: ($r.cpu / $stats.requests * 1e6), rss: $r.rss,
		errors: ($n - $r.lines + $r.status), first: (($r.first - $stats.first_reply) / 1e6), begin: (($stats.first_reply - $r.start) / 1e6)}' "$t/timed" ;;
	wrk) n=$(awk '/requests in/ { print $1 }' "$t/wrk")
		result "{kind: \"requests\", rate: $(awk '/^Requests\/sec/ { print $2 }' "$t/wrk"), cpu: (\$r.cpu / \$n * 1e6), rss: \$r.rss,
			errors: $(awk '/Socket errors/ { e += $4 + $6 + $8 + $10 } /Non-2xx/ { e += $NF } END { print e + 0 }' "$t/wrk")}" "$t/timed" ;;
	*) result '{kind: "requests"} + $r' "$t/client" ;;
	esac
}

requests() {
	for cell in $cells; do
		ms=${cell%:*} c=${cell#*:}
		for r in $(seq "$repeats"); do
			for client in "$@"; do
				! have "$client" || run_one
			done
		done
	done
}

# ---- pass-through ----

# through NAME COMMAND - the finished records through it and a cat behind it, all on one core
through() {
	client=$1 ms= c= n= stats=
	have "${1%% *}" || return 0
	say "$1: finished records, on core $core"
	taskset -c "$core" bench-timed "$t/timed" sh -c "$2 | cat >/dev/null" <"$t/done" 2>>"$t/log"
	result "{kind: \"pass\", mb: ($(wc -c <"$t/done") / 1e6 / \$r.wall), rss: \$r.rss}" "$t/timed"
}

pass() {
	for r in $(seq "$repeats"); do
		through 'cat' cat
		through 'sa-judge' "sa-judge -e $url/one/0/v1 -m bench"
		through 'sa-regen' "sa-regen -e $url/answer/0/v1 -m bench"
		through 'jq' 'jq -c .'
		through 'miller' 'mlr --ijsonl --ojsonl cat'
		[ -z "$quick" ] || continue
		through 'json' "\"$(python_of json)\" clients.py pass json"
		through 'orjson' "\"$(python_of orjson)\" clients.py pass orjson"
	done
}

# ---- the whole ----

begun=$(load)
case $begun in 0.[0-4]*) ;; *) [ "$quick" ] || say "warning: the machine is not quiet (load $begun)" ;; esac
prepare
if [ "$quick" ]; then
	cells='0:1 0:64' requests sa-judge sa-regen
	cells=50:64 requests sa-judge wrk
else
	cells='0:1 0:64 0:256 0:1024 50:1 50:64 50:256 50:1024' requests wrk sa-judge sa-regen aiohttp openai openai-aiohttp
	cells='0:64 50:256' requests litellm distilabel curator
fi
pass
versions >"$t/versions"
[ "$quick" ] || cp "$t/results" "$build/bench-results.ndjson"
jq -rs --rawfile versions "$t/versions" --rawfile missing "$t/missing" --arg begun "$begun" --arg ended "$(load)" --arg core "$core" \
	--arg repeats "$repeats" --arg secs "$secs" --arg quick "$quick" --arg date "$(date -u '+%Y-%m-%d %H:%M UTC')" --arg kernel "$(uname -sr)" \
	--arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" --arg cores "$(nproc)" \
	--arg memory "$(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)" \
	--arg system "$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release)" -f table.jq "$t/results" >"$t/table"
cp "$t/table" "$out"
say "written: $2"
