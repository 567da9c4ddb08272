# people.bats - what a person sees: progress, summaries, help and the manual (contract 26 and 27)
load lib

FILTERS="sa-intent sa-expand sa-regen sa-ppl sa-judge"	# those that ask a model

@test "contract 26: --stats sums the run up" {
	start_fault "times 2 echo" "status 400" echo
	{ records 4; echo; echo 'bad'; echo '{"prompt":"c","ppl":2}'; } >input
	run_filter sa-ppl -e "$E" -j 1 --stats stats
	expect_status 1
	assert_equal "$(jq -c '[.program,.in,.out,.taken,.made,.failed,.failed_by_class,.blank,.passed,.requests,.retries,.tokens_in,.tokens_out]' stats)" \
		'["sa-ppl",6,6,0,0,2,{"bad_record":1,"bad_request":1},1,1,4,0,15,3]'
	jq -e '.seconds > 0 and .p50 > 0 and .p99 >= .p50' stats
}

@test "contract 26: quiet unless something is wrong; a progress line only on a terminal that can show it" {
	start_fault "delay 1000 echo"
	given '{"prompt":"a b"}'
	run_filter sa-ppl -e "$E"
	assert_equal "$stderr" ""
	TERM=xterm script -qec "$BUILD/sa-ppl -e $E <input >output" /dev/null </dev/null >shown 3>&-
	grep -q "sa-ppl: 0 done.* 1 in flight" shown
	TERM=dumb script -qec "$BUILD/sa-ppl -e $E <input >output" /dev/null </dev/null >shown 3>&-
	[ ! -s shown ]
}

@test "contract 26: --status-every writes lines into a log" {
	start_fault hang
	given '{"prompt":"a b"}'
	in_background sa-ppl -e "$E" --status-every 0.05
	wait_until 20 got_requests 1
	wait_until 20 eval '[ "$(grep -c "^sa-ppl: 0 done, 0.0/s, 1 in flight, 0 failed" stderr)" -ge 2 ]'
	kill -TERM $pid
	ended
	run grep -c $'\r' stderr
	assert_output 0
	run_filter sa-ppl --status-every 0
	expect_status 2
}

@test "contract 27: --help and --version go to standard output" {
	for f in sa-intent sa-expand sa-regen sa-ppl sa-judge sa-pick; do
		run_filter $f --help
		expect_status 0
		assert_equal "$stderr" ""
		case $output in "Usage: $f "*) ;; *) fail "$output" ;; esac
		run_filter $f --version
		expect_status 0
		case $output in "$f "[0-9]*) ;; *) fail "$output" ;; esac
	done
}

# manual_stats - the members of --stats that sa(7) names
manual_stats() {
	sed -n '/^\.It Fl -stats/,/^\.It Fl -status-every/s/^\.Va //p' "$ROOT/man/sa.7" | tr -d ' ;' | tr ',' '\n' | grep . | sort
}

@test "contract 26: --stats has the members that the manual names, and no others" {
	start_fault echo
	records 20 >input
	run_filter sa-ppl -e "$E" -m fault --price 2:4 --stats stats
	expect_status 0
	manual_stats >named
	assert [ "$(wc -l <named)" -ge 20 ]
	jq -r 'keys[]' stats | sort | diff named - || fail "the manual (left) and --stats (right) differ"
	# without a price there is no cost
	run_filter sa-ppl -e "$E" -m fault --stats stats
	assert_equal "$(jq -c 'has("usd")' stats)" false
	# a run without work has them too
	: >input
	run_filter sa-ppl --price 2:4 --stats stats
	jq -r 'keys[]' stats | sort | diff named - || fail "the manual (left) and --stats (right) differ"
}

@test "contract 26: --stats is written however the run ends" {
	start_fault "times 3 echo" hang
	records 20 >input
	in_background sa-ppl -e "$E" -m fault -j 1 --stats stats
	wait_until 20 got_requests 4
	kill -TERM $pid
	ended
	assert_equal "$(jq -c '[.program,.out]' stats)" '["sa-ppl",3]'
	run_filter sa-ppl -e "$dead_endpoint" -m m --retries 0 --stats stats
	expect_status 3
	assert_equal "$(jq .failed_by_class.net stats)" 20
}

@test "contract 26: the progress has what is done, how fast, in flight, failed, the time left, cost, retries and tokens" {
	start_fault 'times 1 status 500' 'times 2 status 400' 'usage {"prompt_tokens":1000,"completion_tokens":500} delay 20 ok Answer: No.'
	records 400 >input
	in_background sa-regen -e "$E" -m fault -j 2 --price 2:4 --status-every 0.2
	line='^sa-regen: [1-9][0-9]* done, [0-9]+\.[0-9]/s, [12] in flight, [12] failed, [0-9]:[0-5][0-9]:[0-5][0-9] left, \$0\.[0-9]+, [1-9][0-9]* retries, [0-9]+000\+[0-9]+00 tokens$'
	wait_until 30 grep -qE "$line" stderr
	kill -TERM $pid
	ended
	run grep -c $'\r' stderr
	assert_output 0
}

# on_terminal COLUMNS VARIABLE=VALUE... - sa-regen on a terminal as wide as that: what it shows is in the file `shown`
on_terminal() {
	local columns=$1

	shift
	env TERM=xterm "$@" script -qec "stty cols $columns; sa-regen -e $E -m fault -j 2 --price 2:4 <input >output" /dev/null </dev/null >shown 3>&-
}

@test "contract 26: the progress fits the terminal, has no colours, and is gone at the end" {
	start_fault 'usage {"prompt_tokens":1000,"completion_tokens":500} delay 500 ok Answer: No.'
	records 2 >input
	for columns in 150 40; do
		on_terminal $columns NO_COLOR=1
		tr '\r' '\n' <shown >lines
		sed 's/\x1b\[K//g' lines >text
		assert [ "$(wc -L <text)" -lt $columns ]
		refute grep -q $'\x1b\[[0-9;]*m' shown
		grep -q '^sa-regen: 0 done, 0.0/s, 2 in flig' text
		assert_equal "$(tail -c 4 shown | od -An -c | xargs)" 'r 033 [ K'	# xargs takes the backslash
	done
	on_terminal 150
	tr '\r' '\n' <shown | grep -q '^sa-regen: .* in flight, 0 failed, \$0, 0 retries, 0+0 tokens'
	on_terminal 150 TERM=dumb
	[ ! -s shown ]
	on_terminal 150 TERM=
	[ ! -s shown ]
}

@test "contract 26: a message does not mix with the progress line" {
	start_fault 'delay 700 status 400'
	given '{"prompt":"a b"}'
	TERM=xterm script -qec "sa-ppl -e $E -m fault <input >output" /dev/null </dev/null >shown 3>&- || true
	grep -q $'^\rsa-ppl: 0 done' shown
	grep -q $'\r\x1b\[Ksa-ppl: stdin:1: bad_request: HTTP 400: as the script says\r$' shown
}

# options_of PROGRAM - its lines of --help that tell an option, one a line
options_of() { sa_help "$1" | sed -n 's/^  \(-., \|    \)--\([a-z0-9-]*\).*/\2/p'; }
sa_help() { "$BUILD/$1" --help; }

@test "contract 27: an option that two programs have is told in the same words" {
	for f in $FILTERS; do
		sa_help "$f" | sed -n '/^  -e, --endpoint/,$p' >common.$f
		assert [ "$(wc -l <common.$f)" -gt 25 ]
		cmp common.sa-intent common.$f
	done
	for p in sa-pick sa-eval; do	# a part of them, all the same
		for option in $(options_of $p); do
			grep -q -- "--$option\( \|\$\)" common.sa-intent || continue
			grep -qxF -- "$(sa_help $p | grep -- "^  \(-., \|    \)--$option\( \|\$\)")" common.sa-intent || fail "$p --$option"
		done
	done
	assert_equal "$(options_of sa-pick | grep -cxE 'seed|stats|status-every|strict|max-line')" 5
	assert_equal "$(options_of sa-eval | grep -cxE 'cache|rpm|tpm|max-usd|price|retries|deadline|key-file')" 8
}

@test "contract 27: every option is in the program's page or, when all filters have it, in sa(7)" {
	for p in $FILTERS sa-pick sa-eval sa-serve sa-train sa-report; do
		[ -n "$(options_of $p)" ]
		for option in $(options_of $p | grep -vxE 'help|version'); do
			grep -qE -- "(Fl|,|It Fl) -$option( |\$)" "$ROOT/man/$p.1" && continue
			case $p in
			sa-serve|sa-train|sa-report) fail "$p --$option is not in its page" ;;
			*) grep -qE -- "Fl -$option( |\$)|, -$option( |\$)" "$ROOT/man/sa.7" || fail "$p --$option is in no page" ;;
			esac
		done
	done
}

@test "contract 27: the pages are clean and have exit status, environment and examples" {
	run mandoc -T lint -W warning "$ROOT"/man/*.[1-9]
	assert_output ""
	for page in "$ROOT"/man/*.1 "$ROOT/man/sa.7"; do
		for section in ENVIRONMENT 'EXIT STATUS' EXAMPLES; do
			grep -qx ".Sh $section" "$page" || fail "${page##*/} has no $section"
		done
		man=$(mandoc -T utf8 "$page")
		[ -n "$man" ]
	done
	for f in $FILTERS; do
		grep -q '^\.Xr sa 7' "$ROOT/man/$f.1"
		for n in 0 1 2 3 4 5; do
			sed -n '/^\.Sh EXIT STATUS/,/^\.Sh EXAMPLES/p' "$ROOT/man/$f.1" | grep -qE "(^|; )$n: " || fail "$f.1: exit status $n"
		done
	done
}

@test "contract 27: options are taken in every form, abbreviated never" {
	start_fault "delay 50 echo"
	records 8 >input
	for j in "-j 3" "-j3" "--jobs 3" "--jobs=3"; do
		: >log
		run_filter sa-ppl -e "$E" -m fault $j
		expect_status 0
		assert_equal "$(jq .at_once log | sort -n | tail -n 1)" 3
	done
	for wrong in "--job 3" "-j" "--jobs" "-j three" "--jobs=" "--strict=1" "--no-such" "-Z"; do
		run_filter sa-ppl -e "$E" -m fault $wrong
		expect_status 2
		assert_equal "$(wc -l <stderr)" 1
		expect_output
	done
}
