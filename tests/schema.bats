# schema.bats - replies of a form: response_format and vLLM's guided_*, from the bundled teacher, which knows nothing of JSON

load lib

CK=$ROOT/pipelines/nano/teacher

setup() {
	sa_setup
	sa-serve "$CK" --port 0 2>log 3>&- &
	pid=$!
	wait_until 60 grep -q ready log
	E=$(sed -n 's/.* ready on \(http:[^, ]*\).*/\1/p' log)
}

teardown() {
	{ kill -9 "$pid" && wait "$pid"; } 2>/dev/null || true
	sa_teardown
}

# ask FILTER - POST a chat of one message and what the jq filter adds: $code, and the body in the file `body`
ask() {
	jq -cn "{model: \"teacher\", messages: [{role: \"user\", content: \"Tell me about the river.\"}]} + $1" >request
	code=$(curl -sS -o body -w '%{http_code}' --data-binary @request "$E/chat/completions")
}

# content - the reply's text, of a stream too
content() {
	if grep -q '^data: ' body; then
		sed -n 's/^data: \({.*\)/\1/p' body | jq -j '.choices[0].delta.content // empty'
	else
		jq -j '.choices[0].message.content' body
	fi
}

finish() { sed 's/^data: //; /^\[DONE\]/d' body | jq -r '.choices[0].finish_reason // empty'; }

# schema JSON - a response_format with it
schema() { echo "{response_format: {type: \"json_schema\", json_schema: {name: \"x\", strict: true, schema: $1}}}"; }

verdict='{type: "object", additionalProperties: false, required: ["verdict", "score", "why"], properties: {
	verdict: {enum: ["safe", "unsafe"]}, score: {type: "integer", minimum: 0, maximum: 10}, why: {type: "string", maxLength: 16},
	tags: {type: "array", items: {type: "string", pattern: "^[a-z]{1,8}$"}, maxItems: 3}}}'
is_verdict='keys_unsorted - ["verdict", "score", "why", "tags"] == [] and (.verdict == "safe" or .verdict == "unsafe")
	and (.score | . == floor and . >= 0 and . <= 10) and (.why | length <= 16)
	and ((.tags // []) | length <= 3 and all(test("^[a-z]{1,8}$")))'

@test "schema: every one of 50 seeds gives a valid reply, streaming and not, the same text" {
	for seed in $(seq 50); do
		ask "$(schema "$verdict") + {seed: $seed, max_tokens: 300}"
		assert_equal "$code $(finish)" "200 stop"
		content >whole
		jq -e "$is_verdict" whole >verdicts || { cat whole; false; }
		ask "$(schema "$verdict") + {seed: $seed, max_tokens: 300, stream: true}"
		assert_equal "$code $(finish)" "200 stop"
		content | cmp - whole
	done
}

@test "schema: json_object gives one object, cut only by max_tokens" {
	for seed in $(seq 10); do
		ask "{response_format: {type: \"json_object\"}, seed: $seed, max_tokens: 200}"
		assert_equal "$code" 200
		case $(finish) in
		stop) content | jq -es 'length == 1 and (.[0] | type) == "object"' >verdicts ;;
		length) [[ $(content) == '{'* ]] ;;
		*) false ;;
		esac
	done
}

@test "schema: max_tokens cuts with the reason length, a stop string with stop" {
	ask "$(schema '{type: "string", minLength: 200}') + {max_tokens: 5}"
	assert_equal "$code $(finish)" "200 length"
	ask "$(schema '{const: "one two three"}') + {stop: \" three\"}"
	assert_equal "$code $(finish) $(content)" '200 stop "one two'
}

@test "schema: log-probabilities are those among what may come" {
	ask "$(schema '{const: true}') + {temperature: 0, logprobs: true, top_logprobs: 20}"
	assert_equal "$(content)" true
	jq -e '.choices[0].logprobs.content | length >= 1 and all((.logprob | . <= 0 and . > -9999) and
		(.top_logprobs | map(.logprob | exp) | add | . > 0.99 and . < 1.01))' body
}

@test "schema: an end token comes where a number is complete, also with ignore_eos" {
	for seed in 1 2 3; do
		ask "$(schema '{type: "integer"}') + {seed: $seed, ignore_eos: true, max_tokens: 40}"
		assert_equal "$code $(finish)" "200 stop"
		content | jq -e '. == floor' >verdicts
	done
}

@test "schema: several choices of several requests at once are what they are alone" {
	local pids=() i

	ask "$(schema "$verdict") + {seed: 9, n: 4, max_tokens: 300}"
	jq -c '[.choices[].message.content]' body >alone
	jq -e 'length == 4 and (unique | length > 1) and all(fromjson | type == "object")' alone
	for i in 1 2 3 4 5 6; do
		curl -sS --data-binary @request "$E/chat/completions" >body.$i &
		pids+=($!)
	done
	wait "${pids[@]}"
	for i in 1 2 3 4 5 6; do
		jq -c '[.choices[].message.content]' body.$i | cmp - alone
	done
}

@test "schema: guided_choice, guided_regex, guided_json and structured_outputs" {
	ask '{guided_choice: ["yes", "no"]}'
	[[ $(content) =~ ^(yes|no)$ ]]
	ask '{guided_regex: "[a-c]{3}-[0-9]{2}"}'
	[[ $(content) =~ ^[a-c]{3}-[0-9]{2}$ ]]
	ask '{guided_json: {enum: [7]}}'
	assert_equal "$(content)" 7
	ask '{guided_json: "{\"const\": []}"}'
	assert_equal "$(content)" '[]'
	ask '{structured_outputs: {choice: ["maybe"]}}'
	assert_equal "$(content)" maybe
}

@test "schema: what is not supported is refused with 400 and its name" {
	while IFS='|' read -r format word; do
		ask "{response_format: $format}"
		assert_equal "$code" 400
		jq -e --arg word "$word" '.error | .type == "invalid_request_error" and (.message | contains($word)) and .param != null' body || { cat body; false; }
	done <<'EOF'
{type: "json_schema", json_schema: {name: "x", schema: {type: "array", uniqueItems: true}}}|uniqueItems
{type: "json_schema", json_schema: {name: "x", schema: {properties: {a: {not: {}}}}}}|not
{type: "json_schema", json_schema: {name: "x", schema: {type: "text"}}}|text
{type: "json_schema", json_schema: {name: "x", schema: {"$ref": "#"}}}|itself
{type: "json_schema", json_schema: {name: "x", schema: []}}|schema
{type: "json_schema", json_schema: {schema: {}}}|name
{type: "json_schema", json_schema: {name: "x", schema: {}, shema: {}}}|shema
{type: "json_schema", json_schema: {name: "x", strict: 1, schema: {}}}|strict
{type: "json_schema"}|json_schema
{type: "json_object", schema: {}}|schema
{type: "grammar"}|grammar
"json_object"|response_format
EOF
	ask '{guided_choice: []}'
	assert_equal "$code" 400
	ask '{guided_regex: "(?=x)"}'
	assert_equal "$code" 400
	ask '{guided_json: {}, response_format: {type: "json_object"}}'
	assert_equal "$code" 400
	ask '{guided_grammar: "root ::= x"}'
	assert_equal "$code" 400
	ask '{guided_json: {}, guided_choice: null, max_tokens: 1}'
	assert_equal "$code" 200
}
