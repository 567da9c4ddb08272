# hostile.bats - servers that misbehave: each class of sa_error, each way to break HTTP, and what a person is told of it
#
# The faults and their words are those of tests/fault/fault.c. Nothing here may hang: every run is under a time limit of its own.
load lib

# ask FILTER ARG... - run_filter against the server, one request at a time, and no longer than a minute
ask() {
	local program=$1

	shift
	status=0
	timeout 60 "$BUILD/$program" -e "$E" -m fault -j 1 "$@" <input >output 2>stderr || status=$?
	output=$(tr -d '\0' <output)
	stderr=$(tr -d '\0' <stderr)
}

# Three records whose replies cannot be taken for each other's: the perplexity of "N xxx" is the exp of a tenth of the x.
three() { given '{"prompt":"1 x"}' '{"prompt":"2 xx"}' '{"prompt":"3 xxx"}'; }
# own WORD... - what became of each record: its own reply ("ok"), another's ("other") or the class of its failure
own() {
	assert_equal "$(jq -r 'if .sa_error then .sa_error.class elif (.ppl | log * 10 | round) == (.prompt | length) - 2 then "ok" else "other" end' output |
		xargs)" "$*"
	assert_equal "$(jq -r .prompt output)" "$(jq -r .prompt input)"
}

# The same for labels: the prompt is its own label.
labels() { given '{"prompt":"insult"}' '{"prompt":"bias"}' '{"prompt":"fraud"}'; }
own_label() {
	assert_equal "$(jq -r 'if .sa_error then .sa_error.class elif .intents == [.prompt] then "ok" else "other" end' output | xargs)" "$*"
	assert_equal "$(jq -r .prompt output)" "$(jq -r .prompt input)"
}

# told TEXT [HTTP] - the failure of the only failed record says TEXT, on one line, and that there was one attempt
told() {
	local message

	message=$(jq -r 'select(.sa_error) | .sa_error.message' output)
	assert_equal "$(wc -l <<<"$message")" 1
	[[ $message =~ $1 ]] || { echo "the message does not say: $1"; echo "$message"; } | fail
	assert_equal "$(jq -c 'select(.sa_error) | .sa_error | [.stage,.attempts,.http]' output)" "[\"sa-ppl\",1,${2-null}]"
	expect_stderr_has "stdin:1: " "1 of 3 records failed"
}

# fails CLASS TEXT HTTP ACTION - a fault that another attempt may not meet: it fails the record in its class and harms no other; with an
# attempt more all is well
fails() {
	three
	start_fault "$4" echo
	ask sa-ppl --retries 0 --timeout "${limit:-30}"
	expect_status 1
	own "$1" ok ok
	told "$2" "$3"
	expect_requests 3
	start_fault "$4" echo
	ask sa-ppl --retries 1 --timeout "${limit:-30}"
	expect_status 0
	own ok ok ok
	expect_requests 4
}

# ---- statuses ----

@test "hostile: server errors fail a record as server, with the server's own words" {
	for n in 500 502 503 504 529; do
		fails server "HTTP $n: as the script says" "$n" "status $n"
	done
}

@test "hostile: a refused request is bad_request, a refused key among good replies auth, and both are final" {
	for n in 400 404 413 422; do
		three
		start_fault "status $n" echo
		ask sa-ppl --retries 3
		expect_status 1
		own bad_request ok ok
		told "HTTP $n: as the script says" "$n"
		expect_requests 3
	done
	for n in 401 403; do
		three
		start_fault echo "status $n" echo
		ask sa-ppl --retries 3
		expect_status 1
		own ok auth ok
		expect_requests 3
	done
}

@test "hostile: 429 with each form of Retry-After is waited for, and uses up no retries" {
	for after in "retry-after-ms 700" "retry-after 1" "retry-after 100 retry-after-ms 700" "retry-after-ms soon retry-after 1"; do
		three
		start_fault "status 429 $after" echo
		ask sa-ppl --retries 0 --stats stats
		expect_status 0
		own ok ok ok
		expect_requests 4
		jq -e '.seconds >= 0.7' stats
	done
}

@test "hostile: a date in Retry-After is waited for until it comes" {
	three
	start_fault "status 429 retry-after-date 3" echo
	ask sa-ppl --retries 0 --stats stats
	expect_status 0
	own ok ok ok
	jq -e '.seconds >= 2' stats	# the date has whole seconds
}

@test "hostile: a Retry-After that nobody can read is the same as none" {
	for after in "retry-after soon" "retry-after -5" "retry-after 1e999" "retry-after 0x10" "retry-after-ms -1" "retry-after ," \
		"retry-after-date 0" "retry-after $(printf '%2000s' | tr ' ' 9)" $'retry-after \xff\xfe'; do
		three
		start_fault "status 429 $after" echo
		ask sa-ppl --retries 0
		expect_status 0
		own ok ok ok
		expect_requests 4
	done
}

@test "hostile: more than ten minutes of Retry-After fail the record as rate" {
	for after in "retry-after 601" "retry-after-ms 600001" "retry-after-date 700" "retry-after 1e11"; do
		three
		start_fault "status 429 $after" echo
		ask sa-ppl
		expect_status 1
		own rate ok ok
		told "HTTP 429" 429
	done
}

# ---- connections ----

@test "hostile: a connection that ends without a reply, or within one, fails a record as net" {
	fails net "mpty reply" null close
	fails net "closed" null cut
	fails net "closed" null "claim 9 then-close echo"
}

@test "hostile: silence, a slow head and a slow body end at --timeout" {
	limit=1
	fails net "time-out|timed out" null hang
	fails net "time-out|timed out" null "delay 20000 echo"
	fails net "time-out|timed out" null "drip 100 echo"
	fails net "time-out|timed out" null "drip-head 100 echo"
	fails net "time-out|timed out" null "claim 9 echo"
}

@test "hostile: a slow reply within --timeout is a reply" {
	three
	start_fault "drip 1 echo" "drip-head 1 chunked echo" "delay 200 echo"
	ask sa-ppl --retries 0
	expect_status 0
	own ok ok ok
}

@test "hostile: an endpoint that accepts and stays silent does not hang, also where TLS should begin" {
	start_fault --mute= echo
	for at in "$E" "https${E#http}"; do
		E=$at
		three
		ask sa-ppl --retries 0 --timeout 0.3
		[ "$status" = 1 ] || [ "$status" = 3 ]
		own net net net
		assert_equal "$(jq -r .sa_error.message output | grep -cE "time-out|timed out")" 3
	done
}

@test "hostile: a server that is down for a while and comes back loses no record" {
	three
	start_fault "down 400" echo
	ask sa-ppl --retries 12
	expect_status 0
	own ok ok ok
	records 300 >input
	start_fault "times 100 delay 0-5 echo" "down 300" "times 50 echo" "down 100" echo
	ask sa-ppl --retries 12 -j 16
	expect_status 0
	assert_equal "$(jq -c 'has("ppl")' output | sort | uniq -c | xargs)" "300 true"
}

@test "hostile: a reply that nobody asked for is nobody's" {
	for how in "twice 0" "claim -1 twice 0"; do
		three
		start_fault "$how usage none status 400" "twice 0 echo" echo
		ask sa-ppl --retries 0
		own bad_request ok ok
	done
	# it comes while the connection is idle: the record waits for its second attempt
	given '{"prompt":"1 x"}'
	start_fault "twice 100 status 429 retry-after-ms 1500" echo
	ask sa-ppl --retries 0
	expect_status 0
	own ok
	expect_requests 2
	labels
	start_fault "twice 0 echo-prompt"
	ask sa-intent --retries 0
	expect_status 0
	own_label ok ok ok
}

# ---- HTTP ----

@test "hostile: chunks that are none and bytes that are no HTTP fail a record" {
	fails net "chunk" null "bad-chunks echo"
	fails server "HTTP" null noise
}

@test "hostile: chunked replies, interim replies and HTTP/1.0 are replies" {
	three
	start_fault "chunked echo" "interim 20 echo" "interim 3 http10 echo"
	ask sa-ppl --retries 0
	expect_status 0
	own ok ok ok
}

@test "hostile: a length that is too short cuts the reply, and its rest is no reply to the next request" {
	fails server "not JSON" 200 "claim -9 echo"
	fails server "not JSON" 200 "claim -9999 echo"
}

@test "hostile: headers without measure fail a record, in words" {
	fails server "header" 200 "headers 100000/10 echo"
	fails server "header" 200 endless-headers
	fails server "header" 102 endless-interim
	three
	start_fault "headers 200/100 echo" "headers 1/50000 echo" echo
	ask sa-ppl --retries 0
	expect_status 0
	own ok ok ok
}

@test "hostile: a compressed reply was not asked for and is not unpacked, a bomb neither" {
	echo '{"choices":[]}' | gzip >small.gz
	head -c 100000000 /dev/zero | gzip >bomb.gz
	for file in small bomb; do
		three
		start_fault "header Content-Encoding gzip file $file.gz" echo
		ask sa-ppl --retries 3
		expect_status 1
		own server ok ok
		told "compressed" 200
		expect_requests 3
	done
}

@test "hostile: a redirect is not followed, to this server or to another" {
	start_fault -n elsewhere echo
	elsewhere=$E
	for n in 301 302 307 308; do
		for to in /v1/elsewhere "$elsewhere/completions"; do
			three
			start_fault "header Location $to status $n" echo
			OPENAI_API_KEY=sk-secret ask sa-ppl --retries 3
			expect_status 1
			own server ok ok
			told "redirect.*${to#http://}" "$n"
			expect_requests 3
		done
	done
	assert_equal "$(counts "$elsewhere" | jq -c '[.requests,.connections]')" "[0,1]"	# it is us who ask for the counts
}

# ---- replies ----

@test "hostile: what is no reply fails a record as server and never becomes a figure" {
	fails server "not JSON" 200 garbage
	fails server "not JSON" 200 "half a text"
	fails server "not JSON" 200 $'json {"choices":[{"text":"\xff\xfe"}]}'
	fails server "not JSON" 200 "json"
	fails server "no choices" 200 'json {"choices":[]}'
	fails server "no choices" 200 'json {"choices":{}}'
	fails server "no choices" 200 'json [1]'
	fails server "overloaded" 200 'json {"error":{"message":"overloaded"}}'
}

@test "hostile: what is no answer fails a record in its class, at once" {
	answers=("length fraud" "truncated" "cut at 64 tokens"
		"null" blocked "no text"
		"refusal No." blocked "refused: No\."
		"filtered fraud" blocked "content filter"
		'json {"choices":[{"message":{"content":7},"finish_reason":"stop"}]}' blocked "no text"
		"ok I think that this is a rather long sentence and no label" unparsed "no list of labels"
		"ok" unparsed "no list of labels")
	for ((i = 0; i < ${#answers[@]}; i += 3)); do
		labels
		start_fault "${answers[i]}" echo-prompt
		ask sa-intent --retries 3
		expect_status 1
		own_label "${answers[i + 1]}" ok ok
		run jq -r 'select(.sa_error) | .sa_error | "\(.attempts) \(.message)"' output
		assert_output --regexp "^1 .*${answers[i + 2]}"
		expect_requests 3
	done
}

@test "hostile: a usage that is missing or wild harms no label and no sum" {
	for usage in none null 7 [] '{"prompt_tokens":-5,"completion_tokens":-9223372036854775808}' '{"prompt_tokens":"many","completion_tokens":[]}' \
		'{"prompt_tokens":9223372036854775807,"completion_tokens":9223372036854775807}' '{"prompt_tokens":1e300,"completion_tokens":-1e300}'; do
		labels
		start_fault "usage $usage echo-prompt"
		ask sa-intent --retries 0 --stats stats
		expect_status 0
		own_label ok ok ok
		jq -e '.tokens_in >= 0 and .tokens_out >= 0' stats
	done
}

@test "hostile: a perplexity without a count of tokens, or with a wrong one, is none" {
	for usage in none '{"prompt_tokens":0}' '{"prompt_tokens":-1}' '{"prompt_tokens":99}' '{"prompt_tokens":9223372036854775807}' '{"prompt_tokens":"2"}'; do
		three
		start_fault "usage $usage echo" echo
		ask sa-ppl --retries 0
		expect_status 1
		own unparsed ok ok
	done
}

# ---- TLS ----

# certificates - in this directory: ca.pem, and the certificates right, wrong (another name), old (expired) and alone (signed by itself)
certificates() {
	local new="openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes" name

	$new -x509 -keyout ca.key -out ca.pem -days 2 -subj /CN=authority
	$new -x509 -keyout alone.key -out alone.pem -days 2 -subj /CN=alone -addext subjectAltName=IP:127.0.0.1
	for name in right wrong old; do
		echo subjectAltName=IP:127.0.0.1 >ext
		[ $name != wrong ] || echo subjectAltName=DNS:other.example >ext
		$new -keyout $name.key -out $name.csr -subj /CN=$name
		openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days "$([ $name = old ] && echo -1 || echo 2)" -extfile ext -out $name.pem
	done 2>/dev/null
}

@test "hostile: TLS with a certificate of an authority of one's own" {
	certificates
	three
	start_fault --tls right.pem --tls-key right.key "chunked echo"
	SSL_CERT_FILE=$PWD/ca.pem ask sa-ppl --retries 0
	expect_status 0
	own ok ok ok
	assert_equal "$stderr" ""
}

@test "hostile: TLS with a certificate that proves nothing fails at once, and nothing was sent" {
	certificates
	for name in wrong old alone right; do
		three
		start_fault --tls $name.pem --tls-key $name.key echo
		trusted=$PWD/ca.pem
		[ $name != right ] || trusted=$PWD/alone.pem
		SSL_CERT_FILE=$trusted OPENAI_API_KEY=sk-secret ask sa-ppl
		[ "$status" = 1 ] || [ "$status" = 3 ]
		own net net net
		assert_equal "$(jq -r .sa_error.message output | grep -ci "certificate")" 3
		expect_requests 0
		ask sa-ppl --insecure
		expect_status 0
		expect_stderr_has "certificate is not verified"
		own ok ok ok
	done
}

@test "hostile: a server that breaks off a TLS connection loses no record" {
	certificates
	three
	start_fault --tls right.pem --tls-key right.key cut reset "drip-head 1 http10 echo" "then-close echo" "twice 0 echo" close echo
	SSL_CERT_FILE=$PWD/ca.pem ask sa-ppl --retries 4
	expect_status 0
	own ok ok ok
}

# ---- many records ----

@test "hostile: what a record meets is drawn by its body, and no paid reply is asked for twice" {
	for run in 1 2; do
		records 400 >input
		start_fault "mix 20% first 2 status 500 | 10% first 1 cut | 10% first 1 status 429 retry-after 0 | 10% first 1 garbage | 20% delay 5 echo | echo"
		ask sa-ppl -j 32 --retries 2 --stats stats
		expect_status 0
		assert_equal "$(jq -r .prompt output)" "$(jq -r .prompt input)"
		counts >counts-$run
		jq -e '.distinct == 400 and .paid == 400 and .paid_again == 0 and .asked["3"] > 20 and .asked["2"] > 40' counts-$run
		jq -c 'del(.at_once, .connections)' counts-$run >same-$run
	done
	cmp same-1 same-2
}

@test "hostile: a server with a real limit of rate gets all records through" {
	records 60 >input
	start_fault "rate 20/1 echo"
	ask sa-ppl -j 32 --retries 0 --stats stats
	expect_status 0
	counts >counts
	jq -e '.paid == 60 and .paid_again == 0 and .actions["over the rate"] > 0' counts
	jq -e '.seconds > 1.5' stats	# 20 at once, 40 more at 20 a second
}

@test "hostile: a server with few places gets all records through" {
	records 60 >input
	start_fault "slots 4/429 delay 20 echo"
	ask sa-ppl -j 32 --retries 0
	expect_status 0
	counts >counts
	jq -e '.paid == 60 and .paid_again == 0 and .actions["over the slots"] > 0' counts
}

# ---- memory ----

# most_memory FAULT - one record meets that fault again and again: $used is the most memory that the filter ever had, in MB
most_memory() {
	start_fault "$1"
	rm -f more
	mkfifo more
	exec 8<>more
	"$BUILD/sa-ppl" -e "$E" -m fault -j 1 --retries 1 --timeout 60 <more >output 2>stderr 3>&- 8>&- &
	pid=$!
	echo '{"prompt":"a b"}' >&8
	wait_until 150 lines_in output 1
	used=$(($(sed -n 's/^VmHWM:[ \t]*\([0-9]*\) kB/\1/p' /proc/$pid/status) / 1024))
	exec 8>&-
	ended
}

# Megabytes: a reply may have 64 MiB, and a little more while it grows. Under a sanitizer what is freed is kept for a while, and has a shadow.
room() {
	case $BUILD in *san) echo 800 ;; *) echo 160 ;; esac
}

@test "hostile: nothing that a server sends makes a filter grow without bound" {
	local room
	room=$(room)
	head -c 100000000 /dev/zero | gzip -1 >bomb.gz
	for fault in endless endless-headers endless-interim "big 65" "big 1000" "headers 900/90000 echo" "header Content-Encoding gzip file bomb.gz"; do
		most_memory "$fault"
		[ "$used" -gt 0 ]
		[ "$used" -lt $room ] || { echo "$fault: $used MB" | fail; }
		expect_errors server || { echo "$fault"; false; }
	done
}

@test "hostile: a reset is told as one; connections that end between requests cost no record an attempt" {
	fails net "reset" null reset
	fails net "reset" null cut-reset
	for how in then-close then-reset; do
		three
		start_fault "$how echo"
		ask sa-ppl --retries 0
		expect_status 0
		own ok ok ok
	done
}

@test "hostile: one header line without measure fails a record, in words" {
	fails server "header" 200 "headers 1/200000 echo"
	most_memory "headers 1/100000000 echo"
	[ "$used" -lt "$(room)" ]
	expect_errors server
}
