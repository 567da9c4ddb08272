#!/bin/sh
# run.sh BUILD quick|once|full PROGRAM [ARG...] - run a program of BUILD/cudasim/ in several orders and builds
#
# quick: plain in two orders and two seeds, and address-sanitized. full: thread-sanitized with unordered blocks as well, and copies and streams
# early and late, and a device of another size. once: one run of each build. Every run must end with status 0 and read the same bytes back from the device: the line that
# the simulator prints of them is the same in all. Prints the output of the run that is not so; status 1. PROGRAM may be one of BUILD/unit/, which loads
# sa-cuda.so: that is then the sanitized one of the run, the program itself is as it is.
dir=$1/cudasim
what=$2
program=$3
shift 3

# build order seed async streams xblock sms
quick="plain fwd 1 late lazy 0 4
plain rev 1 late lazy 0 4
plain rand 1 late lazy 0 4
plain rand 2 rand lazy 0 4
asan fwd 1 early lazy 0 3"
full="$quick
plain rand 3 early eager 0 1
asan rand 4 late lazy 0 16
tsan fwd 1 late lazy 1 4
tsan fwd 1 early lazy 1 4
tsan rand 5 rand lazy 1 5"
once="plain rand 2 rand lazy 0 4
asan rand 4 late lazy 0 16
tsan rand 5 rand lazy 1 5"
case $what in
quick) runs=$quick ;;
once) runs=$once ;;
*) runs=$full ;;
esac

exe=
[ -x "$dir/plain/$program" ] || exe=${dir%cudasim}unit/$program
runtime() {	# BUILD: what must be loaded before its sa-cuda.so
	[ "$1" = plain ] || ${CC:-cc} -print-file-name="lib$1.so"
}

echo "$runs" | {
	want=
	while read -r build order seed async streams xblock sms; do
		out=$(CUDASIM_ORDER=$order CUDASIM_SEED=$seed CUDASIM_ASYNC=$async CUDASIM_STREAMS=$streams CUDASIM_XBLOCK=$xblock CUDASIM_SMS=$sms \
			TSAN_OPTIONS="halt_on_error=1 $TSAN_OPTIONS" SA_CUDA=$dir/$build/sa-cuda.so LD_PRELOAD="${exe:+$(runtime "$build")}" \
			"${exe:-$dir/$build/$program}" "$@" </dev/null 2>&1)
		status=$?
		got=$(echo "$out" | grep '^# read back')
		why=
		[ $status = 0 ] || why="exit status $status"
		[ -n "$got" ] || why="${why:-it read nothing back}"
		[ -n "$want" ] || want=$got
		[ "$got" = "$want" ] || why="${why:-other bytes than in forward order: $want}"
		[ -z "$why" ] || {
			echo "$program $* ($build order=$order seed=$seed async=$async streams=$streams xblock=$xblock sms=$sms): $why"
			echo "$out"
			exit 1
		}
	done
}
