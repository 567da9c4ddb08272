# filter.bats - the record loop, point by point of the filter contract (sa(7)), against a server that misbehaves to order
load lib

serve() { start_fault "$@"; }

# ---- records ----

@test "contract 2: one line in, one line out, each whole, in input order" {
	serve "delay 0-40 echo"
	records 300 >input
	run_filter sa-ppl -e "$E" -j 32
	expect_status 0
	assert_equal "$(jq -r .prompt output)" "$(jq -r .prompt input)"
	assert_equal "$(jq -c 'has("ppl")' output | sort | uniq -c | xargs)" "300 true"
	expect_requests 300
}

@test "contract 3: CRLF, a byte-order mark, blank lines and a missing last newline" {
	serve echo
	printf '\xef\xbb\xbf{"prompt":"a b"}\r\n\n  \r\n{"prompt":"c d"}  \n{"prompt":"e f"}' >input
	run_filter sa-ppl -e "$E" --stats stats
	expect_status 0
	assert_equal "$(jq -r .prompt output | xargs)" "a b c d e f"
	assert_equal "$(jq -c '[.in,.out,.blank]' stats)" "[3,3,2]"
}

@test "contract 4: bytes that are not the filter's survive" {
	serve echo
	given '{"n" : 0.936254,"prompt":"a b","big":123456789012345678901234567890,"n":1E2, "s":"\u00e9\/"}'
	run_filter sa-ppl -e "$E"
	assert_equal "${output%,\"ppl\":*}" '{"n" : 0.936254,"prompt":"a b","big":123456789012345678901234567890,"n":1E2, "s":"\u00e9\/"'
}

@test "contract 5: a bad line is told, wrapped and passed by" {
	serve echo
	printf '{"prompt":"a b"}\nnot json\n{"prompt":"\xff"}\n[1]\n{"x":1}\n{"prompt":NaN}\n{"prompt":"c d"}\n' >input
	run_filter sa-ppl -e "$E"
	expect_status 1
	expect_errors null bad_record bad_record bad_record bad_record bad_record null
	assert_equal "$(sed -n 2p output | jq -c '[.sa_error.stage,.raw]')" '["sa-ppl","not json"]'
	assert_equal "$(grep -c '^sa-ppl: stdin:[2-6]: ' stderr)" 5
	expect_requests 2
}

@test "contract 5: a line of more than 16 MiB is a bad record" {
	serve echo
	{ printf '{"prompt":"'; head -c 17000000 /dev/zero | tr '\0' a; printf '"}\n{"prompt":"a b"}\n'; } >input
	run_filter sa-ppl -e "$E"
	expect_status 1
	expect_stderr_has "stdin:1: the line is longer than 16 MiB"
	expect_errors bad_record null
}

@test "contract 6: a record that failed in another stage passes byte for byte" {
	given '{"prompt":"a b" ,"sa_error":{"stage":"sa-intent","class":"net"}}'
	run_filter sa-ppl -e "$dead_endpoint"
	expect_status 0
	expect_output '{"prompt":"a b" ,"sa_error":{"stage":"sa-intent","class":"net"}}'
}

@test "contract 6: a record that failed here is tried again, and then carries no error" {
	serve "status 400" echo
	given '{"prompt":"a bb","mine":1}'
	run_filter sa-ppl -e "$E"
	expect_status 1
	expect_errors bad_request
	assert_equal "$(jq -c '.sa_error | [.stage,.attempts,.http]' output)" '["sa-ppl",1,400]'
	cp output input
	run_filter sa-ppl -e "$E"
	expect_status 0
	assert_equal "$(jq -c keys output)" '["mine","ppl","ppl_tokens","prompt"]'
}

@test "contract 7: what is no reply to the question never becomes a label" {
	serve "length fraud" null "refusal I will not" "filtered fraud" "ok This is a long sentence that is certainly not a list of labels at all." "json {}"
	records 6 >input
	run_filter sa-intent -e "$E" -j 1 --retries 0
	expect_status 1
	expect_errors truncated blocked blocked blocked unparsed server
	assert_equal "$(jq -c 'has("intents")' output | uniq)" false
}

@test "contract 7: a text that hides behind a NUL is not asked about" {
	serve echo
	given '{"prompt":"a b\u0000 and more"}' '{"prompt":"a b \\u0000"}' '{"prompt":"a b\u0000 and more","ppl":1}'
	run_filter sa-ppl -e "$E"
	expect_status 1
	expect_errors bad_record null null
	expect_requests 1
}

@test "contract 8: empty input is no work: no network, no key, no endpoint" {
	for args in "" "-e $dead_endpoint"; do
		run_filter sa-ppl $args
		expect_status 0
		expect_output
		assert_equal "$stderr" ""
	done
	printf '\n\n' >input
	run_filter sa-ppl
	expect_status 0
	expect_output
}

@test "contract 8: records that are done need no endpoint" {
	given '{"prompt":"a b","ppl" : 1.50}'
	run_filter sa-ppl
	expect_status 0
	expect_output '{"prompt":"a b","ppl" : 1.50}'
}

@test "contract 9: a full window stops reading" {
	serve hang echo
	mkfifo endless
	yes '{"prompt":"a b"}' >endless 3>&- 2>/dev/null &
	env --default-signal=INT,TERM sa-ppl -e "$E" -j 2 --stats stats <endless >output 2>stderr 3>&- &
	pid=$!
	wait_until 20 got_requests 256
	kill -TERM $pid
	ended
	assert_equal "$(jq -c '[.in,.out,.requests]' stats)" "[256,0,256]"
}

@test "contract 10: a finished record is seen at once, while more input is awaited" {
	serve echo
	mkfifo fifo
	sa-ppl -e "$E" <fifo >output 2>stderr 3>&- &
	pid=$!
	exec 8>fifo
	echo '{"prompt":"a b"}' >&8
	wait_until 20 lines_in output 1
	echo '{"prompt":"c d"}' >&8
	wait_until 20 lines_in output 2
	exec 8>&-
	ended
	assert_equal "$status" 0
}

# ---- exit status and signals ----

@test "contract 11: usage is 2 and says what to do" {
	given '{"prompt":"a b"}'
	run_filter sa-ppl
	expect_status 2
	expect_stderr_has "-e URL" "-e local:DIR"
	expect_output
	: >input
	run_filter sa-ppl --no-such-option
	expect_status 2
	run_filter sa-ppl -e example.org
	expect_status 2
	expect_stderr_has "example.org: an endpoint is"
	run_filter sa-ppl -e local:/nowhere
	expect_status 2
	expect_stderr_has "/nowhere: No such file"
	mkdir empty
	run_filter sa-ppl -e local:empty
	expect_status 2
	expect_stderr_has "empty: not a checkpoint directory: no config.json"
	run_filter sa-ppl -j 0
	expect_status 2
	run_filter sa-ppl file.ndjson
	expect_status 2
	run_filter sa-intent --prompt /nowhere
	expect_status 2
	run_filter sa-ppl --stats /nowhere/stats
	expect_status 2
}

@test "contract 11: an endpoint that nobody answers is 3, and every record is accounted for" {
	records 100 >input
	run_filter sa-ppl -e "$dead_endpoint" -m m --retries 1 --stats stats
	expect_status 3
	assert_equal "$(jq -r .sa_error.class output | sort | uniq -c | xargs)" "100 net"
	assert_equal "$(jq -c '[.in,.out,.failed,.failed_by_class.net]' stats)" "[100,100,100,100]"
	[ "$(jq .requests stats)" -le 128 ]
	expect_stderr_has "the endpoint is unusable"

	run_filter sa-ppl -e unix:./nothing -m m --retries 0
	expect_status 3
	assert_equal "$(wc -l <output)" 100
}

@test "contract 11: a refused key is 3, and asks no more than was in flight" {
	serve "status 401"
	records 50 >input
	OPENAI_API_KEY=sk-secret run_filter sa-ppl -e "$E" -j 4
	expect_status 3
	assert_equal "$(jq -r .sa_error.class output | sort | uniq -c | xargs)" "50 auth"
	[ "$(requests)" -le 4 ]
	assert_equal "$(jq -r .auth log | sort -u)" "Bearer sk-secret"
	run grep -c secret output stderr
	assert_output "output:0
stderr:0"
}

@test "contract 11: a 401 among good replies fails its record only" {
	serve echo "status 401" echo
	records 3 >input
	run_filter sa-ppl -e "$E" -j 1
	expect_status 1
	expect_errors null auth null
}

@test "contract 11: a full disk, closed descriptors and an unreadable input are 4" {
	given '{"prompt":"a b","ppl":1}'
	status=0
	sa-ppl <input >/dev/full 2>stderr || status=$?
	assert_equal "$status" 4
	assert_equal "$(cat stderr)" "sa-ppl: cannot write the output: No space left on device"
	status=0
	sa-ppl <input >&- 2>stderr || status=$?
	assert_equal "$status" 4
	status=0
	sa-ppl --stats stats <input >&- 2>stderr || status=$?
	assert_equal "$status" 4
	assert_equal "$(jq -r .program stats)" sa-ppl
	status=0
	sa-ppl <&- >output 2>stderr || status=$?
	assert_equal "$status" 4
	status=0
	sa-ppl --stats /dev/full <input >output 2>stderr || status=$?
	assert_equal "$status" 4
	assert_equal "$(cat stderr)" "sa-ppl: cannot write /dev/full: No space left on device"
	cmp input output
	status=0
	sa-ppl <. >output 2>stderr || status=$?
	assert_equal "$status" 4
	grep "^sa-ppl: stdin: " stderr
}

@test "contract 12: head -1 stops the spending" {
	serve "times 3 echo" hang
	records 1000 >input
	set +e
	env --default-signal=PIPE sa-ppl -e "$E" -j 4 <input 2>stderr 3>&- | head -n 1 >output
	status=${PIPESTATUS[0]}
	set -e
	assert_equal "$status" 141
	assert_equal "$(wc -l <output)" 1
	[ "$(requests)" -le 7 ]
}

@test "contract 12: a reader that never reads a line is noticed too" {
	serve hang
	records 10 >input
	set +e
	env --default-signal=PIPE sa-ppl -e "$E" <input 2>stderr 3>&- | wait_until 20 got_requests 10
	status=${PIPESTATUS[0]}
	set -e
	assert_equal "$status" 141
}

@test "contract 13: SIGTERM and SIGINT write the finished prefix and die by the signal" {
	for sig in TERM INT; do
		serve "times 3 echo" hang
		records 50 >input
		in_background sa-ppl -e "$E" -j 1 --stats stats
		wait_until 20 got_requests 4
		wait_until 20 lines_in output 3
		kill -$sig $pid
		ended
		assert_equal "$status" $((128 + $(kill -l $sig)))
		assert_equal "$(jq -c 'has("ppl")' output | xargs)" "true true true"
		assert_equal "$(jq -c '[.out,.requests]' stats)" "[3,4]"
	done
}

@test "contract 13: a reader that waits for input does not keep a signal waiting" {
	serve echo
	mkfifo fifo
	exec 8<>fifo
	echo '{"prompt":"a b"}' >&8
	env --default-signal=TERM sa-ppl -e "$E" <fifo >output 2>stderr 3>&- 8>&- &
	pid=$!
	wait_until 20 lines_in output 1
	kill -TERM $pid
	ended
	assert_equal "$status" 143
	exec 8>&-
}

@test "contract 13: the second signal ends it even while nobody takes the output" {
	for i in $(seq 3000); do echo "{\"prompt\":\"$i a record that needs no model, but some room in the pipe\",\"ppl\":1}"; done >input
	mkfifo fifo
	exec 8<>fifo
	env --default-signal=TERM sa-ppl <input >fifo 2>stderr 3>&- 8>&- &
	pid=$!
	wait_until 20 grep -qs sa-ppl /proc/$pid/comm
	while kill -TERM $pid 2>/dev/null; do sleep 0.05; done 3>&- &
	ended
	assert_equal "$status" 143
	exec 8>&-
}

@test "contract 13: after the first signal nothing is read or sent any more, and it does not take long" {
	serve "times 5 echo" hang
	records 5000 >input
	in_background sa-ppl -e "$E" -j 2 --stats stats
	wait_until 20 got_requests 7
	kill -INT $pid
	ended
	assert_equal "$status" 130
	expect_requests 7
	[ "$(jq .in stats)" -lt 1000 ]
	assert_equal "$(jq -r .prompt output)" "$(head -n 5 input | jq -r .prompt)"
	wait_until 20 eval '[ "$(counts | jq .connections)" -ge 1 ]'
}

@test "contract 13: an interrupted end phase writes no half conclusions" {
	serve "ok none" hang
	given '{"prompt":"a b","category":"OFF"}'
	in_background sa-expand -e "$E" --per-category 3 -j 2
	wait_until 20 got_requests 2
	kill -TERM $pid
	ended
	assert_equal "$status" 143
	assert_equal "$(head -n 1 output)" '{"prompt":"a b","category":"OFF"}'
}

@test "contract 14: inherited descriptors stay blocking" {
	serve "times 1 echo" hang
	mkfifo in out
	exec 8<>in 9<>out
	records 3 >&8
	sa-ppl -e "$E" <&8 >&9 2>stderr 3>&- &
	pid=$!
	wait_until 20 got_requests 3
	for fd in 0 1 2; do
		flags=$(sed -n 's/^flags:\t//p' /proc/$pid/fdinfo/$fd)
		[ $((flags & 04000)) = 0 ]
	done
	kill -9 $pid
	for fd in 8 9; do
		flags=$(sed -n 's/^flags:\t//p' /proc/$$/fdinfo/$fd)
		[ $((flags & 04000)) = 0 ]
	done
	exec 8>&- 9>&-
}

@test "contract 15: an empty environment is enough" {
	serve echo
	given '{"prompt":"a bb"}'
	status=0
	env -i "$BUILD/sa-ppl" -e "$E" <input >output 2>stderr || status=$?
	assert_equal "$status" 0
	assert_equal "$(jq .ppl_tokens output)" 1
}

# ---- endpoint and keys ----

@test "contract 16: the endpoint and the model from the environment, the model else from the server" {
	serve echo
	given '{"prompt":"a b"}'
	OPENAI_BASE_URL=$E/ run_filter sa-ppl
	expect_status 0
	SA_ENDPOINT=$E OPENAI_BASE_URL=$dead_endpoint SA_MODEL=other run_filter sa-ppl
	expect_status 0
	SA_ENDPOINT=$dead_endpoint run_filter sa-ppl -e "$E" -m mine
	expect_status 0
	assert_equal "$(jq -r .body.model log | xargs)" "fault other mine"
	assert_equal "$(jq -r .path log | sort -u)" /v1/completions
}

@test "contract 16: unix:PATH is HTTP over that socket" {
	serve --unix ./sock echo
	given '{"prompt":"a b"}'
	run_filter sa-ppl -e unix:./sock
	expect_status 0
	http_proxy=http://127.0.0.1:1 run_filter sa-ppl -e unix:./sock
	expect_status 0
}

@test "contract 17: a key file is read when only its owner can, and what it holds is never shown" {
	serve "status 403"
	given '{"prompt":"a b"}'
	echo sk-hidden >key
	chmod 644 key
	run_filter sa-ppl -e "$E" --key-file key
	expect_status 2
	expect_stderr_has "key: others can read this key"
	expect_requests 0
	chmod 600 key
	OPENAI_API_KEY=sk-other run_filter sa-ppl -e "$E" --key-file key --stats stats
	expect_status 3
	assert_equal "$(jq -r .auth log)" "Bearer sk-hidden"
	run cat output stderr stats
	refute_output --partial hidden
	printf 'sk-one\nX-Other: two\n' >key
	run_filter sa-ppl -e "$E" --key-file key
	expect_status 2
	OPENAI_API_KEY=$'sk-one\r\nX-Other: two' run_filter sa-ppl -e "$E"
	expect_status 2
	run cat stderr
	refute_output --partial sk-one
}

@test "contract 18: -j is a ceiling, and is used" {
	serve "delay 30 echo"
	records 40 >input
	run_filter sa-ppl -e "$E" -j 7
	expect_status 0
	assert_equal "$(jq .at_once log | sort -n | tail -n 1)" 7
}

# ---- retries ----

@test "contract 19: what may pass is tried again" {
	serve "status 500" "status 408" "status 409" "status 503 retry-after 0" "status 429 retry-after 0" reset close cut garbage noise 'json {"error":{"message":"x"}}' echo
	records 11 >input
	run_filter sa-ppl -e "$E" --stats stats
	expect_status 0
	assert_equal "$(jq -c 'has("ppl") and (has("sa_error") | not)' output | sort | uniq -c | xargs)" "11 true"
	assert_equal "$(jq -c '[.requests,.retries]' stats)" "[22,11]"
}

@test "contract 19: --retries is the end of it, and the record says how it failed" {
	serve "status 502"
	given '{"prompt":"a b"}'
	run_filter sa-ppl -e "$E" --retries 1
	expect_status 1
	assert_equal "$(jq -c .sa_error output)" '{"stage":"sa-ppl","class":"server","message":"HTTP 502: as the script says","attempts":2,"http":502}'
	expect_requests 2
}

@test "contract 19: other 4xx are final" {
	serve "status 400" "status 404" "status 422" "status 302" echo
	records 5 >input
	run_filter sa-ppl -e "$E" -j 1
	expect_status 1
	expect_errors bad_request bad_request bad_request server null
	expect_requests 5
}

@test "contract 19: 429 does not use up --retries, but a wait of more than ten minutes is too long" {
	serve "times 5 status 429 retry-after 0" echo "status 429 retry-after 601"
	records 2 >input
	run_filter sa-ppl -e "$E" -j 1 --retries 0
	expect_status 1
	assert_equal "$(jq -r .sa_error.class output | sort | xargs)" "null rate"	# whichever came to the last line of the script
	expect_requests 7
}

@test "contract 19: a quota that is used up is fatal at once" {
	serve echo "status 429 code insufficient_quota"
	records 50 >input
	run_filter sa-ppl -e "$E" -j 1
	expect_status 3
	assert_equal "$(jq -r .sa_error.class output | sort | uniq -c | xargs)" "1 null 49 rate"
	expect_requests 2
}

@test "contract 19: retries interleave with new work" {
	serve "status 503 retry-after 1" echo
	records 5 >input
	run_filter sa-ppl -e "$E" -j 1
	expect_status 0
	assert_equal "$(jq -r .body.prompt log | cut -d' ' -f2 | xargs)" "1 2 3 4 5 1"
	assert_equal "$(jq -r .prompt output | cut -d' ' -f2 | xargs)" "1 2 3 4 5"
}

@test "contract 19: an attempt ends at --timeout" {
	serve hang
	given '{"prompt":"a b"}'
	run_filter sa-ppl -e "$E" --timeout 0.2 --retries 1
	expect_status 1
	expect_errors net
	expect_requests 2
}

@test "a server that dies in the middle loses no record" {
	serve "times 5 echo" die
	records 40 >input
	run_filter sa-ppl -e "$E" -j 3 --retries 1 --stats stats
	expect_status 1
	assert_equal "$(jq -r .prompt output)" "$(jq -r .prompt input)"
	assert_equal "$(jq -r '.sa_error.class' output | sort | uniq -c | xargs)" "35 net 5 null"
	jq -e '.in == 40 and .out == 40 and .failed == 35' stats
}

@test "a reply of more than 64 MiB is not taken" {
	serve "big 65"
	given '{"prompt":"a b"}'
	run_filter sa-ppl -e "$E" --retries 0
	expect_status 1
	expect_errors server
	expect_stderr_has "longer than 64 MiB"
}

# ---- the same again ----

@test "contract 28: what runs side by side changes no byte, of the requests either" {
	serve "delay 0-15 echo"
	records 150 >input
	for j in 1 7 64; do
		: >log
		run_filter sa-ppl -e "$E" -j $j
		expect_status 0
		mv output out-$j
	done
	cmp out-1 out-7
	cmp out-1 out-64
	serve "delay 0-15 seed"
	printf '%s\n' '{"prompt":"first one of them","category":"OFF"}' '{"prompt":"second one of them","category":"UB"}' >input
	for j in 1 7 64; do
		: >log
		run_filter sa-expand -e "$E" -j $j --per-category 4 --seed 3
		expect_status 0
		mv output out-$j
		jq -cS .body log | sort >bodies-$j
	done
	[ "$(wc -l <out-1)" -gt 20 ]
	cmp out-1 out-7
	cmp out-1 out-64
	cmp bodies-1 bodies-64
	run_filter sa-expand -e "$E" --per-category 4 --seed 4
	run cmp -s output out-1
	assert_failure
}
