# local.bats - one server for a local checkpoint, shared by all who name it, and gone after the last of them
#
# The checkpoint is the bundled teacher.
load lib

CK=$ROOT/pipelines/nano/teacher

setup() {
	sa_setup
	# So that each test has a checkpoint, and with it a server, of its own.
	cp -r "$CK" ck
	seq -f '{"prompt":"word %.0f and so on"}' 12 >input
}

# PIDs of this test's servers that run.
servers() {
	local p

	for p in $(started); do
		[ "$(cat "/proc/$p/comm" 2>/dev/null)" = sa-serve ] && echo "$p"
	done
	return 0
}
no_server() { [ -z "$(servers)" ]; }
has_server() { [ -n "$(servers)" ]; }

@test "local: two filters of a pipe start one server, which ends after the last" {
	sa-ppl -e local:ck <input 2>stderr | sa-ppl -e local:ck 2>>stderr >output
	assert_equal "$(jq -c 'has("ppl")' output | sort | uniq -c | xargs)" "12 true"
	assert_equal "$(cat stderr)" ""
	wait_until 30 no_server
	assert_equal "$(ls "$XDG_RUNTIME_DIR/sa" | sed 's/.*\.//' | xargs)" "lock log"
	assert_equal "$(stat -c %a "$XDG_RUNTIME_DIR/sa")" 700
}

@test "local: six filters of a pipe start one server" {
	sa-intent -e local:ck <input 2>stderr | sa-expand -e local:ck --factor 1.5 2>>stderr | sa-regen -e local:ck 2>>stderr |
		sa-ppl -e local:ck 2>>stderr | sa-judge -e local:ck 2>>stderr | sa-pick --format record --min-safety 0 --max-prompt-safety 1 >output 2>>stderr
	# Each would stay for some seconds after its last client.
	assert_equal "$(servers | wc -l)" 1
	[ "$(wc -l <output)" -gt 0 ]
}

@test "local: eight that start at the same moment share one server" {
	mkfifo hold
	exec 8<>hold
	for i in 1 2 3 4 5 6 7 8; do
		cat input hold 3>&- 8>&- | sa-ppl -e local:ck >out$i 2>err$i 3>&- 8>&- &
	done
	for i in 1 2 3 4 5 6 7 8; do wait_until 60 lines_in out$i 12; done
	assert_equal "$(servers | wc -l)" 1
	assert_equal "$(cat err?)" ""
	exec 8>&-
	wait
	for i in 1 2 3 4 5 6 7 8; do cmp out1 out$i; done
}

@test "local: nothing is left after kill -9 of all clients" {
	mkfifo hold
	exec 8<>hold
	cat input hold 3>&- 8>&- | sa-ppl -e local:ck >out1 2>err1 3>&- 8>&- &
	cat input hold 3>&- 8>&- | sa-ppl -e local:ck >out2 2>err2 3>&- 8>&- &
	wait_until 60 lines_in out1 12
	wait_until 60 lines_in out2 12
	has_server
	for p in $(started); do
		[ "$(cat "/proc/$p/comm" 2>/dev/null)" != sa-ppl ] || kill -9 $p
	done
	exec 8>&-
	wait || true
	wait_until 30 no_server
	assert_equal "$(ls "$XDG_RUNTIME_DIR/sa" | sed 's/.*\.//' | xargs)" "lock log"
}

@test "local: a server that was killed leaves its sockets, and the next client starts another" {
	run_filter sa-ppl -e local:ck
	expect_status 0
	cp output first
	kill -9 $(servers)
	wait_until 20 no_server
	run_filter sa-ppl -e local:ck
	expect_status 0
	cmp output first
}

@test "local: a server that dies in the middle costs no record" {
	mkfifo hold
	exec 8<>hold
	cat input hold 3>&- 8>&- | sa-ppl -e local:ck --retries 1 >output 2>stderr 3>&- 8>&- &
	pid=$!
	wait_until 60 lines_in output 12
	kill -9 $(servers)
	wait_until 20 no_server
	cat input >&8
	exec 8>&-
	status=0
	wait $pid || status=$?
	assert_equal "$status" 1
	assert_equal "$(jq -r '.sa_error.class' output | sort | uniq -c | xargs)" "12 net 12 null"
}

@test "local: the server holds nothing of the pipe open and outlives no reader" {
	sa-ppl -e local:ck <input 2>stderr | cat >output
	has_server
	for p in $(servers); do
		assert_equal "$(readlink /proc/$p/fd/0)" /dev/null
		case $(readlink /proc/$p/fd/1) in "$XDG_RUNTIME_DIR"/sa/*.log) ;; *) fail "standard output of the server: $(readlink /proc/$p/fd/1)" ;; esac
		assert_equal "$(cut -d' ' -f6 /proc/$p/stat)" "$p"
		run ls -l /proc/$p/fd
		refute_output --partial "$BATS_TEST_TMPDIR/output"
	done
}

@test "local: a checkpoint written anew is another model" {
	run_filter sa-ppl -e local:ck
	touch -d '2001-01-01' ck/config.json
	run_filter sa-ppl -e local:ck
	expect_status 0
	assert_equal "$(ls "$XDG_RUNTIME_DIR"/sa/*.log | wc -l)" 2
}

@test "local: a directory's name is no pattern" {
	mv ck 'ck[1]*'
	run_filter sa-ppl -e 'local:ck[1]*'
	expect_status 0
	assert_equal "$(jq -s 'map(select(.ppl)) | length' output)" 12
}

@test "local: what the server says about a broken checkpoint is said, with exit 2" {
	head -c 1000 "$CK/model.safetensors" >ck/model.safetensors
	run_filter sa-ppl -e local:ck
	expect_status 2
	expect_stderr_has "sa-serve ended: " "model.safetensors"
	expect_output
	wait_until 30 no_server
}

@test "local: a directory that others can enter is refused" {
	mkdir -m 755 "$XDG_RUNTIME_DIR/sa"
	run_filter sa-ppl -e local:ck
	expect_status 2
	expect_stderr_has "$XDG_RUNTIME_DIR/sa: must be a directory of yours"
	rmdir "$XDG_RUNTIME_DIR/sa"
	mkdir -m 700 elsewhere
	ln -s "$PWD/elsewhere" "$XDG_RUNTIME_DIR/sa"
	run_filter sa-ppl -e local:ck
	expect_status 2
	expect_stderr_has "$XDG_RUNTIME_DIR/sa: must be a directory of yours"
	assert_equal "$(ls elsewhere)" ""
}

@test "local: empty input and records that are done start nothing" {
	: >input
	run_filter sa-ppl -e local:ck
	expect_status 0
	given '{"prompt":"a b","ppl":1}'
	run_filter sa-ppl -e local:ck
	expect_status 0
	[ ! -e "$XDG_RUNTIME_DIR/sa" ]
}
