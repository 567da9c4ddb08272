# engine.bats - the filter engine beyond the plain record loop (filter.bats): several endpoints, overload, deadlines, where failed records go
load lib

at_once() { jq -s 'map(.at_once) | max' "${1:-log}"; }

# ---- where records go ----

@test "contract 6: --failed takes the records that failed, the rest comes out" {
	start_fault 'mix 100% first 9 echo | echo'
	{ records 2; echo 'no json'; echo '{"prompt":5}'; echo '{"prompt":"x","sa_error":{"stage":"sa-judge","class":"net"}}'; } >input
	run_filter sa-ppl -e "$E" --failed failed --stats stats
	expect_status 1
	assert_equal "$(jq -c '[.prompt, has("ppl"), .sa_error.stage]' output)" '["word 1 and so on",true,null]
["word 2 and so on",true,null]
["x",false,"sa-judge"]'
	assert_equal "$(jq -c '[.sa_error.class, .raw, .prompt]' failed)" '["bad_record","no json",null]
["bad_record",null,5]'
	assert_equal "$(jq -c '[.in,.out,.diverted,.failed]' stats)" "[5,3,2,2]"
}

@test "contract 6: feeding --failed to the same filter tries just those again" {
	start_fault 'times 3 status 400' echo
	records 5 >input
	run_filter sa-ppl -e "$E" -j 1 --failed failed
	expect_status 1
	mv output first
	mv failed input
	run_filter sa-ppl -e "$E" -j 1 --failed failed
	expect_status 0
	assert_equal "$(cat failed)" ""
	assert_equal "$(cat first output | jq -r .prompt | sort)" "$(records 5 | jq -r .prompt | sort)"
	expect_requests 8
}

@test "contract 6: --failed will not overwrite the input, and a full disk there is an error" {
	start_fault 'status 400'
	records 3 >input
	cp input before
	run_filter sa-ppl -e "$E" --failed input
	expect_status 2
	cmp input before
	run_filter sa-ppl -e "$E" --failed /dev/full
	expect_status 4
	expect_stderr_has /dev/full "No space left"
	run_filter sa-ppl -e "$E" --failed /nowhere/failed
	expect_status 2
}

@test "contract 5: --strict stops reading at the first bad record" {
	start_fault echo
	{ records 3; echo 'no json'; seq -f '{"prompt":"later %.0f"}' 5000; } >input
	run_filter sa-ppl -e "$E" -j 1 --strict --stats stats
	expect_status 1
	assert_equal "$(jq -r '.sa_error.class' output | xargs)" "null null null bad_record"
	jq -e '.in == .out' stats
}

@test "contract 5: --max-line says what too long is" {
	{ echo '{"prompt":"short","ppl":1}'; printf '{"prompt":"%080d","ppl":1}\n' 0; } >input
	run_filter sa-ppl --max-line 60
	expect_status 1
	assert_equal "$(jq -r '.sa_error.message' output | xargs)" "null the line is longer than 60 bytes"
	run_filter sa-ppl --max-line 1048576
	expect_status 0
	expect_output "$(cat input)"
}

@test "contract 9: --unordered writes what is done, order keeps waiting for the slow one" {
	start_fault 'times 1 delay 1500 echo' echo
	records 40 >input
	run_filter sa-ppl -e "$E" -j 8 --unordered
	expect_status 0
	assert_equal "$(tail -n 1 output | jq -r .prompt)" "word 1 and so on"
	assert_equal "$(jq -r .prompt output | sort)" "$(jq -r .prompt input | sort)"
}

@test "contract 9: a straggler holds up nobody inside the window, and nothing is lost" {
	start_fault 'times 1 delay 2000 echo' echo
	records 3000 >input
	run_filter sa-ppl -e "$E" -j 8 --stats stats
	expect_status 0
	assert_equal "$(jq -r .prompt output)" "$(jq -r .prompt input)"
	# a window (256 records) was asked about while the first was waited for, and no more
	assert [ "$(sed -n '250p' log | jq -r .body.prompt | cut -d' ' -f2)" -le 256 ]
	jq -e '.seconds < 20' stats
}

@test "contract 14: a reader that takes its time keeps no reply waiting" {
	start_fault 'delay 200 echo'
	seq -f '{"prompt":"word %.0f '"$(printf 'x%.0s' {1..4000})"'"}' 200 >input
	sa-ppl -e "$E" -j 16 --timeout 2 --retries 0 <input 2>stderr | { sleep 4; cat; } >output
	assert_equal "$(jq -c 'has("ppl")' output | sort | uniq -c | xargs)" "200 true"
	expect_requests 200
}

# ---- time ----

@test "contract 19: --deadline bounds a record, whatever its attempts do" {
	start_fault 'status 503'
	records 2 >input
	run_filter sa-ppl -e "$E" --deadline 1 --retries 1000 --stats stats
	expect_status 1
	assert_equal "$(jq -r .sa_error.class output | xargs)" "server server"
	jq -e '.seconds < 30' stats
	start_fault hang
	run_filter sa-ppl -e "$E" --deadline 0.5 --stats stats
	expect_status 1
	assert_equal "$(jq -r .sa_error.class output | xargs)" "net net"
	start_fault 'status 429 retry-after 1'
	run_filter sa-ppl -e "$E" --deadline 0.5
	expect_status 1
	assert_equal "$(jq -r .sa_error.class output | xargs)" "rate rate"
}

@test "contract 19: --max-wait is the longest Retry-After that is obeyed" {
	start_fault 'status 429 retry-after 3' echo
	given '{"prompt":"a b"}'
	run_filter sa-ppl -e "$E" --max-wait 2
	expect_status 1
	assert_equal "$(jq -r .sa_error.class output)" rate
	expect_requests 1
}

@test "contract 19: retry-after-ms and Retry-After, in seconds or as a date, are obeyed" {
	for how in "retry-after-ms 600" "retry-after 1" "retry-after-date 2"; do
		start_fault "status 429 $how" echo
		given '{"prompt":"a b"}'
		run_filter sa-ppl -e "$E" --retries 0 --stats stats
		expect_status 0
		jq -e '.seconds >= 0.6 and .rate_limited == 1 and .retries == 1' stats
	done
}

# ---- overload ----

@test "contract 18: one in twenty turned away does not hold the others back, however many replies come at once" {
	start_fault 'mix 5% first 1 status 429 | echo'
	records 6000 >input
	run_filter sa-ppl -e "$E" -j 128 --stats stats
	expect_status 0
	jq -e '.concurrency >= 64 and .rate_limited > 100' stats
}

@test "contract 18: a server that bears four at once is not asked for sixty-four for long" {
	start_fault 'slots 4/429 delay 20 echo'
	records 400 >input
	run_filter sa-ppl -e "$E" -j 64 --stats stats
	expect_status 0
	jq -e '.concurrency <= 16 and .rate_limited > 0' stats
	# sixty-four at once would have fifteen of sixteen turned away
	jq -e '.rate_limited < 1200' stats
}

@test "contract 18: after an overload -j is used again" {
	start_fault 'times 20 status 429 retry-after 0' 'delay 3 echo'
	records 3000 >input
	run_filter sa-ppl -e "$E" -j 16 --stats stats
	expect_status 0
	tail -n 500 log >late
	assert_equal "$(at_once late)" 16
	jq -e '.rate_limited == 20' stats
}

@test "contract 18: two hundred in flight are that, and each has its own time" {
	start_fault 'delay 400 echo'
	records 200 >input
	run_filter sa-ppl -e "$E" -j 200 --timeout 30 --retries 0
	expect_status 0
	assert_equal "$(at_once)" 200
}

# ---- connections ----

@test "contract 24: as many connections as -j, and each is used again" {
	start_fault 'delay 5 echo'
	records 1000 >input
	run_filter sa-ppl -e "$E" -m fault -j 32
	expect_status 0
	assert_equal "$(counts | jq .requests)" 1000
	assert [ "$(counts | jq .connections)" -le $((32 + 2)) ]	# two of them are ours
}

@test "contract 24: one connection is enough for one at a time, also after it was closed" {
	start_fault 'times 20 echo' 'then-close echo' echo
	records 60 >input
	run_filter sa-ppl -e "$E" -m fault -j 1 --retries 0
	expect_status 0
	assert_equal "$(counts | jq .connections)" 3	# one of them is ours
}

@test "contract 24: at one at a time no request waits for a clock" {
	start_fault echo
	records 200 >input
	# a timer would be a millisecond each; the best of several, since this machine may be busy with others
	for i in 1 2 3 4 5 6; do
		run_filter sa-ppl -e "$E" -m fault -j 1 --stats stats
		expect_status 0
		jq .p50 stats
	done >typical
	case $BUILD in *san) most=0.003 ;; *) most=0.001 ;; esac
	sort -g typical | head -n 1 | jq -e ". < $most"
}

@test "contract 24: a large request is sent at once, not after a second of waiting for a 100" {
	start_fault echo
	printf '{"prompt":"%03000000d b"}\n' 0 >input
	run_filter sa-ppl -e "$E" -m fault --stats stats
	expect_status 0
	jq -e '.p50 < 1' stats
}

@test "contract 24: HTTP/2 is offered with --http2 only" {
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -x509 -keyout own.key -out own.pem -days 2 -subj /CN=own
	mkfifo hold
	exec 8<>hold
	openssl s_server -accept 127.0.0.1:0 -cert own.pem -key own.key -alpn h2,http/1.1 <hold >said 2>&1 3>&- 8>&- &
	server=$!
	wait_until 20 grep -q ^ACCEPT said
	given '{"prompt":"a b"}'
	for option in "" --http2; do
		: >said.before
		cp said said.before
		timeout 30 sa-ppl -e "https://$(sed -n 's/^ACCEPT //p' said.before | head -n 1)/v1" -m fault --insecure --retries 0 --timeout 1 $option <input >output 2>stderr 3>&- 8>&- || true
		tail -c +$(($(stat -c %s said.before) + 1)) said | tr -d '\0' >now$option
	done
	kill $server
	exec 8>&-
	grep -a 'advertised by the client: ' now | grep -qv h2
	grep -qa 'advertised by the client: .*h2' now--http2
}

@test "contract 25: what a request costs stays within ten times of what was measured" {
	start_fault echo
	records 5000 >input
	"$BUILD/bench-timed" took sa-ppl -e "$E" -m fault <input >output
	assert_equal "$(jq -c 'has("ppl")' output | sort | uniq -c | xargs)" "5000 true"
	# the bench has the figures; here 21 microseconds and 11 MB are the measure, and sanitizers cost more than ten times
	case $BUILD in
	*san) jq -e '.cpu / 5000 < 0.005' took ;;
	*) jq -e '.cpu / 5000 < 0.00021 and .rss < 64 * 1024' took ;;
	esac
}

# ---- several endpoints ----

@test "contract 16: several -e share the load" {
	start_fault -n one 'delay 10 echo'
	one=$E
	start_fault -n two 'delay 10 echo'
	records 200 >input
	run_filter sa-ppl -e "$one" -e "$E" -j 8
	expect_status 0
	assert_equal "$(jq -r .prompt output)" "$(jq -r .prompt input)"
	assert [ "$(wc -l <one.log)" -ge 60 ]
	assert [ "$(wc -l <two.log)" -ge 60 ]
}

@test "contract 16: a dead endpoint is left out, the others do its work" {
	start_fault echo
	records 100 >input
	run_filter sa-ppl -e "$dead_endpoint" -e "$E" -m fault -j 8
	expect_status 0
	assert_equal "$(jq -r .prompt output)" "$(jq -r .prompt input)"
	run_filter sa-ppl -e "$dead_endpoint" -e "$E" -j 8
	expect_status 0
	expect_stderr_has "the other endpoints go on"
}

@test "contract 16: an endpoint that refuses the key, or has no quota left, is left out" {
	start_fault -n one 'status 401'
	one=$E
	start_fault -n two 'status 429 code insufficient_quota'
	two=$E
	start_fault -n three echo
	records 50 >input
	run_filter sa-ppl -e "$one" -e "$two" -e "$E" -j 6
	expect_status 0
	assert [ "$(wc -l <one.log)" -le 6 ]
	assert [ "$(wc -l <two.log)" -le 6 ]
}

@test "contract 16: endpoints with different models need -m" {
	start_fault -n one 'models json {"data":[{"id":"alpha"}]}' echo
	one=$E
	start_fault -n two echo
	given '{"prompt":"a b"}'
	run_filter sa-ppl -e "$one" -e "$E"
	expect_status 2
	expect_stderr_has alpha fault "-m NAME"
	run_filter sa-ppl -e "$one" -e "$E" -m any
	expect_status 0
}

@test "contract 11: each status for what it stands for, never one of the shell's" {
	start_fault 'mix 50% first 9 status 400 | echo'
	records 400 >input
	run_filter sa-ppl -e "$E" -m fault --stats stats
	expect_status 1	# also when many failed: not their number
	assert [ "$(jq .failed stats)" -gt 128 ]
	mv output some
	start_fault echo
	run_filter sa-ppl -e "$E" -m fault
	expect_status 0
	run_filter sa-ppl -e nowhere
	expect_status 2
	run_filter sa-ppl -e "$dead_endpoint" -m fault --retries 0
	expect_status 3
	status=0
	sa-ppl -e "$E" -m fault <input >/dev/full 2>stderr || status=$?
	expect_status 4
	run_filter sa-ppl -e "$E" -m fault --max-tokens-total 1
	expect_status 5
	# xargs goes on after any of these
	printf '%s\n' some input | xargs -I {} sh -c "sa-ppl -e $dead_endpoint -m fault --retries 0 <{} >{}.out" 2>stderr || status=$?
	assert_equal "$status" 123
	assert [ -s some.out ]
	assert [ -s input.out ]
}

@test "contract 11: an endpoint that has stopped answering ends the run with 3, not after hours of retries" {
	start_fault 'times 20 echo' die
	records 20000 >input
	run_filter sa-ppl -e "$E" -j 8 --retries 3 --stats stats
	expect_status 3
	assert_equal "$(jq -r .prompt output)" "$(jq -r .prompt input)"
	jq -e '.in == 20000 and .out == 20000 and .requests < 5000' stats
	expect_stderr_has "the endpoint is unusable"
}

@test "contract 19: an outage is sat out, and nothing is lost" {
	start_fault 'times 20 echo' 'down 4500' echo
	records 300 >input
	run_filter sa-ppl -e "$E" -j 4 --retries 8 --stats stats
	expect_status 0
	assert_equal "$(jq -r .prompt output)" "$(jq -r .prompt input)"
}

# ---- --explain ----

@test "contract 26: --explain prints the first request and sends nothing" {
	start_fault echo
	{ echo '{"prompt":"done","ppl":1}'; records 3; } >input
	OPENAI_API_KEY=sk-secret run_filter sa-ppl -e "$E" -m some-model --explain
	expect_status 0
	expect_requests 0
	assert_equal "$(sed '1,/^$/d' output | jq -c '[.model,.prompt]')" '["some-model","word 1 and so on"]'
	assert_equal "$(sed '/^$/,$d' output)" "endpoint: $E
request:  POST /completions
key:      from OPENAI_API_KEY"
	refute grep -q secret output stderr
	run_filter sa-ppl -e "$dead_endpoint" --explain
	expect_status 0
}
