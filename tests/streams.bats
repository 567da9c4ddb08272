# streams.bats - what goes in and out of a filter byte by byte, and by which descriptors (contract 1 to 5, 9, 14, 15, 28)
load lib

FILTERS="sa-intent sa-expand sa-regen sa-ppl sa-judge"	# those that ask a model

@test "contract 1: - is standard input, -- ends the options, another operand is refused" {
	start_fault echo
	given '{"prompt":"a b"}'
	for args in "-" "-- -" "--"; do
		run_filter sa-ppl -e "$E" $args
		expect_status 0
		assert_equal "$(jq -c 'has("ppl")' output)" true
	done
	expect_requests 3
	for args in "-- --strict" "input" "- input"; do
		run_filter sa-ppl -e "$E" $args
		expect_status 2
		expect_stderr_has "unexpected operand: "
		expect_output
	done
	expect_requests 3
}

@test "contract 1: whatever happens, standard output is JSON objects, one a line" {
	start_fault "mix 20% first 9 status 400 | 20% first 1 cut | 10% first 1 garbage | echo"
	{ records 60; printf 'no json\n{"prompt":"\xff"}\n\n[2]\n'; } >input
	run_filter sa-ppl -e "$E" --retries 1 --status-every 0.01 --insecure
	expect_status 1
	assert_equal "$(wc -l <output)" 63
	assert_equal "$(jq -c type output | sort -u)" '"object"'
	assert [ "$(grep -vc '^sa-ppl: ' stderr)" = 0 ]
}

@test "contract 2: output is compact UTF-8, and each line ends" {
	start_fault 'ok Answer: 安全第一\u2028, \u00e9\ud83d\ude00.'
	printf '{"prompt":"é"}' >input
	run_filter sa-regen -e "$E"
	expect_status 0
	assert_equal "$(wc -l <output)" 1
	grep -qF '安全第一' output
	grep -qF 'é😀.' output
	assert_equal "$(jq -c . output)" "$(cat output)"
}

@test "contract 2: lines of processes that append to one file stay whole" {
	start_fault "delay 0-5 echo"
	for i in 1 2 3 4; do
		seq -f "{\"prompt\":\"$i %.0f\",\"long\":\"$(printf "$i%.0s" $(seq 9000))\"}" 60 >in.$i
		sa-ppl -e "$E" -m fault -j 4 <in.$i >>shared 2>err.$i 3>&- &
	done
	wait
	cat err.*
	assert_equal "$(wc -l <shared)" 240
	assert_equal "$(jq -c '[(.long | length), has("ppl")]' shared | sort | uniq -c | xargs)" "240 [9000,true]"
}

@test "contract 2: no matter how it is cut into reads, the input is the same" {
	start_fault echo
	records 20 >input
	run_filter sa-ppl -e "$E" -m fault
	while IFS= read -r -n 7 -d '' part || [ -n "$part" ]; do printf %s "$part"; done <input | sa-ppl -e "$E" -m fault >slowly
	cmp output slowly
}

@test "contract 4: a filter's own members are appended, or replaced where they stand" {
	start_fault 'ok insult'
	given '{"z":1.50 ,"intents":["old"],"prompt":"a","category":"OFF", "y":[1E2]}' '{"prompt":"b" }'
	run_filter sa-intent -e "$E" -j 1 --force
	expect_status 0
	assert_equal "$(jq -c keys_unsorted output)" '["z","intents","prompt","category","y"]
["prompt","intents","category"]'
	assert_equal "$(head -n 1 output | cut -c -32)" '{"z":1.50 ,"intents":["insult"],'
	grep -q '"y":\[1E2\]}$' output
}

@test "contract 4: of members of the same name each keeps its bytes" {
	start_fault echo
	given '{"a":1.0,"prompt":"a b","a" : 1e400}'
	run_filter sa-ppl -e "$E"
	expect_status 0
	assert_equal "${output%,\"ppl\":*}" '{"a":1.0,"prompt":"a b","a" : 1e400'
}

@test "contract 5: lone surrogates, control bytes, numbers that are none and nesting past 2,048 are bad records" {
	start_fault echo
	nested() { printf '{"prompt":"a b","x":%s%s}\n' "$(printf '[%.0s' $(seq "$1"))" "$(printf ']%.0s' $(seq "$1"))"; }
	{ printf '{"prompt":"\\ud800"}\n{"prompt":"a\x01b"}\n{"prompt":"a\tb"}\n{"prompt":"a","x":Infinity}\n{"prompt":"a","x":01}\n'
	  nested 2048; nested 2000; } >input
	run_filter sa-ppl -e "$E"
	expect_status 1
	assert_equal "$(head -n 6 output | jq -r .sa_error.class | uniq -c | xargs)" "6 bad_record"
	sed -n 7p output | grep -q ',"ppl":'	# too deep for jq
	assert_equal "$(grep -c '^sa-ppl: stdin:[1-6]: ' stderr)" 6
	expect_requests 1
	# what came out wrapped is a record: it passes through another stage, and is tried here again
	head -n 6 output >input
	run_filter sa-intent -e "$dead_endpoint"
	expect_status 0
	cmp input output
}

@test "contract 8: every filter takes nothing for nothing, whatever else it is told" {
	for f in $FILTERS sa-pick; do
		run_filter $f --stats stats
		expect_status 0
		expect_output
		assert_equal "$stderr" ""
		assert_equal "$(jq -c '[.in,.out,.failed]' stats)" '[0,0,0]'
		[ $f != sa-pick ] || continue
		run_filter $f -e "$dead_endpoint" -m fault --cache dir --failed failed --rpm 10 --max-tokens-total 1
		expect_status 0
		expect_output
		assert_equal "$(cat failed)" ""
	done
}

@test "contract 9: memory is bounded by the window, in bytes too" {
	start_fault hang
	mkfifo endless
	{ printf '{"prompt":"'; head -c 1000000 /dev/zero | tr '\0' a; printf '"}\n'; } >line
	{ while cat line; do :; done; } >endless 3>&- 2>/dev/null &
	env --default-signal=INT,TERM sa-ppl -e "$E" -m fault -j 4 --stats stats <endless >output 2>stderr 3>&- &
	pid=$!
	wait_until 30 got_requests 4
	seen=-1	# until it reads no more
	read_more() { local n; n=$(sed -n 's/^rchar: //p' /proc/$pid/io); [ "$n" != "$seen" ] || return 0; seen=$n; sleep 0.3; return 1; }
	wait_until 60 read_more
	used=$(($(sed -n 's/^VmHWM:[ \t]*\([0-9]*\) kB/\1/p' /proc/$pid/status) / 1024))
	kill -TERM $pid
	ended
	# 64 MB of lines in the window, and the same again of records made of them, requests and what was read ahead
	case $BUILD in *san) most=1200 ;; *) most=280 ;; esac
	assert [ "$used" -gt 0 ]
	assert [ "$used" -lt $most ]
	assert [ "$(jq .in stats)" -lt 100 ]
}

@test "contract 9: twenty thousand records at -j 64 take less than 64 MiB" {
	start_fault echo
	mkfifo more
	exec 8<>more
	sa-ppl -e "$E" -m fault -j 64 <more >output 2>stderr 3>&- 8>&- &
	pid=$!
	records 20000 >&8
	wait_until 120 lines_in output 20000
	used=$(($(sed -n 's/^VmHWM:[ \t]*\([0-9]*\) kB/\1/p' /proc/$pid/status) / 1024))
	exec 8>&-
	ended
	assert_equal "$status" 0
	case $BUILD in *san) most=600 ;; *) most=64 ;; esac
	assert [ "$used" -gt 0 ]
	assert [ "$used" -lt $most ]
}

@test "contract 10: in a pipe of three, a record comes out at the end while the input stays open" {
	start_fault 'ok insult'
	mkfifo fifo
	{ sa-intent -e "$E" -m fault | sa-ppl -e "$E" -m fault | sa-intent -e "$E" -m fault -f; } <fifo >output 2>stderr 3>&- &
	exec 8>fifo
	for i in 1 2 3; do
		echo '{"prompt":"a b","ppl":1}' >&8
		wait_until 20 lines_in output $i
	done
	exec 8>&-
}

# blocking PID - none of its descriptors 0, 1 and 2 is non-blocking or watched by an event loop
blocking() {
	local fd flags info

	for fd in 0 1 2; do
		flags=$(sed -n 's/^flags:\t//p' "/proc/$1/fdinfo/$fd")
		[ $((flags & 04000)) = 0 ] || { echo "descriptor $fd is non-blocking" | fail; return 1; }
	done
	for info in /proc/"$1"/fdinfo/*; do
		! grep -q '^tfd: *[012] ' "$info" || { echo "a standard descriptor is watched" | fail; return 1; }
	done
	cat /proc/"$1"/fdinfo/* | grep -q '^tfd: '	# there is a loop, and it watches others
}

@test "contract 14: no standard descriptor becomes non-blocking or is given to the loop, be it a file, a pipe or a terminal" {
	start_fault hang
	given '{"prompt":"a b"}'
	in_background sa-ppl -e "$E" -m fault
	wait_until 20 got_requests 1
	blocking $pid
	kill -9 $pid

	mkfifo in out err
	exec 7<>in 8<>out 9<>err
	cat input >&7
	sa-ppl -e "$E" -m fault <&7 >&8 2>&9 3>&- 7>&- 8>&- 9>&- &
	pid=$!
	wait_until 20 got_requests 2
	blocking $pid
	kill -9 $pid
	exec 7>&- 8>&- 9>&-

	printf '%s\n' 'echo $$ >tty-pid' "exec sa-ppl -e $E -m fault" >job
	{ cat input; wait_until 20 test -s done; } | script -qec "sh job" /dev/null >shown 3>&- &
	wait_until 20 got_requests 3
	test -c "$(readlink /proc/"$(cat tty-pid)"/fd/0)"
	blocking "$(cat tty-pid)"
	kill -9 "$(cat tty-pid)"
	echo >done
}

@test "contract 15: every program works in an empty environment" {
	start_fault 'ok insult'
	given '{"prompt":"a bb","category":"OFF","intents":["x"],"response":"c","ppl":1}'
	for f in $FILTERS sa-pick; do
		status=0
		model="-e $E -m fault"
		[ $f != sa-pick ] || model=
		env -i "$BUILD/$f" $model <input >output 2>stderr || status=$?
		[ "$status" -le 1 ] || { cat stderr | fail; }
		assert_equal "$(jq -r 'select(.sa_error) | .sa_error.class' output | grep -v unparsed)" ""
	done
	for p in $FILTERS sa-pick sa-eval sa-serve sa-train sa-report; do
		env -i "$BUILD/$p" --help >help
		grep -q "^Usage: $p " help
	done
}

@test "contract 15: the locale never changes output, since no program asks for one" {
	for p in $FILTERS sa-pick sa-eval sa-serve sa-train sa-report; do
		assert_equal "$(nm -D --undefined-only "$BUILD/$p" | grep -cE ' (setlocale|newlocale|uselocale)(@|$)')" 0
		nm -D --undefined-only "$BUILD/$p" | grep -q ' write\(@\|$\)'	# nm does see what it uses
	done
	start_fault echo
	given '{"prompt":"ein Wort und noch eines"}'
	for l in C C.UTF-8 de_DE.UTF-8; do
		LC_ALL=$l run_filter sa-ppl -e "$E" -m fault
		expect_status 0
		mv output out.$l
	done
	cmp out.C out.C.UTF-8
	cmp out.C out.de_DE.UTF-8
}

@test "contract 28: the same bytes at -j 1, 64 and 256, with and without faults in between" {
	records 250 >input
	start_fault echo
	run_filter sa-ppl -e "$E" -m fault -j 1
	expect_status 0
	mv output right
	for j in 1 64 256; do
		start_fault "mix 10% first 1 status 503 retry-after 0 | 10% first 1 cut | 3% first 2 status 500 retry-after 0 | delay 0-20 echo"
		run_filter sa-ppl -e "$E" -m fault -j $j --retries 9
		expect_status 0
		cmp output right
	done
}

@test "contract 28: with a cache too, full or half full" {
	records 60 >input
	start_fault seed
	sed 's/"prompt"/"category":"OFF",&/' input | head -n 3 >few
	mv few input
	for j in 1 64; do
		run_filter sa-expand -e "$E" -m fault --per-category 20 --seed 7 -j $j
		mv output plain-$j
		run_filter sa-expand -e "$E" -m fault --per-category 20 --seed 7 -j $j --cache dir
		mv output cached-$j
	done
	[ "$(wc -l <plain-1)" -gt 10 ]
	cmp plain-1 plain-64
	cmp plain-1 cached-1
	cmp plain-1 cached-64
}
