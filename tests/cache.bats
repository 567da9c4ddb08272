# cache.bats - replies that were paid for: --cache (contract 22) and the batch transport (contract 23)
load lib

# undisturbed N - what N records come out as without a cache, in the file `right`
undisturbed() {
	start_fault -n right echo
	records "$1" >input
	run_filter sa-ppl -e "$E" -m fault
	expect_status 0
	mv output right
}

@test "contract 22: what was paid for is not asked again, by another process either" {
	start_fault echo
	records 50 >input
	run_filter sa-ppl -e "$E" --cache dir --stats stats
	expect_status 0
	mv output first
	expect_requests 50
	run_filter sa-ppl -e "$E" --cache dir --stats stats
	expect_status 0
	cmp first output
	expect_requests 50
	jq -e '.cached == 50 and .requests == 0' stats
	assert_equal "$(stat -c %a dir)" 700
	assert_equal "$(find dir -type f -perm /077 | wc -l)" 0
}

@test "contract 22: another prompt, model, parameter or endpoint is another request" {
	start_fault 'ok Answer: yes'
	given '{"prompt":"a b"}'
	for with in "-m one" "-m two" "-m one --max-tokens 7" "-m one --temperature 0.5" "-m one --temperature 0.5 --seed 4" "-m one"; do
		run_filter sa-regen -e "$E" --cache dir $with
		expect_status 0
	done
	expect_requests 5
	start_fault -n other 'ok Answer: yes'
	run_filter sa-regen -e "$E" --cache dir -m one
	assert_equal "$(wc -l <other.log)" 1
}

@test "contract 22: failures, cut and unparsed replies are never stored" {
	start_fault 'status 400' 'length half' 'refusal no' 'ok about 0.9' 'ok [0.9,' 'ok [0.9]'
	given '{"prompt":"a b","response":"c"}'
	for i in 1 2 3 4 5; do
		run_filter sa-judge -e "$E" --what responses --cache dir --retries 0
		expect_status 1
	done
	run_filter sa-judge -e "$E" --what responses --cache dir --stats stats
	expect_status 0
	jq -e '.cached == 0' stats
	run_filter sa-judge -e "$E" --what responses --cache dir --stats stats
	jq -e '.cached == 1' stats
}

@test "contract 22: kill -9 again and again: nothing that was stored is paid for twice, and the output is that of an undisturbed run" {
	undisturbed 400
	start_fault 'delay 20-60 echo'
	records 400 >input
	for i in 1 2 3 4 5 6; do
		before=$(requests)
		in_background sa-ppl -e "$E" -m fault -j 8 --cache dir
		wait_until 20 got_requests $((before + 30))
		kill -9 "$pid"
		wait "$pid" || true
		# what it had written is a prefix of the undisturbed run's
		head -c "$(head -c -0 output | wc -c)" right >prefix
		cmp output prefix
	done
	run_filter sa-ppl -e "$E" -m fault -j 8 --cache dir
	expect_status 0
	cmp output right
	# each run that was killed can have lost what was in flight (8) or had just come and was on its way to the disk
	assert [ "$(requests)" -ge 400 ]
	assert [ "$(requests)" -le $((400 + 6 * 2 * 8)) ]
}

@test "contract 22: a record that was written had its reply in the cache" {
	start_fault 'delay 20-60 echo'
	records 300 >input
	in_background sa-ppl -e "$E" -m fault -j 16 --cache dir
	wait_until 20 got_requests 60
	kill -9 "$pid"
	wait "$pid" || true
	head -n "$(wc -l <output)" input >written
	mv written input
	mv output before
	run_filter sa-ppl -e "$E" -m fault --cache dir --cache-only
	expect_status 0
	cmp output before
}

@test "contract 22: four processes share one cache" {
	start_fault 'delay 1 echo'
	records 200 >input
	for i in 1 2 3 4; do
		sa-ppl -e "$E" -m fault -j 4 --cache dir <input >out.$i 2>err.$i 3>&- &
	done
	wait
	for i in 2 3 4; do
		cmp out.1 out.$i
		assert_equal "$(cat err.$i)" ""
	done
	run_filter sa-ppl -e "$E" -m fault --cache dir --cache-only
	expect_status 0
	cmp output out.1
}

@test "contract 22: --cache-only needs neither network nor key" {
	start_fault echo
	records 5 >input
	run_filter sa-ppl -e "$E" -m fault --cache dir
	mv output first
	kill -9 "$fault_pid"
	run_filter sa-ppl -e "$E" -m fault --cache dir --cache-only
	expect_status 0
	cmp first output
	echo '{"prompt":"never asked before"}' >>input
	run_filter sa-ppl -e "$E" -m fault --cache dir --cache-only
	expect_status 1
	assert_equal "$(tail -n 1 output | jq -r .sa_error.class)" net
	run_filter sa-ppl -e "$E" --cache dir --cache-only
	expect_status 2
	expect_stderr_has "-m"
	run_filter sa-ppl -e "$E" -m fault --cache-only
	expect_status 2
}

@test "contract 22: a full cache is told once and the run goes on without storing" {
	start_fault 'echo'
	records 8000 >input
	run_filter sa-ppl -e "$E" -m fault --cache dir --cache-size 1
	expect_status 0
	assert_equal "$(wc -l <output)" 8000
	assert_equal "$(wc -l <stderr)" 1
	expect_stderr_has dir full
}

@test "contract 22: a damaged cache never gives a wrong answer" {
	undisturbed 60
	start_fault echo
	run_filter sa-ppl -e "$E" -m fault --cache dir
	for at in 0 4096 9000 20000; do
		cp -r dir hurt
		head -c 3000 /dev/urandom | dd of=hurt/data.mdb bs=1 seek=$at conv=notrunc status=none
		run_filter sa-ppl -e "$E" -m fault --cache hurt
		case $status in
		0) cmp output right ;;
		2 | 4) expect_stderr_has hurt ;;
		*) echo "status $status" | fail ;;
		esac
		rm -rf hurt
	done
	cp -r dir hurt
	truncate -s 8192 hurt/data.mdb
	run_filter sa-ppl -e "$E" -m fault --cache hurt
	case $status in
	0) cmp output right ;;
	*) expect_stderr_has hurt ;;
	esac
}

@test "contract 22: a cache directory that is a link, or open to others, is refused" {
	mkdir -m 700 real
	ln -s real link
	mkdir -m 777 open
	given '{"prompt":"a b"}'
	for dir in link open input; do
		run_filter sa-ppl -e "$dead_endpoint" -m m --cache $dir
		expect_status 2
		expect_stderr_has "$dir"
	done
}

@test "contract 17: the key is in no file of the cache" {
	start_fault echo
	records 20 >input
	OPENAI_API_KEY=sk-very-secret run_filter sa-ppl -e "$E" --cache dir
	expect_status 0
	refute grep -rqa very-secret dir output stderr
}

# ---- batch ----

# answer_batch FILE - what a Batch API would: each request line of FILE through the server one after the other, results on standard output, last first
answer_batch() {
	local line

	tac "$1" | while IFS= read -r line; do
		printf '%s' "$line" | jq -c .body >body
		curl -s -H 'Content-Type: application/json' --data-binary @body "${E%/v1}$(printf '%s' "$line" | jq -r .url)" >reply
		jq -c --arg id "$(printf '%s' "$line" | jq -r .custom_id)" '{id: "batch_req_1", custom_id: $id,
			response: {status_code: 200, request_id: "r", body: .}, error: null}' reply
	done
}

@test "contract 23: the same filter over a batch file and live gives the same output" {
	start_fault 'ok [0.9,0.1]'
	{ seq -f '{"prompt":"word %.0f","responses":[{"text":"a","by":"x"},{"text":"b","by":"y"}]}' 5; echo '{"prompt":"done","ppl":1}'; } >input
	run_filter sa-judge -e "$E" -m fault --what responses
	mv output live
	run_filter sa-judge -m fault --what responses --batch-out requests.jsonl --stats stats
	expect_status "$status"
	jq -e '.pending == 5 and .requests == 0' stats
	assert_equal "$(jq -r '[.method,.url] | join(" ")' requests.jsonl | sort -u)" "POST /v1/chat/completions"
	assert_equal "$(jq -r .custom_id requests.jsonl | sort -u | wc -l)" 5
	head -n 5 input >asked
	head -n 5 output >pending
	cmp asked pending
	answer_batch requests.jsonl >results.jsonl
	run_filter sa-judge -m fault --what responses --batch-in results.jsonl
	cmp output live
}

@test "contract 23: a second question goes into the next batch" {
	start_fault 'ok ["a label nobody knows"]' 'ok OFF'
	given '{"prompt":"a b"}'
	run_filter sa-intent -m fault --batch-out one.jsonl
	expect_status 0
	answer_batch one.jsonl >one.results
	run_filter sa-intent -m fault --batch-in one.results --batch-out two.jsonl
	expect_status 0
	expect_output '{"prompt":"a b"}'
	assert_equal "$(wc -l <two.jsonl)" 1
	answer_batch two.jsonl >two.results
	run_filter sa-intent -m fault --batch-in one.results --batch-in two.results
	expect_status 0
	assert_equal "$(jq -r .category output)" OFF
}

@test "contract 23: a missing line, an error line and a failed request each fail their record with a class" {
	start_fault echo
	records 4 >input
	run_filter sa-ppl -m fault --batch-out requests.jsonl
	expect_status 0
	answer_batch requests.jsonl | tac >all
	{ sed -n 1p all
	  sed -n 2p all | jq -c '.response = null | .error = {code: "batch_expired", message: "too late"}'
	  sed -n 3p all | jq -c '.response.status_code = 429 | .response.body = {error: {message: "slow down"}}'; } >results.jsonl
	run_filter sa-ppl -m fault --batch-in results.jsonl
	expect_status 1
	assert_equal "$(jq -r .sa_error.class output | xargs)" "null server rate server"
	expect_stderr_has "batch_expired"
	echo 'no json' >>results.jsonl
	run_filter sa-ppl -m fault --batch-in results.jsonl
	expect_status 2
	expect_stderr_has results.jsonl 4
	run_filter sa-ppl --batch-out requests.jsonl
	expect_status 2
	expect_stderr_has "-m NAME"
	run_filter sa-ppl -m fault --batch-out /dev/full
	expect_status 4
}
