# sa-serve-http.bats - the server's HTTP side: who may ask for what, text and ids, what is counted, and clients that behave badly

load lib
load serve

# get PATH [CURL-OPTION...] - $code, $head, $body
get() {
	local path=$1

	shift
	code=$(curl -sS -D head -o body -w '%{http_code}' "$@" "http://127.0.0.1:$port$path")
	head=$(tr -d '\r' <head) body=$(cat body)
}

# error_is STATUS CODE - the last reply is that error object
error_is() {
	assert_equal "$code $(jq -r '.error | .code, (.message | type), (.type | type), has("param")' <<<"$body" | xargs)" "$1 $2 string string true"
}

# counted LINE - it is one of the metrics
counted() { get /metrics && grep -qxF -e "$1" <<<"$body"; }

# post ARG... of curl with a request for a little text
little() { get /v1/completions -d "$(request '{prompt: "a", max_tokens: 1}')" "$@"; }

@test "serve: /tokenize gives the ids of a request, /detokenize their text" {
	start
	text='The river is green. é\ud83d\ude00 今天'
	get /tokenize -d "{\"prompt\":\"$text\",\"return_token_strs\":true,\"model\":\"$name\"}"
	assert_equal "$code" 200
	is '.count == (.tokens | length) and .count == (.token_strs | length) and .max_model_len == 2048'
	jq -e --slurpfile t "$CK/tokenizer.json" '($t[0].model.vocab + ($t[0].added_tokens | map({(.content): .id}) | add)) as $v |
		.tokens == [.token_strs[] | $v[.]]' <<<"$body" >/dev/null
	ids=$(jq -c .tokens <<<"$body")
	complete "{prompt: \"$text\", max_tokens: 0, echo: true, prompt_logprobs: 0}"
	assert_equal "$(jq -c '[.choices[0].prompt_logprobs[1:][] | keys[0] | tonumber]' <<<"$body")" "$(jq -c '.[1:]' <<<"$ids")"
	get /detokenize -d "{\"tokens\":$ids}"
	jq -e --argjson want "\"<|begin_of_text|>$text\"" '.prompt == $want' <<<"$body" >/dev/null
	get /tokenize -d "{\"prompt\":\"$text\",\"add_special_tokens\":false}"
	assert_equal "$(jq -c '[.tokens, .token_strs]' <<<"$body")" "[$(jq -c '.[1:]' <<<"$ids"),null]"
	get /detokenize -d '{"tokens":[]}'
	is '.prompt == ""'
	talk='{messages: [{role: "user", content: "Hi"}]}'
	chat "$talk + {max_tokens: 1}"
	want=$(jq .usage.prompt_tokens <<<"$body")
	get /tokenize -d "$(jq -cn "$talk")"
	assert_equal "$(jq .count <<<"$body")" "$want"
	get /tokenize -d "$(jq -cn "$talk + {add_generation_prompt: false}")"
	[ "$(jq .count <<<"$body")" -lt "$want" ]
	while IFS='|' read -r path what data; do
		get "$path" -d "$data"
		error_is "${what%% *}" "${what#* }"
	done <<-'END'
		/tokenize|400 missing_required_parameter|{}
		/tokenize|400 invalid_json|
		/tokenize|400 invalid_type|{"prompt":["a"]}
		/tokenize|400 invalid_type|{"messages":[]}
		/tokenize|400 unknown_parameter|{"prompt":"a","text":"b"}
		/tokenize|404 model_not_found|{"prompt":"a","model":"b"}
		/detokenize|400 missing_required_parameter|{}
		/detokenize|400 invalid_type|{"tokens":["a"]}
		/detokenize|400 invalid_value|{"tokens":[-1]}
		/detokenize|400 invalid_value|{"tokens":[99999999]}
		/detokenize|400 unknown_parameter|{"tokens":[1],"skip":true}
	END
}

@test "serve: /metrics counts requests, tokens and times, in Prometheus' form" {
	start
	complete '{prompt: "a", max_tokens: 5, temperature: 0, ignore_eos: true}'
	n=$(jq .usage.prompt_tokens <<<"$body")
	complete '{prompt: "b", max_tokens: 3, temperature: 0, ignore_eos: true, stream: true}'
	get /nope
	get /v1/completions -d '{}'
	get /metrics
	assert_equal "$code" 200
	grep -qi '^content-type: text/plain; version=0.0.4' <<<"$head"
	# each line is a comment or NAME{LABELS} VALUE, and each name has its type before it
	refute grep -qvE '^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z]+="[^"]*",?)*\})? [0-9.e+-]+)$' <<<"$body"
	awk '/^# TYPE/ { type[$3] = 1; next } /^#/ { next } { name = $1; sub(/[{].*/, "", name); base = name; sub(/_(bucket|sum|count)$/, "", base)
		if (!(name in type) && !(base in type)) { print "no type: " name; bad = 1 } } END { exit bad }' <<<"$body"
	# buckets grow, and the last one is the count
	awk '/_bucket/ { series = $1; sub(/le=.*/, "", series); if (series == last && $2 + 0 < value) exit 1; last = series; value = $2 + 0 }' <<<"$body"
	for line in 'sa_serve_requests_total{path="/v1/completions",status="200"} 2' 'sa_serve_requests_total{path="/v1/completions",status="400"} 1' \
		'sa_serve_requests_total{path="other",status="404"} 1' 'sa_serve_request_duration_seconds_count{path="/v1/completions"} 3' \
		'sa_serve_time_to_first_token_seconds_count 2' 'sa_serve_time_to_first_token_seconds_bucket{le="+Inf"} 2' \
		'sa_serve_time_per_output_token_seconds_count 2' 'sa_serve_generated_tokens_total 8' "sa_serve_prompt_tokens_total $((2 * n))" \
		'sa_serve_sequences_running 0' 'sa_serve_requests_waiting 0' 'sa_serve_connections 1'; do
		grep -qxF -e "$line" <<<"$body" || fail "not there: $line"$'\n'"$body"
	done
	grep -q '^sa_serve_build_info{version="[0-9.]*",model="teacher"} 1$' <<<"$body"
}

@test "serve: each path says which methods it takes" {
	start
	for path in /health /metrics /v1/models "/v1/models/$name"; do
		get "$path" -X OPTIONS
		assert_equal "$code $(grep -i '^allow:' <<<"$head") $body" '204 Allow: GET, HEAD, OPTIONS '
		get "$path" -I
		assert_equal "$code" 200
		get "$path" -d '{}'
		error_is 405 method_not_allowed
	done
	for path in /v1/completions /v1/chat/completions /tokenize /detokenize; do
		get "$path" -X OPTIONS
		assert_equal "$code $(grep -i '^allow:' <<<"$head")" '204 Allow: POST, OPTIONS'
		get "$path" -X DELETE
		error_is 405 method_not_allowed
		assert_equal "$(grep -i '^allow:' <<<"$head")" 'Allow: POST, OPTIONS'
	done
	get /v1/embeddings -X OPTIONS
	error_is 404 not_found
}

# byte CHARACTER - the id of the token of one byte, by its character in GPT-2's alphabet
byte() { jq --arg c "$1" '.model.vocab[$c]' "$CK/tokenizer.json"; }

@test "serve: /detokenize of ids whose bytes are no characters has U+FFFD for them, as Unicode recommends" {
	start
	e4=$(byte ä) bb=$(byte ») b8a=$(byte Ĭ) ff=$(byte ÿ) a=$(byte a)
	while read -r want ids; do
		get /detokenize -d "{\"tokens\":[$ids]}"
		assert_equal "$code" 200
		jq -e --arg want "$want" '.prompt == $want' <<<"$body" >/dev/null || fail "$ids: $body"
	done <<-END
		今 $e4,$bb,$b8a
		� $e4
		� $e4,$bb
		�a $e4,$bb,$a
		�今 $e4,$e4,$bb,$b8a
		a�� $a,$bb,$b8a
		��a $ff,$ff,$a
	END
}

@test "serve: /health is answered with a key, a wrong one and none, whether there is one or not" {
	(umask 077 && echo 'a-key-of-some-length' >key)
	for more in '' '--key-file key'; do
		rm -f log
		start $more
		get /health
		assert_equal "$code $body" '200 {"status":"ok"}'
		for key in a-key-of-some-length wrong ''; do
			get /health -H "Authorization: Bearer $key"
			assert_equal "$code $body" '200 {"status":"ok"}'
		done
		kill "$pid" && wait "$pid"
	done
}

@test "serve: with a key, all but /health wants it" {
	(umask 077 && echo 'a-key-of-some-length' >key)
	start --key-file key
	key='Authorization: Bearer a-key-of-some-length'
	get /health
	assert_equal "$code" 200
	for path in /metrics /v1/models "/v1/models/$name"; do
		get "$path"
		error_is 401 invalid_api_key
		assert_equal "$(grep -i '^www-auth' <<<"$head")" 'WWW-Authenticate: Bearer'
		get "$path" -H "$key"
		assert_equal "$code" 200
	done
	for wrong in 'Bearer a-key-of-some-lengtX' 'Bearer a-key-of-some-length2' 'Bearer a-key' 'Bearer' 'Bearer ' 'Basic a-key-of-some-length' a-key-of-some-length; do
		little -H "Authorization: $wrong"
		error_is 401 invalid_api_key
	done
	little -H "$key"
	assert_equal "$code" 200
	little -H "authorization: bearer  a-key-of-some-length"
	assert_equal "$code" 200
	# what is too large is not kept for somebody without the key, and the reply is the same
	head -c 17000000 /dev/zero >zeros
	get /v1/completions --data-binary @zeros
	error_is 401 invalid_api_key
	refute grep -r a-key-of log
	given '{"prompt":"The river is green."}'
	OPENAI_API_KEY=a-key-of-some-length run_filter sa-ppl -e "http://127.0.0.1:$port/v1"
	expect_status 0
	refute grep -qa a-key-of "/proc/$pid/cmdline"
}

@test "serve: the key may be in SA_SERVE_KEY; one that others can read, or that is none, is refused" {
	export SA_SERVE_KEY=another-key
	start
	little
	error_is 401 invalid_api_key
	little -H 'Authorization: Bearer another-key'
	assert_equal "$code" 200
	# that is not for the servers of filters
	given '{"prompt":"The river is green."}'
	run_filter sa-ppl -e "local:$CK"
	expect_status 0
	for what in 'SA_SERVE_KEY: there is no key=' 'SA_SERVE_KEY: a key is one word=two words'; do
		SA_SERVE_KEY=${what#*=} run timeout 20 sa-serve "$CK" --port 0
		assert_failure 2
		assert_output --partial "${what%%=*}"
	done
	unset SA_SERVE_KEY
	echo secret >open
	chmod 640 open
	run timeout 20 sa-serve "$CK" --port 0 --key-file open
	assert_failure 2
	assert_output --partial 'others can read this key'
	run timeout 20 sa-serve "$CK" --port 0 --key-file nowhere
	assert_failure 2
}

@test "serve: beyond this machine only with a key" {
	for host in 0.0.0.0 :: 192.0.2.1; do
		run timeout 20 sa-serve "$CK" --port 0 --host $host
		assert_failure 2
		assert_output --partial 'without a key (--key-file) only a loopback address'
	done
	run timeout 20 sa-serve "$CK" --port 0 --host example.com
	assert_failure 2
	assert_output --partial 'not an address'
	SA_SERVE_KEY=k start --host 0.0.0.0
	little -H 'Authorization: Bearer k'
	assert_equal "$code" 200
}

@test "serve: web pages may not ask, unless --cors names them" {
	start
	little -H 'Origin: http://page.example'
	error_is 403 origin_not_allowed
	refute grep -qi '^access-control' <<<"$head"
	kill "$pid"
	wait "$pid"
	start --cors http://page.example
	little -H 'Origin: http://other.example'
	error_is 403 origin_not_allowed
	get /v1/completions -X OPTIONS -H 'Origin: http://page.example' -H 'Access-Control-Request-Method: POST' -H 'Access-Control-Request-Headers: authorization, x-a'
	assert_equal "$code" 204
	assert_equal "$(grep -i '^access-control-allow-methods' <<<"$head")" 'Access-Control-Allow-Methods: POST, OPTIONS'
	assert_equal "$(grep -i '^access-control-allow-headers' <<<"$head")" 'Access-Control-Allow-Headers: Authorization, *'
	little -H 'Origin: http://page.example'
	assert_equal "$code $(grep -i '^access-control' <<<"$head")" '200 Access-Control-Allow-Origin: http://page.example'
	get /v1/completions -H 'Origin: http://page.example' -d "$(request '{prompt: "a", max_tokens: 1, stream: true}')"
	assert_equal "$code $(grep -i '^access-control' <<<"$head")" '200 Access-Control-Allow-Origin: http://page.example'
	little
	refute grep -qi '^access-control' <<<"$head"
}

# raw SECONDS PIECE... - send the pieces with as many seconds between them, then read until the end: the reply
raw() {
	perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new("127.0.0.1:$ENV{port}") or die; $SIG{PIPE} = "IGNORE"; $wait = shift;
		for (@ARGV) { syswrite $s, $_; select undef, undef, undef, $wait } print while <$s>' -- "$@"
}

@test "serve: what is too large or no HTTP is refused, others are unharmed" {
	start
	export port
	get /health -H "X: $(printf '%017000d' 0)"
	error_is 431 header_too_large
	for bytes in $'nonsense\r\n\r\n' $'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n' $'POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n' \
		"GET /health HTTP/1.1"$'\r\n'"Host: a"$'\r\n'"X: $(printf '%0100000d' 0)"$'\r\n\r\n'; do
		body=$(raw 0 "$bytes")
		[[ $body == 'HTTP/1.'[01]' 4'* ]] || [ -z "$body" ] || fail "$body"
		little
		assert_equal "$code" 200
	done
}

@test "serve: a request that does not come whole in time gets 408, and an idle connection is closed" {
	start --timeout 1
	export port
	post=$'POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n'
	for pieces in "$post" "$post"$'\r\n{"model'; do
		body=$(raw 0 "$pieces")
		[[ $body == 'HTTP/1.1 408 '*'"code":"request_timeout"'* ]] || fail "$body"
	done
	# bytes keep coming, but too slowly
	body=$(raw 0.4 "$post" 'X: ' a b c d e f g h i j)
	[[ $body == 'HTTP/1.1 408 '*'"code":"request_timeout"'* ]] || fail "$body"
	body=$(raw 0.4 "$post"$'\r\n{' a b c d e f g h i j)
	[[ $body == 'HTTP/1.1 408 '*'"code":"request_timeout"'* ]] || fail "$body"
	body=$(raw 0 $'GET /health HTTP/1.1\r\nHost: a\r\n\r\n')
	[[ $body == 'HTTP/1.1 200 '*'{"status":"ok"}' ]] || fail "$body"
	# a reply that takes longer than that to be computed is no matter of the client's
	complete '{prompt: "a", max_tokens: 1000, n: 4, ignore_eos: true}'
	little
	assert_equal "$code" 200
}

@test "serve: two thousand connections, half a request on each, and then the other half" {
	ulimit -n 4096 2>/dev/null || skip "not enough descriptors"
	start --queue 4096
	export port
	request '{prompt: "a", max_tokens: 1}' >one
	perl -MIO::Socket::INET -e 'undef $/; open $f, "<", "one"; $r = <$f>; $r = "POST /v1/completions HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: " . length($r) . "\r\n\r\n$r";
		for (1..2000) { push @s, IO::Socket::INET->new("127.0.0.1:$ENV{port}") || die "connection $_: $!"; syswrite $s[-1], substr $r, 0, 120 }
		open $g, ">", "half"; close $g; sleep 1 until -e "on";
		syswrite $_, substr $r, 120 for @s; for (@s) { $reply = <$_>; $n{substr $reply, 9, 3}++ } print join " ", %n' >result 3>&- &
	client=$!
	wait_until 60 test -e half
	counted 'sa_serve_connections 2001'
	little
	assert_equal "$code" 200
	: >on
	wait "$client"
	assert_equal "$(cat result)" '200 2000'
	wait_until 20 counted 'sa_serve_connections 1'
}

@test "serve: who does not read is dropped in time, others are unharmed meanwhile" {
	start --timeout 2
	export port
	yes 'a b' | head -c 2000000 | tr '\n' ' ' | jq -Rc '{prompt: ., return_token_strs: true}' >one	# a reply of more than a socket holds (4 MiB)
	get /tokenize --data-binary @one
	assert_equal "$code" 200
	[ "${#body}" -gt 8000000 ] || fail "${#body} bytes"
	perl -MIO::Socket::INET -MSocket -e 'undef $/; open $f, "<", "one"; $r = <$f>; $s = IO::Socket::INET->new(Proto => "tcp"); setsockopt $s, SOL_SOCKET, SO_RCVBUF, 4096;
		connect $s, sockaddr_in($ENV{port}, inet_aton("127.0.0.1")) or die; print $s "POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Length: " . length($r) . "\r\n\r\n$r";
		$s->flush; sleep 300' 3>&- &
	client=$!
	wait_until 120 counted 'sa_serve_requests_total{path="/tokenize",status="499"} 1'
	kill "$client"
	little
	assert_equal "$code" 200
}

@test "serve: a client killed in the middle of a stream frees its place" {
	start
	curl -sN -o part -d "$(request '{prompt: "a", max_tokens: 2000, n: 8, temperature: 2, stream: true, ignore_eos: true}')" "http://127.0.0.1:$port/v1/completions" 3>&- &
	client=$!
	wait_until 20 test -s part
	little
	assert_equal "$code" 200
	counted 'sa_serve_sequences_running 8'
	kill -9 "$client"
	wait_until 20 counted 'sa_serve_sequences_running 0'
	counted 'sa_serve_requests_total{path="/v1/completions",status="499"} 1'
	wait_until 20 counted 'sa_serve_kv_pages_used 0'
	counted 'sa_serve_cancelled_total 1'
}
