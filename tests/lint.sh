#!/bin/sh
# lint.sh - what the compiler cannot check: which way dependencies point, the man pages, the README's map of files
#
# Prints a line for whatever is wrong; status 1 when there was any. Run from anywhere.
cd "$(dirname "$0")/.." || exit 1
wrong=$(mktemp) && sources=$(mktemp) || exit 1
trap 'rm -f "$wrong" "$sources"' EXIT

# What the README's map names: programs, scripts, headers, tests and the text that is compiled in; not the data of nano or the goldens.
find lib filters trainer pipelines tests man Makefile packages.txt .ci/run -type f \( -name '*.[ch1-9]' -o -name '*.cpp' -o -name '*.cu' -o -name '*.sh' -o -name '*.bash' \
	-o -name '*.bats' -o -name '*.jq' -o -name '*.py' -o -name '*.sbatch' -o -path 'filters/*' -o -path '.ci/run' -o -name Makefile -o -name packages.txt \
	\) ! -path '*/data/*' | LC_ALL=C sort >"$sources"

# The layers of lib/: a module includes only its own layer and those below.
layer() {
	case $1 in
	clock | err | gcra | guard | key | memory | num | plugin | thread | utf8) echo 0 ;;
	block | buf | opt | rundir) echo 1 ;;
	json | line | rec | scan | text) echo 2 ;;
	aimd | breaker | batch | bucket | cache | cachefile | cacheinfo | chat | prompt | retry | spend | taxonomy | head | place | multi | http | intake | output | stats | window) echo 3 ;;
	local | endpoint | opener | pool | signals) echo 4 ;;
	loop | ask | records | run | send | store | filter) echo 5 ;;
	*) echo "$2: no layer in tests/lint.sh for this module" >>"$wrong"; echo 9 ;;
	esac
}

# Which other folders a file of this folder may include from.
allowed() {
	case $1 in
	lib) ;;
	filters | trainer/eval | trainer/report) echo lib ;;
	trainer/ops*) echo lib trainer/ops ;;
	trainer/model) echo lib trainer/ops trainer/model/cuda ;;
	trainer/model/cuda) echo lib trainer/ops trainer/model trainer/ops/cuda ;;
	trainer/serve) echo lib trainer/ops trainer/model ;;
	trainer/train) echo lib trainer/ops trainer/model trainer/train/cuda trainer/ops/cuda ;;
	trainer/train/cuda) echo lib trainer/ops trainer/model trainer/model/cuda trainer/train trainer/ops/cuda ;;
	pipelines/*) echo lib trainer/ops trainer/model ;;
	tests/*) echo lib trainer/ops trainer/ops/cuda tests/unit trainer/model trainer/model/cuda trainer/serve trainer/train trainer/eval trainer/report ;;
	*) echo "$2: no dependencies in tests/lint.sh for this folder" >>"$wrong" ;;
	esac
}

# The folder that a file belongs to; a program's main file stands beside its folder.
folder() {
	case $1 in
	trainer/sa-*.c) f=${1#trainer/sa-}; echo "trainer/${f%.c}" ;;
	*) dirname "$1" ;;
	esac
}

# Where a header is found: beside the file, then in the order of the Makefile's -I.
header() {
	for d in "$1" lib trainer/ops trainer/model trainer/serve trainer/train trainer/eval trainer/report trainer/train/cuda trainer/model/cuda trainer/ops/cuda tests/unit; do
		[ ! -f "$d/$2" ] || { echo "$d"; return; }
	done
}

grep '\.[ch]$' "$sources" | while read -r file; do
	own=$(folder "$file")
	may=" $own $(allowed "$own" "$file") "
	module=$(basename "${file%.[ch]}")
	sed -n 's/^[ \t]*#[ \t]*include[ \t]*"\(.*\)".*/\1/p' "$file" | while read -r name; do
		from=$(header "$(dirname "$file")" "$name")
		[ -n "$from" ] || { echo "$file: includes $name, which is nowhere" >>"$wrong"; continue; }
		case $may in
		*" $from "*) ;;
		*) echo "$file: may not include $from/$name" >>"$wrong" ;;
		esac
		[ "$own" = lib ] || continue
		[ "$(layer "$module" "$file")" -ge "$(layer "$(basename "${name%.h}")" "lib/$name")" ] ||
			echo "$file: $name is of a higher layer" >>"$wrong"
	done
done

# Every program has a man page, and every page is clean.
for program in $(sed -n 's/^\(FILTERS\|PROGRAMS\) = //p' Makefile); do
	case $program in
	sa-*) [ -f "man/$program.1" ] || echo "man/$program.1: missing" >>"$wrong" ;;
	esac
done
for page in man/*.[1-9]; do
	mandoc -T lint -W warning "$page" >>"$wrong"
done

# The map: in the README's section of that name, a fenced block whose lines begin with a path from the root. lib/x.[ch] names two
# files; * may stand for data, scripts and tests, never for the program's own C files.
awk '/^#/ { in_map = tolower($0) ~ /map/ } /^```/ { fence = !fence; next } in_map && fence && NF { print $1 }' README.md |
	awk -v sources="$sources" -v wrong="$wrong" '
	function regex(p) {
		gsub(/[.+(){}|^$?\\]/, "\\\\&", p)
		gsub(/\*/, "[^/]*", p)
		return "^" p "$"
	}
	BEGIN { while ((getline f < sources) > 0) file[f] = 0 }
	{
		if (/\*/ && /[ch]\]?$/ && !/^tests\//)
			print "README.md: map: " $0 ": C files are named one by one" >> wrong
		hits = 0
		for (f in file)
			if (f ~ regex($0)) {
				file[f]++
				hits++
			}
		if (!hits && system("test -e \"" $0 "\"") != 0)
			print "README.md: map: " $0 " does not exist" >> wrong
		else if (/\[ch\]$/ && !/\*/ && hits != 2)
			print "README.md: map: " $0 " names two files, there are " hits >> wrong
	}
	END {
		for (f in file)
			if (!file[f])
				print "README.md: map: " f " is not named" >> wrong
	}'

sort -u "$wrong"
[ ! -s "$wrong" ]
