#!/bin/sh
# bugs.sh BUILD quick|full - every bug of bugs.cu is noticed where the table says, and its right twin passes run.sh
#
# A line: the bug; the build; the settings; what is printed. "order": forward and backward runs read other bytes back. full: the lines of tsan
# as well.
cd "$(dirname "$0")/../.." || exit 1
build=$1
what=$2
table='
shared_bounds           asan  fwd late  out of bounds
dynamic_bounds          asan  fwd late  AddressSanitizer: use-after-poison
global_bounds           asan  fwd late  AddressSanitizer: use-after-poison
misaligned              asan  fwd late  misaligned address
uninitialised           plain fwd late  NaN
missing_barrier         plain fwd late  NaN
missing_barrier         tsan  fwd late  data race
missing_second_barrier  plain - -       order
missing_second_barrier  tsan  fwd late  data race
missing_syncwarp        plain fwd late  NaN
missing_syncwarp        tsan  fwd late  data race
divergent               plain fwd late  barrier divergence
left_early              plain fwd late  has ended
wrong_mask              plain fwd late  deadlock|has ended
outside_mask            plain fwd late  not in the mask
between_blocks          plain - -       order
between_blocks          tsan  fwd late  data race
float_atomics           plain - -       order
missing_wait            plain fwd late  NaN
early_overwrite         tsan  fwd early data race
copy_bounds             asan  fwd late  AddressSanitizer: use-after-poison
unfinished_copy         plain fwd late  nobody waited for
unordered_ldmatrix      tsan  fwd late  data race
missing_event           plain - -       order
missing_sync            plain fwd late  before it came
host_access             plain fwd late  host code touched device memory
host_pointer            plain fwd late  no live device memory
use_after_free          plain fwd late  no live device memory
double_free             plain fwd late  free already
long_copy               plain fwd late  passes the end
wrong_direction         plain fwd late  direction
past_memory             plain fwd late  out of memory
'

noticed() {	# NAME MODE ORDER ASYNC PATTERN
	if [ "$5" = order ]; then
		for how in "fwd 1" "rev 1" "rand 1" "rand 2" "rand 3" "rand 4" "rand 5" "rand 6"; do
			CUDASIM_ORDER=${how% *} CUDASIM_SEED=${how#* } "$build/cudasim/$2/bugs" "$1" bug 2>&1 | grep '^# read back'
		done | sort -u | wc -l | grep -qv '^ *1$'
		return
	fi
	CUDASIM_ORDER=$3 CUDASIM_ASYNC=$4 CUDASIM_XBLOCK=1 TSAN_OPTIONS="halt_on_error=1 $TSAN_OPTIONS" \
		"$build/cudasim/$2/bugs" "$1" bug 2>&1 | grep -qE "$5"
}

echo "$table" | {
	status=0
	while read -r name mode order async pattern; do
		[ -n "$name" ] || continue
		[ "$what" = full ] || [ "$mode" != tsan ] || continue
		noticed "$name" "$mode" "$order" "$async" "$pattern" || { echo "$name is not noticed by $mode ($pattern)"; status=1; }
	done
	exit $status
} || exit 1
echo "$table" | awk 'NF { print $1 }' | sort -u | {
	while read -r name; do
		sh tests/cudasim/run.sh "$build" "$what" bugs "$name" || exit 1
	done
}
