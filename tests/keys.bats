# keys.bats - whose requests they are (contract 16) and who gets to see the key (contract 17)
load lib

SECRET=sk-very-secret-word-0123456789

# refute_secret FILE... - the key, or most of it, is in none of them
refute_secret() { refute grep -raq "${SECRET:3}" "$@"; }

@test "contract 16: organization and project go along as headers, and only when they are there" {
	start_fault echo
	given '{"prompt":"a b"}'
	run_filter sa-ppl -e "$E" -m fault
	expect_status 0
	OPENAI_API_KEY=$SECRET OPENAI_ORG_ID=org-one OPENAI_PROJECT_ID=proj-two run_filter sa-ppl -e "$E" -m fault
	expect_status 0
	assert_equal "$(jq -c '[.auth,.org,.project]' log)" "[\"\",\"\",\"\"]
[\"Bearer $SECRET\",\"org-one\",\"proj-two\"]"
	OPENAI_ORG_ID=$'org\r\nX-Other: one' run_filter sa-ppl -e "$E" -m fault
	expect_status 2
	expect_stderr_has OPENAI_ORG_ID
	OPENAI_PROJECT_ID='two words' run_filter sa-ppl -e "$E" -m fault
	expect_status 2
	expect_stderr_has OPENAI_PROJECT_ID
	expect_requests 2
}

@test "contract 16: variables that are empty are as good as none" {
	given '{"prompt":"a b"}'
	SA_ENDPOINT= OPENAI_BASE_URL= run_filter sa-ppl
	expect_status 2
	expect_stderr_has "no endpoint" "-e URL" "-e local:DIR"
	start_fault echo
	SA_ENDPOINT= SA_MODEL= OPENAI_API_KEY= OPENAI_ORG_ID= OPENAI_PROJECT_ID= OPENAI_BASE_URL=$E run_filter sa-ppl
	expect_status 0
	assert_equal "$(jq -c '[.auth,.org,.project,.body.model]' log)" '["","","","fault"]'
}

@test "contract 16: a dead endpoint gets its share again when it answers again" {
	start_fault -n one "times 10 echo" "down 300" echo
	one=$E
	start_fault -n two "delay 5 echo"
	mkfifo more
	sa-ppl -e "$one" -e "$E" -m fault -j 4 <more >output 2>stderr 3>&- &
	pid=$!
	exec 8>more
	again() { records 20 >&8; lines_in one.log 20; }
	wait_until 60 again
	exec 8>&-
	ended
	assert_equal "$status" 0
	assert_equal "$(jq -c 'has("ppl")' output | sort -u)" true
}

@test "contract 17: no option takes a key, and the command line of what runs has none" {
	for option in --key --api-key --openai-api-key; do
		run_filter sa-ppl $option $SECRET
		expect_status 2
	done
	refute grep -q -e '--[a-z-]*key[ =]' <(sa-ppl --help | grep -v -e '--key-file FILE')
	start_fault hang
	given '{"prompt":"a b"}'
	(umask 077 && echo $SECRET >key)
	OPENAI_API_KEY=$SECRET in_background sa-ppl -e "$E" -m fault --key-file key
	wait_until 20 got_requests 1
	for p in $(started); do
		cat "/proc/$p/cmdline" 2>/dev/null || true	# one of them was the loop's own
	done >lines
	kill -9 $pid
	grep -qa -e --key-file lines
	refute_secret lines
}

@test "contract 17: the key is in no output, cache, batch, summary, status line or explanation" {
	start_fault "mix 20% first 9 status 400 | 20% first 1 status 500 | 10% first 9 garbage | echo"
	{ records 40; echo 'no json'; } >input
	export OPENAI_API_KEY=$SECRET
	run_filter sa-ppl -e "$E" -m fault --retries 1 --cache dir --stats stats --failed failed --status-every 0.01 --rpm 1000000
	expect_status 1
	assert_equal "$(jq -r .auth log | sort -u)" "Bearer $SECRET"
	rm log
	cp output stderr stats failed dir
	run_filter sa-ppl -e "$E" -m fault --batch-out dir/batch
	run_filter sa-ppl -e "$E" -m fault --explain
	cp output dir/explained
	refute_secret .
}

@test "contract 17: a server that quotes the key does not bring it into the output" {
	given '{"prompt":"a b"}'
	export OPENAI_API_KEY=$SECRET
	long=$(printf 'x%.0s' $(seq 5000))
	for message in "Incorrect API key provided: $SECRET." "twice $SECRET$SECRET" "$long $SECRET" "$(printf 'x%.0s' $(seq 160)) $SECRET" \
		"$(printf 'x%.0s' $(seq 180)) $SECRET" "$(printf 'x%.0s' $(seq 282)) $SECRET"; do
		start_fault "json {\"error\":{\"message\":\"$message\"}}"
		run_filter sa-ppl -e "$E" -m fault --retries 0
		expect_status 1
		refute_secret output stderr
	done
	start_fault "json {\"error\":{\"message\":\"Incorrect API key provided: $SECRET.\"}}"
	run_filter sa-ppl -e "$E" -m fault --retries 0
	expect_stderr_has "Incorrect API key provided: *****"
	# also when it is asked for its models
	start_fault "models json {\"error\":{\"message\":\"no such key: $SECRET\"}}" echo
	run_filter sa-ppl -e "$E"
	refute_secret output stderr
	# a word that is no secret is left alone
	start_fault 'json {"error":{"message":"EMPTY message"}}'
	OPENAI_API_KEY=EMPTY run_filter sa-ppl -e "$E" -m fault --retries 0
	expect_stderr_has "EMPTY message"
}

# ends_by_abort - run sa-ppl with a request in flight, allow it a core, abort it: $core is 1 when it left one
ends_by_abort() {
	: >log
	printf '%s\n' 'ulimit -c unlimited; exec sa-ppl -e "$1" -m fault <input' >job
	perl -e 'system("sh", "job", $ARGV[0]); print $? & 128 ? 1 : 0' "$E" >core-flag 2>stderr 3>&- &
	wait_until 20 got_requests 1
	for p in $(started); do
		[ "$(cat /proc/$p/comm)" != sa-ppl ] || kill -ABRT "$p"
	done
	wait $!
	core=$(cat core-flag)
}

@test "contract 17: a process that holds a key leaves no core" {
	start_fault hang
	given '{"prompt":"a b"}'
	OPENAI_API_KEY=$SECRET ends_by_abort
	assert_equal "$core" 0
	refute ls core*.[0-9]* core
	# without a key it does, where this machine writes cores at all
	case $BUILD$(cat /proc/sys/kernel/core_pattern) in
	*-san*|*'|'*|*/*/*) ;;
	*) [ "$(ulimit -Hc)" = 0 ] || { ends_by_abort; assert_equal "$core" 1; } ;;
	esac
}

@test "contract 17: a local server does not get the key" {
	given '{"prompt":"Tell me something about the weather today."}'
	OPENAI_API_KEY=$SECRET run_filter sa-ppl -e "local:$ROOT/pipelines/nano/student"
	expect_status 0
	server=$(for p in $(started); do [ "$(cat /proc/$p/comm)" != sa-serve ] || echo "$p"; done)
	tr '\0' '\n' <"/proc/$server/environ" >environ
	grep -q ^HOME= environ
	refute_secret environ
}

@test "contract 17: the key in the environment is for URLs, not for a socket of the user's own" {
	start_fault --unix ./sock echo
	given '{"prompt":"a b"}'
	OPENAI_API_KEY=$SECRET run_filter sa-ppl -e unix:./sock -m fault
	expect_status 0
	assert_equal "$(jq -r .auth log)" ""
}

@test "contract 17: only http and https" {
	given '{"prompt":"a b"}'
	for url in ftp://127.0.0.1/v1 file:///etc gopher://127.0.0.1:1 HTTP:127.0.0.1 127.0.0.1:8000/v1; do
		run_filter sa-ppl -e "$url" -m fault
		expect_status 2
		expect_stderr_has "$url: an endpoint is a URL"
	done
}

@test "contract 17: a redirect is not followed, and the key goes nowhere else" {
	start_fault -n elsewhere echo
	elsewhere=$E
	start_fault "header Location $elsewhere/completions status 307"
	given '{"prompt":"a b"}'
	OPENAI_API_KEY=$SECRET run_filter sa-ppl -e "$E" -m fault --retries 2
	expect_status 1
	expect_errors server
	assert_equal "$(wc -l <elsewhere.log)" 0
	expect_requests 1
}

@test "contract 17: a certificate is verified, --insecure does not and says so" {
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -x509 -keyout own.key -out own.pem -days 2 -subj /CN=own -addext subjectAltName=IP:127.0.0.1
	start_fault --tls own.pem --tls-key own.key echo
	given '{"prompt":"a b"}'
	OPENAI_API_KEY=$SECRET run_filter sa-ppl -e "$E" -m fault
	assert [ "$status" != 0 ]
	expect_errors net
	expect_requests 0
	run_filter sa-ppl -e "$E" -m fault --insecure
	expect_status 0
	assert_equal "$stderr" "sa-ppl: warning: the server's certificate is not verified (--insecure)"
	SSL_CERT_FILE=own.pem run_filter sa-ppl -e "$E" -m fault
	expect_status 0
	assert_equal "$stderr" ""
}
