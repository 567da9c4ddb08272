#!/bin/sh
# mutants.sh BUILD [FILE...] - change one token of a kernel at a time; the tests must notice
#
# For each source (or FILE, as trainer/ops/cuda/add.cu) and each place where a rule below applies, the changed one is built and its test run:
# plain in three orders and address-sanitized, then thread-sanitized when nothing was noticed. A header is tried with one kernel that uses it. Mutants that do not build do not count. One that
# lives is an error, unless tests/cudasim/mutants.txt has its line: there are changes that change nothing. Prints a line for each survivor, and one a
# source. All of them, which is without a FILE, are done a source on each processor.
cd "$(dirname "$0")/../.." || exit 1
build=$1
shift
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
tab=$(printf '\t')

# A rule: an extended regular expression (any awk's: brackets for escapes), a tab, what takes its place.
cat >"$work/rules" <<'R'
__syncthreads[(][)];	;
__syncwarp[(][)];	;
 < to;	 <= to;
 < T[;)]	 <= T;
 < rows;	 <= rows;
 < n;	 <= n;
 < C;	 <= C;
 < C && 	 <= C && 
c < C[)]	c <= C)
[+] k < V[)]	+ k <= V)
[+] k < V [?]	+ k <= V ?
 < Vp;	 <= Vp;
 < parts;	 <= parts;
 < eights;	 <= eights;
 < a[.]n;	 <= a.n;
 < min[(]heads, 	 <= min(heads, 
threadIdx[.]x % WARP == 0	true
threadIdx[.]x == 0	threadIdx.x <= 1
warp == 0	warp <= 1
[+]= blockDim[.]x [*] 8	+= blockDim.x * 16
[+]= WARP [*] 8	+= WARP * 16
[+]= COLUMNS_WARPS	+= COLUMNS_WARPS + 1
% WARP [*] 8	% WARP * 4
 = C / 8;	 = C / 4;
i % row	i / row
x [*] c	x * s
y [*] s	x * s
[(]1 - s[)][)]	(1 + s))
-x[)]	x)
[+] F[)]	)
fmaxf	fminf
own - most	most - own
was - most	most - was
- at_target	+ at_target
== right	!= right
- xv[.]f	+ xv.f
[+] eps	- eps
/ C	/ 8
0x8000u	0x7fffu
low >> 15	low >> 14
1 - s[.]b2	s.b2
s[.]c1	s.c2
s[.]decay	s.lr
max_norm > 0 &&	
i > 0	i == 0
keys.i - 1.	keys[i]
PIECE < n	PIECE <= n
gscale [*] [(]float	(float
at [*] inv	inv
[*] HEADS_EACH;	;
lane < warps	lane <= warps
lane == 0	lane <= 1
by > 0	by > 1
0xffff0000u	0xfffe0000u
[*] i [+] 1	* i
cp_async_wait<0>	cp_async_wait<1>
mid <= index	mid < index
T / ROWS [+] nseq	T / ROWS + 1
first [+] r < len	first + r <= len
row [+] r < len	row + r <= len
row < p[.]len[)]	row <= p.len)
KEYS < end	KEYS <= end
> ahead	>= ahead
mine > other	mine >= other
other > mine	other >= mine
row < rows[)]	row < 1)
ahead [+] r > -16	ahead + r > 0
ahead [+] r < M . 16	ahead + r < 0
ahead >= M . 16 - 1	ahead >= M * 16 - 32
ahead <= -15	ahead <= 0
key < p[.]row [+] own [+] M . 16	key < p.row + own
KEYS > p[.]row [+] own	KEYS > p.row + own + 32
lane % 16, step	lane % 8, step
lane / 8 % 2[)]	lane / 16 % 2)
lane / 16[)]	lane / 8 % 2)
results_a.a.m., s.m..2 . n., 	results_a(a[m], s[m][2 * n + 1], 
half . 8	half
h / .at[.]H / at[.]G.	h % at.G
v, 2[)]	v, 1)
top, 2	top, 1
top > was [+] ATTEND_SLACK [?]	top < was + ATTEND_SLACK ?
. LN_2 [+]	+
row % H . T	row % H
by = D / 16;	by = D / 32;
1 - stage[)] . STAGE	1 - stage) * 0
-edge_of	edge_of
M[)] - edge_of	M) + edge_of
= scale;	= 1;
most, other[)]	most, -other)
key [+] r < len	key + r <= len
key % SPLIT == 0	key % SPLIT == 1
<= kv[.]past.span.	< kv.past[span]
r >= group	r > group
position % KV_PAGE	position
row % group	row / group
[(]int[)]t - kv	kv
OWN, p[.]len[)]	OWN / 2, p.len)
at[.]H / at[.]G :	1 :
R

# "LINE COLUMN" of every match of a rule outside of comments and #include lines.
places() {
	awk -v re="$1" '
		/^ \*|^\/\*|^#/ { next }
		{
			at = 0
			rest = $0
			while (match(rest, re)) {
				print NR, at + RSTART, RLENGTH
				at += RSTART + RLENGTH - 1
				rest = substr(rest, RSTART + RLENGTH)
			}
		}' "$2"
}

change() {	# FILE LINE COLUMN LENGTH REPLACEMENT
	awk -v line="$2" -v at="$3" -v n="$4" -v new="$5" 'NR == line { $0 = substr($0, 1, at - 1) new substr($0, at + n) } { print }' "$1"
}

# The test of PROGRAM with FILE in place of the archive's own.
built() {	# MODE FILE PROGRAM
	make -s B="$build" SIM_ONE="$2" SIM_OUT="$work/$3.$1" SIM_TEST="$3" "cudasim-one-$1" >"$work/log" 2>&1
}

# 0: by something; 1: by nothing; 2: it does not build.
noticed() {	# FILE PROGRAM
	built plain "$1" "$2" || return 2
	want=
	for how in "fwd 1" "rev 1" "rand 1"; do
		got=$(CUDASIM_ORDER=${how% *} CUDASIM_SEED=${how#* } timeout 60 "$work/$2.plain" 2>&1) || return 0
		got=$(echo "$got" | grep '^# read back')
		[ -z "$want" ] || [ "$got" = "$want" ] || return 0
		want=$got
	done
	built asan "$1" "$2" || return 2
	timeout 60 "$work/$2.asan" >/dev/null 2>&1 || return 0
	built tsan "$1" "$2" || return 2
	CUDASIM_XBLOCK=1 CUDASIM_ASYNC=early TSAN_OPTIONS=halt_on_error=1 timeout 120 "$work/$2.tsan" >/dev/null 2>&1 || return 0
	return 1
}

if [ $# = 0 ]; then
	ls trainer/ops/cuda/*.cu trainer/ops/cuda/columns.h trainer/ops/cuda/gpu.h trainer/ops/cuda/attend.h |
		xargs -P "$(nproc)" -n 1 sh tests/cudasim/mutants.sh "$build" | tee "$work/out"
	awk '/ mutants, / { count += $2; lived += $4 } END { print count " mutants, " lived " unnoticed"; exit lived > 0 || count == 0 }' "$work/out"
	exit
fi
for file; do
	count=0
	lived=0
	case $file in
	*/columns.h) program=bias ;;
	*/gpu.h) program=cross_entropy ;;
	*/attend.h) program=attend ;;
	*) program=$(basename "$file" .cu) ;;
	esac
	while IFS="$tab" read -r re new; do
		places "$re" "$file" >"$work/places"
		while read -r line column length; do
			mutant=$work/$(basename "$file")
			rm -f "$work"/*.h "$work"/*.cu
			cp "trainer/ops/cuda/$program.cu" "$work"	# a header is found beside its source first
			change "$file" "$line" "$column" "$length" "$new" >"$mutant"
			noticed "$work/$program.cu" "$program" </dev/null
			case $? in
			0) count=$((count + 1)) ;;
			1)
				count=$((count + 1))
				text=$(sed -n "${line}p" "$mutant" | sed 's/^[ \t]*//')
				grep -qxF "$file: $text" tests/cudasim/mutants.txt || { echo "$file:$line lives: $text"; lived=$((lived + 1)); } ;;
			esac
		done <"$work/places"
	done <"$work/rules"
	echo "$file: $count mutants, $lived unnoticed"
done
[ "$lived" = 0 ]
