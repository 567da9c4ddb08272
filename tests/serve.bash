# serve.bash - a sa-serve of the test's own and its client, for sa-serve*.bats:  load lib; load serve
#
# The checkpoint is the bundled teacher.

CK=$ROOT/pipelines/nano/teacher

setup() {
	sa_setup
	name=$(basename "$CK") pid=
}

teardown() {
	[ -z "$pid" ] || { kill -9 "$pid" && wait "$pid"; } 2>/dev/null || true
	sa_teardown
}

# start ARG... - a server on a port of the kernel's choice: $pid, $port
start() {
	rm -f log	# of the one before
	sa-serve "$CK" --port 0 "$@" 2>log 3>&- &
	pid=$!
	wait_until 60 grep -q ready log
	port=$(sed -n 's/.* ready on http:.*:\([0-9]*\).*/\1/p' log)
}

gone() { ! kill -0 "$1" 2>/dev/null; }

# The server has seen SIGTERM.
drains() { http GET /health; [ "$code" = 503 ]; }

# post_to FD PATH BODY - send a request and leave the connection open
post_to() {
	printf 'POST %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s' "$2" "$(printf %s "$3" | wc -c)" "$3" >&"$1"
}

# http METHOD PATH [BODY] - $code, $body, $head
http() {
	local fd reply

	exec {fd}<>"/dev/tcp/127.0.0.1/$port"
	printf '%s %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s' "$1" "$2" "$(printf %s "${3-}" | wc -c)" "${3-}" >&$fd
	reply=$(cat <&$fd)
	exec {fd}>&-
	code=${reply#* } code=${code%% *}
	head=${reply%%$'\r\n\r\n'*} body=${reply#*$'\r\n\r\n'}
}

# request FILTER - the JSON of a request: the model's name and what the jq filter makes of it
request() { jq -cn --arg model "$name" "{\$model} + $1"; }

# chat/complete FILTER - POST and expect 200
chat() { http POST /v1/chat/completions "$(request "$1")"; assert_equal "$code" 200; }
complete() { http POST /v1/completions "$(request "$1")"; assert_equal "$code" 200; }

# is FILTER - true of $body
is() { jq -e "$1" <<<"$body" >/dev/null || { echo "not so: $1"; echo "$body"; } | fail; }

# The events of a stream, one a line, without [DONE], which must be the last.
events() {
	assert_equal "$(tail -n 1 <<<"$body")" "data: [DONE]" >&2
	grep '^data: {' <<<"$body" | cut -c 7-
}
