# break.bats - whole pipes that are broken off: nothing hangs, nothing is left, and what was written are whole lines
load lib

# serve LINE... - a fault server with that script: $E is its endpoint
serve() { start_fault "$@"; }

# PIDs of this test's filters named $1 (all of them: sa-*)
filters() {
	local p

	for p in $(started); do
		case $(cat "/proc/$p/comm" 2>/dev/null) in $1) echo "$p" ;; esac
	done
}
no_filter() { [ -z "$(filters 'sa-*')" ]; }

# Six filters in a process group of their own, as a shell's job on a terminal is: $group.
six() {
	rm -f group first middle output
	setsid --fork env --default-signal=INT,TERM,PIPE sh -c 'echo $$ >group.tmp; mv group.tmp group
		sa-intent -e "$0" | tee first | sa-expand -e "$0" --factor 1.1 | sa-regen -e "$0" | sa-ppl -e "$0" | tee middle | sa-judge -e "$0" |
			sa-pick --format record >output' "$E" <input >shown 2>&1 3>&-
	wait_until 20 test -s group
	group=$(cat group)
}

# whole FILE - only whole lines of JSON, each of a prompt that was in the input
whole() {
	[ ! -s "$1" ] || [ -z "$(tail -c 1 "$1")" ] || { echo "$1 ends in half a line" | fail; }
	jq -es 'all(.[]; .prompt | test("^word [0-9]+ and so on$"))' "$1" >/dev/null
}

# kept FILE - the prompts of a file are the first of the input, in its order
kept() {
	jq -r .prompt "$1" >prompts.got
	jq -r .prompt input | head -n "$(wc -l <prompts.got)" | cmp - prompts.got
}

@test "break: a signal to all six filters ends them all, whichever it is" {
	seq -f '{"prompt":"word %.0f and so on"}' 300 >input
	for sig in INT TERM KILL; do
		serve "times 60 delay 0-20 ok fraud" hang
		six
		wait_until 20 got_requests 61
		wait_until 20 test -s first
		kill -$sig -- "-$group"
		wait_until 20 no_filter
		whole first
		kept first
		whole output
	done
}

@test "break: one filter that is killed takes the pipe down with it, and what passed is a prefix" {
	seq -f '{"prompt":"word %.0f and so on","intents":["x"],"category":"OFF","responses":[{"text":"t","by":"original"}]}' 3000 >input
	for name in sa-regen sa-ppl sa-judge; do
		serve "delay 20-60 status 400"
		six
		wait_until 20 got_requests 20
		kill -9 $(filters "$name")
		wait_until 60 no_filter
		whole middle
		whole output
		kept middle
	done
}

@test "break: Ctrl-C typed in a terminal ends the pipe" {
	serve "times 20 ok fraud" hang
	seq -f '{"prompt":"word %.0f and so on"}' 100 >input
	mkfifo keys
	exec 8<>keys
	env --default-signal=INT,TERM,PIPE script -qec "sa-intent -e $E <input | tee middle | sa-regen -e $E | sa-judge -e $E >output" /dev/null \
		<keys >shown 2>&1 3>&- 8>&- &
	wait_until 20 got_requests 21
	printf '\003' >&8
	wait_until 20 no_filter
	exec 8>&-
	whole middle
	whole output
	kept middle
}

@test "break: head -3 behind three filters ends them all by SIGPIPE" {
	serve "ok fraud"
	seq -f '{"prompt":"word %.0f and so on"}' 5000 >input
	set +e
	env --default-signal=PIPE sa-intent -e "$E" <input 2>stderr 3>&- | env --default-signal=PIPE sa-regen -e "$E" 2>>stderr 3>&- |
		env --default-signal=PIPE sa-judge -e "$E" 2>>stderr 3>&- | head -n 3 >output
	status="${PIPESTATUS[*]}"
	set -e
	assert_equal "$status" "141 141 141 0"
	assert_equal "$(wc -l <output)" 3
	kept output
	[ "$(wc -l <log)" -lt 5000 ]
}
