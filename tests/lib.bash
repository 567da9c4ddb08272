# lib.bash - what every tests/*.bats shares:  load lib
#
# Each test runs in an empty directory of its own, with none of the user's settings. What it started is gone after it, also a
# server that a filter left running. A file that needs more of a setup or teardown defines its own and calls sa_setup or
# sa_teardown in it.

bats_load_library bats-support
bats_load_library bats-assert

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${BUILD:-$ROOT/build}
case $BUILD in /*) ;; *) BUILD=$ROOT/$BUILD ;; esac
PATH=$BUILD:$PATH
dead_endpoint=http://127.0.0.1:1/v1	# nobody listens on port 1

sa_setup() {
	local v

	for v in $(compgen -e | grep -iE '^(SA_|OPENAI_|SSL_CERT_|CURL_|.*_proxy$)'); do
		[ "$v" = SA_DATA ] || unset "$v"
	done
	cd "$BATS_TEST_TMPDIR" || return 1
	# /proc/PID/environ shows the tag of whatever this test starts, however it was orphaned since.
	export SA_TEST_TAG=$BATS_TEST_TMPDIR
	export XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR/run HOME=$BATS_TEST_TMPDIR
	mkdir -m 700 "$XDG_RUNTIME_DIR"
	: >input
}

# PIDs of what this test started and has not ended.
started() {
	grep -lsz "^SA_TEST_TAG=$BATS_TEST_TMPDIR\$" /proc/[0-9]*/environ | cut -d/ -f3
}

sa_teardown() {
	local pids

	pids=$(started)
	[ -z "$pids" ] || kill -9 $pids 2>/dev/null || true
}

setup() { sa_setup; }
teardown() { sa_teardown; }

# given LINE... - the lines become the input of run_filter
given() {
	printf '%s\n' "$@" >input
}

# run_filter PROG ARG... - run it over the file `input`; $output, $stderr, $status, and the files `output` and `stderr`
run_filter() {
	local program=$1

	shift
	status=0
	"$BUILD/$program" "$@" <input >output 2>stderr || status=$?
	output=$(tr -d '\0' <output)
	stderr=$(tr -d '\0' <stderr)
}

# expect_output LINE... - standard output is exactly these lines; none given: it is empty
expect_output() {
	if [ $# = 0 ]; then
		: >want
	else
		printf '%s\n' "$@" >want
	fi
	cmp -s want output && return
	{ echo "the output is not as expected:"; diff -a want output; echo "standard error:"; cat stderr; } | fail
}

# expect_status N - the exit status of run_filter
expect_status() {
	[ "$status" = "$1" ] && return
	{ echo "exit status $status, expected $1; standard error:"; cat stderr; } | fail
}

# expect_stderr_has TEXT... - each of them is somewhere in standard error
expect_stderr_has() {
	local text

	for text in "$@"; do
		case $stderr in *"$text"*) ;; *) { echo "not in standard error: $text"; cat stderr; } | fail; return 1 ;; esac
	done
}

# data DIR - sets $DATA to that directory (or file) of the shared data, or skips the test
data() {
	DATA=${SA_DATA:-$ROOT/../shared/data}/$1
	[ -e "$DATA" ] || skip "no shared data: $1"
}

# poison DIR TOKEN - make a row of the embedding, of 32 float numbers, NaN
poison() {
	local header at

	header=$(od -An -td8 -N8 "$1/model.safetensors" | tr -d ' ')
	at=$(tail -c +9 "$1/model.safetensors" | head -c "$header" | jq '.["model.embed_tokens.weight"].data_offsets[0]')
	printf '\377%.0s' $(seq 128) | dd of="$1/model.safetensors" bs=1 seek=$((8 + header + at + 128 * $2)) conv=notrunc status=none
}

# needs NAME... - the test's own programs, which `make check` builds and `make` alone does not
needs() {
	local name

	for name; do
		[ -x "$BUILD/$name" ] || { echo "there is no $BUILD/$name: make check builds it" | fail; return 1; }
	done
}

# shim NAME - LD_PRELOAD for a shim of tests/torture: AddressSanitizer wants to be loaded before it
shim() {
	if nm "$BUILD/sa-train" | grep -q __asan_init; then printf '%s:' "$(cc -print-file-name=libasan.so)"; fi
	echo "$BUILD/$1"
}

# same_bytes PROGRAM NAME - the tests NAME of this unit test read the same bytes back from the simulated GPU, in whatever order its threads, blocks and
# streams run
same_bytes() {
	local order seed async

	: >hashes
	while read -r order seed async; do
		if ! CUDASIM_ORDER=$order CUDASIM_SEED=$seed CUDASIM_ASYNC=$async T_NAME=$2 "$BUILD/unit/$1" >tap || ! grep '^# read back' tap >>hashes; then
			{ echo "$order $seed $async:"; cat tap; } | fail
			return 1
		fi
	done <<<$'fwd 1 late\nrev 1 late\nrand 1 rand\nrand 2 early'
	assert_equal "$(sort -u hashes | wc -l)" 1
}

# wait_until SECONDS COMMAND... - poll until it succeeds; fails when it never does
wait_until() {
	local end=$((SECONDS + $1))

	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || { echo "never became true: $*" | fail; return 1; }
		sleep 0.05
	done
}

# ---- the fault server (tests/fault/fault.c has the language of its script) ----

# start_fault [-n NAME] [--OPTION VALUE...] LINE... - a fault server with these lines as its script: $E is its endpoint, $fault_pid its process.
# Its files are script, log and ready, with -n NAME: NAME.script and so on. Options of its own, come with a value, --mute as --mute=.
start_fault() {
	local name= options=()

	needs fault
	while [ "${1#-}" != "$1" ]; do
		case $1 in
		-n)	name=$2.; shift 2 ;;
		--*=)	options+=("${1%=}"); shift ;;
		*)	options+=("$1" "$2"); shift 2 ;;
		esac
	done
	printf '%s\n' "$@" >"${name}script"
	rm -f "${name}ready"
	: >"${name}log"
	"$BUILD/fault" --script "${name}script" --log "${name}log" --ready "${name}ready" "${options[@]}" 3>&- &
	fault_pid=$!
	disown	# or the shell would tell of its end
	wait_until 20 test -s "${name}ready"
	E=$(cat "${name}ready")
}

# requests - how many the server got, by its log
requests() { wc -l <log; }
got_requests() { [ "$(requests)" -ge "$1" ]; }
expect_requests() { assert_equal "$(requests)" "$1"; }

# counts [ENDPOINT] - what the server counted (GET /count): one JSON object; it does not see a socket or TLS
counts() {
	local at=${1:-$E}

	at=${at#http://}
	at=${at%/v1}
	(
		exec 9<>"/dev/tcp/${at%:*}/${at#*:}"
		printf 'GET /count HTTP/1.1\r\nConnection: close\r\n\r\n' >&9
		sed '1,/^\r$/d' <&9
	)
}

# expect_errors CLASS... - the sa_error class of each line of output, null for none
expect_errors() {
	assert_equal "$(jq -r '.sa_error.class' output | xargs)" "$*"
}

# records N - N records of different words
records() { seq -f '{"prompt":"word %.0f and so on"}' "$1"; }

# in_background PROG ARG... - like run_filter, with $pid; a script's background job would ignore SIGINT
in_background() {
	env --default-signal=INT,TERM,PIPE "$@" <input >output 2>stderr 3>&- &
	pid=$!
}

# ended - wait for $pid: $status
ended() {
	status=0
	wait "$pid" || status=$?
	stderr=$(cat stderr)
}

lines_in() { [ "$(wc -l <"$1")" -ge "$2" ]; }
