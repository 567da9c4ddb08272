# engine.bats - the filter engine beyond the plain record loop (filter.bats): several endpoints, overload, deadlines, where failed records go
load lib

records() { seq -f '{"prompt":"word %.0f and so on"}' "$1"; }
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

# ---- overload ----

@test "contract 18: a server that bears four at once is not asked for sixty-four for long" {
	start_fault 'slots 4/429 delay 20 echo'
	records 400 >input
	run_filter sa-ppl -e "$E" -j 64 --stats stats
	expect_status 0
	jq -e '.concurrency <= 16 and .rate_limited > 0' stats
	# sixty-four at once would have fifteen of sixteen turned away
	jq -e '.rate_limited < 1200' stats
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
