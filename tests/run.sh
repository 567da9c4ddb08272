#!/bin/sh
# run.sh BUILD [NAME] - run the unit programs in BUILD/unit and every tests/*.bats, two files at a time
#
# NAME: only tests whose name, or whose file's name, holds it. Prints a line per file, every failure in full, and as its last line
# "N passed, N failed" (", N skipped" only when some were). Status 1 when something failed or nothing was run.
# A program that crashes, runs out of time or breaks its plan counts as one more failure.
#
# Calls itself as `run.sh --one FILE` for each file, with the settings in T_* variables.
LIMIT=${LIMIT:-900}	# seconds a file; the whole of .ci/run has as many

# The TAP of one file on standard output. A file whose own name holds NAME is run whole.
tap_of() {
	name=$T_ONLY
	case ${1#"$BUILD/"} in *"$name"*) name= ;; esac
	case $1 in
	*.bats)
		[ -z "$name" ] || grep '^@test' "$1" | grep -qF -- "$name" || return 0
		set -- bats --tap ${name:+-f "$(printf '%s' "$name" | sed 's/[][().*+?^$|{}\\]/\\&/g')"} "$1" ;;
	*)
		[ -z "$name" ] || export T_NAME="$name" ;;
	esac
	timeout -k 10 "$LIMIT" "$@" </dev/null 2>&1
	status=$?
	[ $status -le 1 ] || echo "# exit status $status"
	echo "ran $status"
}

# Count: an "ok" is a pass or a skip; whatever is missing from the plan is one failure.
count() {
	awk '/^ok .*# *[Ss][Kk][Ii][Pp]/ { skipped++; next }
		/^ok / { passed++; next }
		/^not ok / { failed++; next }
		/^1\.\.[0-9]+$/ { plan = substr($0, 4); planned = 1 }
		/^ran [0-9]+$/ { ran = 1; status = $2 }
		END {
			if (ran && (!planned || plan != passed + failed + skipped || (status && !failed)))
				failed++
			print passed + 0, failed + 0, skipped + 0
		}' "$1"
}

one() {
	out=$T_TMP/${1##*/}.tap
	tap_of "$1" >"$out"
	set -- "${1#"$BUILD/"}" $(count "$out")
	echo "$2 $3 $4" >"$out.count"
	[ "$2 $3 $4" != "0 0 0" ] || return 0
	line="$1: $2 passed"
	[ "$3" = 0 ] || line="$line, $3 FAILED"
	[ "$4" = 0 ] || line="$line, $4 skipped"
	if [ "$3" = 0 ]; then
		echo "$line"
	else	# in one write, so that two files' failures do not mix
		why=$(grep -av -e "^ok " -e "^1\.\." -e "^ran " "$out" | sed "s/^/    /")
		printf "%s\n%s\n" "$line" "${why:-    # it ended before its plan}"
	fi
}

if [ "$1" = --one ]; then
	one "$2"
	exit 0
fi

cd "$(dirname "$0")/.." || exit 1
[ -d "$1" ] || { echo "usage: run.sh BUILD [NAME]" >&2; exit 2; }
BUILD=$(cd "$1" && pwd)
T_ONLY=$2
T_TMP=$(mktemp -d "${TMPDIR:-/tmp}/sa-check.XXXXXX") || exit 1
TMPDIR=$T_TMP
export BUILD T_ONLY T_TMP TMPDIR
trap 'rm -rf "$T_TMP"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for file in tests/*.bats tests/unit/*.c; do
	case $file in
	*'*'*) continue ;;
	*.c) file=$BUILD/unit/$(basename "$file" .c) ;;
	esac
	printf '%s\0' "$file"
done | xargs -0 -n 1 -P 2 sh tests/run.sh --one

cat "$T_TMP"/*.count 2>/dev/null | awk '{ passed += $1; failed += $2; skipped += $3 }
	END {
		if (passed + failed + skipped == 0)
			print "nothing was run"
		printf "%d passed, %d failed%s\n", passed, failed, skipped ? ", " skipped " skipped" : ""
		exit failed > 0 || passed + failed + skipped == 0
	}'
