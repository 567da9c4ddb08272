# one filter with a sample of its calls failing, one after another (`make torture`: all of them)
load lib

setup() {
	sa_setup
	case $BUILD in *san) skip "a sanitizer has an allocator of its own" ;; esac
}

@test "torture: a selection that runs out of memory, or whose files fail, says so and writes nothing wrong" {
	run sh "$ROOT/tests/torture/run.sh" "$BUILD" 200 sa-pick
	assert_success
	for mode in memory files short eintr; do
		assert_line --regexp "^sa-pick +$mode .* [1-9][0-9]* tortured .* 0 wrong\$"
	done
}

# victim SHELL-COMMAND... - torture a shell that reads a line with `read`, which is all it checks
victim() {
	echo hello >input
	run "$BUILD/torture" --mode "$1" --limit 1 --at 1 --shim "$BUILD/fail.so" --input input -- sh -c "$2"
	assert_failure 1
}

@test "torture: what must not happen is seen" {
	victim files 'read -r x; echo "$x"'
	assert_line --partial 'exit status 0, but the output is another'
	victim files 'read -r x || exit 1; echo "$x"'
	assert_line --partial 'no message'
	victim files 'read -r x || { echo y; echo x >&2; exit 4; }; echo "$x"'
	assert_line --partial 'the output is no records'
	victim files 'read -r x || { echo x >&2; exit 126; }; echo "$x"'
	assert_line --partial 'an exit status that no page names'
	victim files 'read -r x || kill -SEGV $$; echo "$x"'
	assert_line --partial 'Segmentation fault'
	victim files 'read -r x || sleep 60; echo "$x"'
	assert_line --partial 'it hung'
}
