#!/bin/sh
# run.sh BUILD SECONDS [TARGET] - run the fuzz targets of BUILD/fuzz for SECONDS each, two at a time
#
# Prints a line per target. New inputs are kept in BUILD/corpus/TARGET for the next run, a find is left as BUILD/finds/TARGET-* with the log of its run beside it.
# Status 1 when something was found. Merge what is new into the corpus in git (few, small): BUILD/fuzz/TARGET -merge=1 tests/fuzz/corpus/TARGET BUILD/corpus/TARGET
#
# Calls itself as `run.sh --one TARGET` for each target, with the settings in F_* variables.
last() {	# last FIELD LOG - the value after the last FIELD
	sed -n "s/.*$1 *\([0-9][0-9]*\).*/\1/p" "$2" | tail -n 1
}

one() {
	mkdir -p "$F_BUILD/corpus/$1" "$F_BUILD/finds"
	log=$F_BUILD/finds/$1.log
	status=0
	"$F_BUILD/fuzz/$1" -max_total_time="$F_SECONDS" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=1 \
		-artifact_prefix="$F_BUILD/finds/$1-" "$F_BUILD/corpus/$1" "tests/fuzz/corpus/$1" >"$log" 2>&1 || status=$?
	finds=$(find "$F_BUILD/finds" -name "$1-*" -newer "$F_START" | wc -l)
	[ $status = 0 ] || [ "$finds" -gt 0 ] || finds="none, but exit status $status"
	printf '%-12s %10s execs  cov %6s  corpus %5s  finds %s\n' "$1" "$(last 'number_of_executed_units:' "$log")" "$(last 'cov:' "$log")" \
		"$(find "$F_BUILD/corpus/$1" "tests/fuzz/corpus/$1" -type f | wc -l)" "$finds"
	[ $status = 0 ] && return
	echo "$1: see $log, and the input that it names" >&2
	return 1
}

if [ "$1" = --one ]; then
	one "$2"
	exit
fi

cd "$(dirname "$0")/../.." || exit 2
[ -d "$1/fuzz" ] && [ -n "$2" ] || { echo "usage: run.sh BUILD SECONDS [TARGET]" >&2; exit 2; }
F_BUILD=$1 F_SECONDS=$2 F_START=$1/start
export F_BUILD F_SECONDS F_START
: >"$F_START"
for target in "$F_BUILD"/fuzz/*; do
	name=$(basename "$target")
	[ -z "$3" ] || [ "$3" = "$name" ] || continue
	[ -x "$target" ] && printf '%s\0' "$name"
done | xargs -0 -n 1 -P 2 sh tests/fuzz/run.sh --one || exit 1
