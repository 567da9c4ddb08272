# sa-serve.bats - the server as its clients see it: replies, errors, streams, determinism, how it starts and ends; of HTTP there is more in
# sa-serve-http.bats

load lib
load serve

hello='{messages: [{role: "user", content: "Tell me about the river."}], temperature: 0, max_tokens: 24}'

@test "serve: health and models" {
	start
	http GET /health
	assert_equal "$code $body" '200 {"status":"ok"}'
	http GET /v1/models
	assert_equal "$code" 200
	is '.object == "list" and (.data | length) == 1 and .data[0].object == "model"'
	assert_equal "$(jq -r '.data[0].id' <<<"$body")" "$name"
	http GET "/v1/models/$name"
	assert_equal "$code" 200
	is '.object == "model"'
	http HEAD /health
	assert_equal "$code" 200
	[[ $head != *status* ]]
}

@test "serve: --name names the model; the directory is accepted too" {
	start --name other
	http GET /v1/models/other
	assert_equal "$code" 200
	http POST /v1/completions "$(jq -cn --arg model "$CK" '{$model, prompt: "a", max_tokens: 1}')"
	assert_equal "$code" 200
	is '.model == "other"'
	http POST /v1/completions "$(request '{prompt: "a"}')"
	assert_equal "$code" 404
}

@test "serve: a chat reply has a message, a reason and its usage" {
	start
	chat "$hello"
	is '.object == "chat.completion" and (.id | startswith("chatcmpl-")) and (.choices | length) == 1'
	is '.choices[0] | .index == 0 and .message.role == "assistant" and (.message.content | type) == "string" and .logprobs == null'
	is '.choices[0].finish_reason as $r | .usage | .completion_tokens == 24 and $r == "length" or .completion_tokens < 24 and $r == "stop"'
	is '.usage | .prompt_tokens > 4 and .total_tokens == .prompt_tokens + .completion_tokens'
}

@test "serve: contents may be lists of text parts, a line each, and developer is system" {
	start
	chat '{messages: [{role: "system", content: "a\nb"}, {role: "user", content: "c"}], temperature: 0, max_tokens: 5}'
	one=$(jq -c '[.choices, .usage]' <<<"$body")
	chat '{messages: [{role: "developer", content: [{type: "text", text: "a"}, {type: "text", text: "b"}]}, {role: "user", content: "c"}], temperature: 0, max_tokens: 5}'
	assert_equal "$(jq -c '[.choices, .usage]' <<<"$body")" "$one"
}

@test "serve: a stream is the same text in whole characters, role first, usage last" {
	start
	for more in '{}' '{temperature: 1, seed: 11}' '{temperature: 1.5, seed: 12}' '{temperature: 2, seed: 13, n: 2}'; do
		chat "$hello + $more"
		whole=$body
		chat "$hello + $more + {stream: true, stream_options: {include_usage: true}}"
		events >events
		assert_equal "$(jq -sc '[.[].choices[] | select(.index == 0) | .delta.content // empty] | join("")' events)" \
			"$(jq -c '.choices[0].message.content' <<<"$whole")"
		assert_equal "$(jq -sc '[.[].choices[] | .finish_reason // empty] | sort' events)" "$(jq -c '[.choices[].finish_reason] | sort' <<<"$whole")"
		assert_equal "$(jq -sc '.[-1] | [.choices, .usage]' events)" "$(jq -c '[[], .usage]' <<<"$whole")"
		jq -se '.[0].choices[0].delta == {role: "assistant", content: ""} and all(.[:-1][]; .usage == null and .object == "chat.completion.chunk")' events >/dev/null
	done
	echo "$head" | grep -qi '^content-type: text/event-stream'
}

@test "serve: a completion streams the same text too, its echo and log-probabilities included" {
	start
	p='{prompt: "The river is", temperature: 1, seed: 5, max_tokens: 16, echo: true, logprobs: 2}'
	complete "$p"
	whole=$body
	complete "$p + {stream: true}"
	events >events
	assert_equal "$(jq -sc '[.[].choices[].text] | join("")' events)" "$(jq -c '.choices[0].text' <<<"$whole")"
	for part in tokens token_logprobs top_logprobs text_offset; do
		assert_equal "$(jq -sc "[.[].choices[].logprobs // empty | .$part[]]" events)" "$(jq -c ".choices[0].logprobs.$part" <<<"$whole")"
	done
}

@test "serve: a stop string across a token's border ends the text before it, streamed or not" {
	start
	p='{prompt: "Please tell me how to", temperature: 0, max_tokens: 24}'
	complete "$p + {logprobs: 0}"
	# the last character of a token and the first one of the next, where both are ASCII
	stop=$(jq -c '.choices[0] | .text as $t | [.logprobs.text_offset[1:][] | select(. >= 2) | $t[. - 1:. + 1] | select(test("^[ -~][ -~]$"))] | .[0]' <<<"$body")
	[ "$stop" != null ] || fail "no such place: $body"
	want=$(jq -c --argjson s "$stop" '.choices[0].text | .[:index($s)]' <<<"$body")
	complete "$p + {stop: $stop}"
	assert_equal "$(jq -c '[.choices[0].text, .choices[0].finish_reason]' <<<"$body")" "[$want,\"stop\"]"
	complete "$p + {stop: [\"never here\", $stop], stream: true}"
	events >events
	assert_equal "$(jq -sc '[.[].choices[].text] | join("")' events)" "$want"
	complete "$p + {stop: $stop, logprobs: 0}"
	is '.choices[0] | (.text | length) as $n | all(.logprobs.text_offset[]; . < $n or . == 0)'
	complete "$p + {stop: $(jq -c '.choices[0].text + "no"' <<<"$body")}"
	is '.choices[0].finish_reason == "length" or .usage.completion_tokens < 24'
}

@test "serve: include_stop_str_in_output keeps the stop string, and nothing behind it" {
	start
	p='{prompt: "Please tell me how to", temperature: 0, max_tokens: 24, logprobs: 0}'
	complete "$p"
	text=$(jq -c '.choices[0].text' <<<"$body")
	stop=$(jq -c '.choices[0].text[3:6]' <<<"$body")
	want=$(jq -c --argjson s "$stop" '.choices[0].text | .[:index($s) + ($s | length)]' <<<"$body")
	[ "$want" != "$text" ] || fail "the text is too short: $text"
	complete "$p + {stop: $stop, include_stop_str_in_output: true}"
	assert_equal "$(jq -c '[.choices[0].text, .choices[0].finish_reason]' <<<"$body")" "[$want,\"stop\"]"
	is '.choices[0] | (.text | length) as $n | all(.logprobs.text_offset[]; . < $n)'
	complete "$p + {stop: $stop, include_stop_str_in_output: true, stream: true}"
	events >events
	assert_equal "$(jq -sc '[.[].choices[].text] | join("")' events)" "$want"
}

@test "serve: a token of stop_token_ids ends the text as an end token does; ignore_eos goes past those" {
	start
	p='{prompt: "Please tell me how to", temperature: 0, max_tokens: 24, logprobs: 0}'
	complete "$p"
	text=$(jq -r '.choices[0].logprobs.tokens[:3] | join("")' <<<"$body")
	id=$(ids | jq '.[3]')
	complete "$p + {stop_token_ids: [$id]}"
	is '.choices[0] | .finish_reason == "stop" and (.logprobs.tokens | length) == 4'
	is '.usage.completion_tokens == 4'
	assert_equal "$(jq -r '.choices[0].text' <<<"$body")" "$text"
	complete "$p + {stop_token_ids: [$id], include_stop_str_in_output: true}"
	assert_equal "$(jq -r '.choices[0].text' <<<"$body")" "$text$(jq -r '.choices[0].logprobs.tokens[3]' <<<"$body")"
	chat "$hello + {max_tokens: 200}"
	is '.choices[0].finish_reason == "stop"'
	chat "$hello + {max_tokens: 200, ignore_eos: true}"
	is '.choices[0].finish_reason == "length" and .usage.completion_tokens == 200'
}

@test "serve: prompt_logprobs are those of the echo, by id and with ranks" {
	start
	complete '{prompt: "The river is green.", max_tokens: 1, echo: true, logprobs: 3, temperature: 0}'
	echo=$(jq -c '.choices[0].logprobs.token_logprobs[:-1]' <<<"$body")
	top=$(jq -c '[.choices[0].logprobs.top_logprobs[1:-1][] | [.[]] | sort | reverse | .[:3]]' <<<"$body")
	ids=$(ids | jq -c '.[:-1]')
	complete '{prompt: "The river is green.", max_tokens: 1, prompt_logprobs: 3, temperature: 0}'
	is '.choices[0].logprobs == null and .choices[0].prompt_logprobs[0] == null and .usage.completion_tokens == 1'
	assert_equal "$(jq -c --argjson ids "$ids" '[.choices[0].prompt_logprobs, $ids] | transpose | map(.[1] as $id | .[0] | .["\($id)"]?.logprob)' <<<"$body")" "$echo"
	assert_equal "$(jq -c '[.choices[0].prompt_logprobs[1:][] | [.[].logprob] | sort | reverse | .[:3]]' <<<"$body")" "$top"
	# the ranks are 1, 2, 3 and the token's own, in the order of the log-probabilities
	is 'all(.choices[0].prompt_logprobs[1:][]; ([.[]] | sort_by(.rank) | map(.logprob)) == ([.[].logprob] | sort | reverse)
		and ([.[].rank] | sort | .[:3]) == [1, 2, 3] and length <= 4)'
	is '[.choices[0].prompt_logprobs[1:][] | to_entries[0].value.decoded_token] | join("") == "The river is green."'
	complete '{prompt: "The river is green.", max_tokens: 1, prompt_logprobs: 0, n: 2, logprobs: 2}'
	is 'all(.choices[]; all(.prompt_logprobs[1:][]; length == 1) and (.logprobs.tokens | length) == 1 and (.logprobs.top_logprobs[0] | length) <= 3)'
	chat "$hello + {prompt_logprobs: 1}"
	is '.usage.prompt_tokens as $n | .prompt_logprobs | length == $n and .[0] == null and all(.[1:][]; length <= 2)'
	is '.choices[0].logprobs == null and (.choices[0] | has("prompt_logprobs") | not)'
}

@test "serve: text offsets count characters, also where a token is half a character" {
	start
	complete '{prompt: "aé😀 b今天\u0301c", max_tokens: 8, temperature: 2, seed: 4, echo: true, logprobs: 0}'
	# each token's own bytes, put together up to it, have as many whole characters as its offset says
	is '.choices[0] as $c | $c.logprobs | [.tokens, .text_offset] | transpose[1:] | map(select(.[0] | startswith("bytes:") or startswith("<|") | not)) |
		length > 4 and all(.[]; .[0] as $t | $c.text[.[1]:] | startswith($t))'
	is '.choices[0] | (.text | length) as $n | .logprobs.text_offset | . == sort and .[-1] <= $n and .[0] == 0'
	offsets=$(jq -c '.choices[0].logprobs.text_offset' <<<"$body")
	complete '{prompt: "aé😀 b今天\u0301c", max_tokens: 8, temperature: 2, seed: 4, echo: true, logprobs: 0, stream: true}'
	events >events
	assert_equal "$(jq -sc '[.[].choices[].logprobs // empty | .text_offset[]]' events)" "$offsets"
}

@test "serve: an assistant's message is continued, and no generation prompt means none" {
	start
	tokens() { chat "$1 + {max_tokens: 1, temperature: 0}"; jq .usage.prompt_tokens <<<"$body"; }
	talk='{messages: [{role: "user", content: "a"}, {role: "assistant", content: "The river is"}]}'
	whole=$(tokens "$talk + {add_generation_prompt: false}")
	assert_equal "$(tokens "$talk + {continue_final_message: true}")" $((whole - 1))	# all but the end token
	assert_equal "$(tokens "$talk + {continue_final_message: true, add_generation_prompt: false}")" $((whole - 1))
	[ "$(tokens "$talk")" -gt "$whole" ]
	http POST /v1/chat/completions "$(request "$talk + {continue_final_message: true, add_generation_prompt: true}")"
	assert_equal "$code" 400
}

@test "serve: logit_bias, penalties, min_p and min_tokens change what is drawn, and not its log-probabilities" {
	local plain first most="{messages: [{role: \"user\", content: \"Tell me about the river.\"}], max_tokens: 40, temperature: 0, logprobs: true, top_logprobs: 1}"

	start
	chat "$most"
	plain=$(jq -c '[.choices[0].logprobs.content[].token]' <<<"$body")
	first=$(jq -c '.choices[0].logprobs.content[0]' <<<"$body")
	chat "$most + {repetition_penalty: 1, presence_penalty: 0, frequency_penalty: 0, min_p: 0, logit_bias: {}, min_tokens: 0}"
	assert_equal "$(jq -c '[.choices[0].logprobs.content[].token]' <<<"$body")" "$plain"
	chat "$most + {repetition_penalty: 5}"
	[ "$(jq -c '[.choices[0].logprobs.content[].token]' <<<"$body")" != "$plain" ]
	is ".choices[0].logprobs.content[0] == $first"
	chat "$most + {logit_bias: {\"70\": 40}}"
	is '.choices[0].logprobs.content | (map(.token) | unique | length == 1) and (.[0] | .logprob < -1 and .top_logprobs[0].logprob > .logprob)'
	chat "$most + {logit_bias: {\"70\": 40}, frequency_penalty: 2}"
	is '.choices[0].logprobs.content | map(.token) | unique | length > 1'
	chat "$hello + {temperature: 2, min_p: 1, seed: 1}"
	first=$(jq -c '.choices[0].message' <<<"$body")
	chat "$hello"
	is ".choices[0].message == $first"
	chat "$hello + {max_tokens: 400, min_tokens: 350}"
	is '.usage.completion_tokens >= 350'
}

@test "serve: the same seed gives the same choices; another, or none, does not" {
	start
	p='{prompt: "a", temperature: 2, max_tokens: 12, n: 3}'
	complete "$p + {seed: 1}"
	one=$(jq -c .choices <<<"$body")
	complete "$p + {seed: 1}"
	assert_equal "$(jq -c .choices <<<"$body")" "$one"
	is '[.choices[].text] | unique | length == 3'
	complete "$p + {seed: -2}"
	[ "$(jq -c .choices <<<"$body")" != "$one" ]
	complete "$p"
	two=$(jq -c .choices <<<"$body")
	complete "$p"
	[ "$(jq -c .choices <<<"$body")" != "$two" ]
}

@test "serve: a reply has the same bits alone and beside 16 others" {
	start
	p="$(request '{prompt: "The river is long and", temperature: 1.2, top_p: 0.95, seed: 77, max_tokens: 40, logprobs: 3, echo: true}')"
	http POST /v1/completions "$p"
	alone=$(jq -c .choices <<<"$body")
	for i in {1..16}; do
		(
			for k in {1..6}; do
				http POST /v1/completions "$(request "{prompt: (\"word \" * $((i * k % 23 + 1))), seed: $i, max_tokens: $((i + 9)), echo: ($k < 3), logprobs: 1}")"
				echo "$code" >>"codes.$i"
			done
		) 3>&- &
		others[i]=$!
	done
	for k in {1..8}; do
		http POST /v1/completions "$p"
		assert_equal "$(jq -c .choices <<<"$body")" "$alone"
	done
	wait "${others[@]}"
	assert_equal "$(cat codes.* | sort | uniq -c | tr -s ' ')" " 96 200"
}

# ids TEXT-FREE: the ids of $body's tokens, from the vocabulary
ids() {
	jq -c --slurpfile t "$CK/tokenizer.json" '($t[0].model.vocab + ($t[0].added_tokens | map({(.content): .id}) | add)) as $v |
		[.choices[0].logprobs.tokens[] | $v[gsub(" "; "Ġ")]]' <<<"$body"
}

@test "serve: an echo has an entry a token, the first null, and one more for a generated token" {
	start
	complete '{prompt: "The river is green.", max_tokens: 0, echo: true, logprobs: 1}'
	is '.choices[0].text == "The river is green." and .choices[0].finish_reason == "length" and .usage.completion_tokens == 0'
	is '.usage.prompt_tokens as $n | .choices[0].logprobs | all([.tokens, .token_logprobs, .top_logprobs, .text_offset][]; length == $n)'
	is '.choices[0].logprobs | .token_logprobs[0] == null and .top_logprobs[0] == null and all(.token_logprobs[1:][]; . <= 0)'
	is '.choices[0] as $c | [$c.logprobs.tokens, $c.logprobs.text_offset] | transpose[1:] | all(.[]; .[0] as $t | $c.text[.[1]:] | startswith($t))'
	prompt=$(jq -c '.choices[0].logprobs.token_logprobs' <<<"$body")
	ids=$(ids)
	complete '{prompt: "The river is green.", max_tokens: 1, echo: true, logprobs: 1, temperature: 0}'
	assert_equal "$(jq -c '.choices[0].logprobs.token_logprobs[:-1]' <<<"$body")" "$prompt"
	is '.choices[0].logprobs | .token_logprobs[-1] == (.top_logprobs[-1] | to_entries | map(.value) | max)'
	complete "{prompt: [$ids, $ids], max_tokens: 0, echo: true, logprobs: 1}"
	is '(.choices | length) == 2 and .choices[1].index == 1'
	assert_equal "$(jq -c '.choices[].logprobs.token_logprobs' <<<"$body")" "$prompt"$'\n'"$prompt"
	complete "{prompt: $ids, max_tokens: 0, echo: true}"
	is '.choices[0].logprobs == null and .choices[0].text == "The river is green."'
}

@test "serve: tokens score the same when they are generated and when they are echoed" {
	start
	complete '{prompt: "The river", max_tokens: 12, temperature: 0, echo: true, logprobs: 0}'
	first=$(jq -c '.choices[0].logprobs.token_logprobs' <<<"$body")
	complete "{prompt: $(ids), max_tokens: 0, echo: true, logprobs: 0}"
	assert_equal "$(jq -c '.choices[0].logprobs.token_logprobs' <<<"$body")" "$first"
}

@test "serve: a begin-of-text token is added once" {
	start
	complete '{prompt: "a b", max_tokens: 0, echo: true, logprobs: 0}'
	one=$(jq -c '.choices[0].logprobs | [.tokens, .token_logprobs]' <<<"$body")
	is '.choices[0].text == "a b"'
	bos=$(jq -r '.[0][0]' <<<"$one")
	complete "{prompt: \"$bos\", max_tokens: 0, echo: true, logprobs: 0}"
	is '.usage.prompt_tokens == 1'
	complete "{prompt: \"${bos}a b\", max_tokens: 0, echo: true, logprobs: 0}"
	assert_equal "$(jq -c '.choices[0].logprobs | [.tokens, .token_logprobs]' <<<"$body")" "$one"
}

@test "serve: chat log-probabilities come with bytes and the most likely tokens" {
	start
	chat "$hello + {logprobs: true, top_logprobs: 2}"
	is '.usage.completion_tokens as $n | .choices[0].logprobs.content | length == $n and all(.[]; .logprob == .top_logprobs[0].logprob and .token == .top_logprobs[0].token)'
	is '.choices[0] | [.logprobs.content[] | select(.token | startswith("<|") | not) | .bytes[]] as $b | .message.content as $t | ($t | contains("\ufffd")) or ($t | utf8bytelength) == ($b | length)'
	chat "$hello + {logprobs: true}"
	is 'all(.choices[0].logprobs.content[]; .top_logprobs == [])'
}

@test "serve: each wrong request gets its status and an error object" {
	start
	long=$(head -c 600000 /dev/zero | tr '\0' x)
	while IFS='|' read -r want method path what data; do
		[ "$data" != LONG ] || data="{\"model\":\"$name\",\"prompt\":\"$long\"}"
		case $data in '{messages'* | '{prompt'*) data=$(request "$data") ;; esac
		http "$method" "$path" "$data"
		assert_equal "$code $(jq -r '.error | .code, (.message | type), (.type | type), has("param")' <<<"$body" | tr '\n' ' ')" "$want $what string string true "
	done <<-'END'
		404|GET|/|not_found|
		404|POST|/v1/embeddings|not_found|{}
		404|GET|/v1/models/nope|model_not_found|
		405|POST|/v1/models|method_not_allowed|{}
		405|GET|/v1/chat/completions|method_not_allowed|
		400|POST|/v1/chat/completions|invalid_json|
		400|POST|/v1/chat/completions|invalid_json|{"model":
		400|POST|/v1/chat/completions|invalid_json|[]
		400|POST|/v1/chat/completions|missing_required_parameter|{}
		404|POST|/v1/chat/completions|model_not_found|{"model":"nope","messages":[]}
		400|POST|/v1/chat/completions|missing_required_parameter|{messages: null}
		400|POST|/v1/chat/completions|invalid_type|{messages: []}
		400|POST|/v1/chat/completions|invalid_value|{messages: ["x"]}
		400|POST|/v1/chat/completions|invalid_type|{messages: [{role: "user"}]}
		400|POST|/v1/chat/completions|invalid_value|{messages: [{role: "tool", content: "x"}]}
		400|POST|/v1/chat/completions|unsupported_content|{messages: [{role: "user", content: [{type: "image_url"}]}]}
		400|POST|/v1/chat/completions|invalid_value|{messages: [{role: "user", content: "x"}], temperature: -1}
		400|POST|/v1/chat/completions|invalid_type|{messages: [{role: "user", content: "x"}], temperature: "1"}
		400|POST|/v1/chat/completions|invalid_value|{messages: [{role: "user", content: "x"}], max_tokens: 0}
		400|POST|/v1/chat/completions|invalid_type|{messages: [{role: "user", content: "x"}], max_tokens: 1.5}
		400|POST|/v1/chat/completions|invalid_value|{messages: [{role: "user", content: "x"}], n: 9}
		400|POST|/v1/chat/completions|invalid_value|{messages: [{role: "user", content: "x"}], stop: ""}
		400|POST|/v1/chat/completions|invalid_type|{messages: [{role: "user", content: "x"}], stop: [1]}
		400|POST|/v1/chat/completions|invalid_value|{messages: [{role: "user", content: "x"}], stream_options: {}}
		400|POST|/v1/chat/completions|invalid_value|{messages: [{role: "user", content: "x"}], top_logprobs: 2}
		400|POST|/v1/chat/completions|unsupported_parameter|{messages: [{role: "user", content: "x"}], tools: [{}]}
		400|POST|/v1/chat/completions|invalid_value|{messages: [{role: "user", content: "x"}], logit_bias: {"1000000000": 1}}
		400|POST|/v1/chat/completions|invalid_value|{messages: [{role: "user", content: "x"}], logit_bias: {"1": 101}}
		400|POST|/v1/chat/completions|invalid_value|{messages: [{role: "user", content: "x"}], repetition_penalty: 0}
		400|POST|/v1/chat/completions|invalid_value|{messages: [{role: "user", content: "x"}], max_tokens: 3, min_tokens: 4}
		400|POST|/v1/chat/completions|invalid_type|{messages: [{role: "user", content: "x"}], response_format: {type: "json_schema", json_schema: {}}}
		400|POST|/v1/chat/completions|invalid_value|{messages: [{role: "user", content: "x"}], frequency_penalty: 2.5}
		400|POST|/v1/chat/completions|invalid_type|{messages: [{role: "user", content: "x"}], stop_token_ids: ["a"]}
		400|POST|/v1/chat/completions|invalid_value|{messages: [{role: "user", content: "x"}], stop_token_ids: [-1]}
		400|POST|/v1/chat/completions|invalid_value|{messages: [{role: "user", content: "x"}], stream: true, prompt_logprobs: 1}
		400|POST|/v1/chat/completions|unsupported_parameter|{messages: [{role: "user", content: "x"}], chat_template_kwargs: {other: 1}}
		400|POST|/v1/chat/completions|invalid_type|{messages: [{role: "user", content: "x"}], chat_template_kwargs: {enable_thinking: 1}}
		400|POST|/v1/chat/completions|unsupported_content|{messages: [{role: "assistant", content: "x", tool_calls: [{}]}]}
		400|POST|/v1/chat/completions|unknown_parameter|{messages: [{role: "user", content: "x"}], nonsense: 1}
		400|POST|/v1/completions|missing_required_parameter|{prompt: null}
		400|POST|/v1/completions|invalid_type|{prompt: 5}
		400|POST|/v1/completions|invalid_type|{prompt: [1, "a"]}
		400|POST|/v1/completions|invalid_value|{prompt: []}
		400|POST|/v1/completions|invalid_value|{prompt: [[]]}
		400|POST|/v1/completions|invalid_value|{prompt: [-1]}
		400|POST|/v1/completions|invalid_value|{prompt: [1000000000]}
		400|POST|/v1/completions|invalid_value|{prompt: "x", logprobs: 21}
		400|POST|/v1/completions|invalid_value|{prompt: "x", max_tokens: 0}
		400|POST|/v1/completions|unsupported_parameter|{prompt: "x", best_of: 2}
		400|POST|/v1/completions|invalid_value|{prompt: "x", prompt_logprobs: 21}
		400|POST|/v1/completions|unknown_parameter|{prompt: "x", messages: []}
		400|POST|/v1/completions|context_length_exceeded|LONG
	END
}

@test "serve: parameters that ask for nothing are accepted" {
	start
	chat "$hello + {user: \"me\", metadata: {a: \"b\"}, store: false, tools: [], tool_choice: \"none\", logit_bias: {}, presence_penalty: 0, frequency_penalty: 0,
		response_format: {type: \"text\"}, stop: null, seed: null, n: 1, logprobs: false, stream: false, parallel_tool_calls: true, repetition_penalty: 1}"
}

@test "serve: too long for the context names both numbers; as long as the context is accepted" {
	start --max-context 8
	http POST /v1/completions "$(request '{prompt: [[1,1,1,1,1,1,1,1,1]]}')"
	assert_equal "$code" 400
	is '.error.message | contains(" 8 ") and contains(" 9")'
	complete '{prompt: [[1,1,1,1,1,1,1,1]], max_tokens: 100, temperature: 0, echo: true, logprobs: 1}'
	is '.usage | .prompt_tokens == 8 and .completion_tokens == 1'
	complete '{prompt: [[1,1,1,1]], max_tokens: 100, temperature: 0}'
	is '.usage.completion_tokens <= 5'
}

@test "serve: what is no UTF-8 is refused" {
	start
	http POST /v1/completions "{\"model\":\"$name\",\"prompt\":\"a"$'\xff'"b\"}"
	assert_equal "$code" 400
	is '.error.code == "invalid_json"'
	http POST /v1/completions "{\"model\":\"$name\",\"prompt\":\"a\\ud800b\"}"
	assert_equal "$code" 400
}

@test "serve: a body over 16 MiB gets 413, one just below is read" {
	start
	head -c 17000000 /dev/zero | tr '\0' ' ' >blanks
	http POST /v1/completions "$(cat blanks)"
	assert_equal "$code" 413
	is '.error.code == "request_too_large"'
	http POST /v1/completions "$(head -c 16700000 blanks)$(request '{prompt: "a", max_tokens: 1}')"
	assert_equal "$code" 200
}

@test "serve: a full queue says 429 and when to come again; requests of clients that hang up are dropped" {
	ulimit -n 4096 2>/dev/null || skip "not enough descriptors"
	start --max-active 1
	# a hundred thousand tokens each: a thousand of them would take hours
	p=$(request '{prompt: [range(64) | "a"], max_tokens: 200, n: 8, temperature: 2}')
	p=$(printf 'POST /v1/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s' ${#p} "$p")
	for i in {1..1060}; do
		exec {fd}<>"/dev/tcp/127.0.0.1/$port"
		printf %s "$p" >&$fd
		fds[i]=$fd
	done
	reply=$(cat <&"${fds[1060]}")
	[[ $reply == 'HTTP/1.'*' 429 '*'Retry-After: 60'*'"code":"queue_full"'* ]] || fail "$reply"
	for fd in "${fds[@]}"; do
		exec {fd}>&-
	done
	answered() { http POST /v1/completions "$(request '{prompt: "a", max_tokens: 1}')"; [ "$code" = 200 ]; }
	wait_until 60 answered
}

@test "serve: SIGTERM lets a stream end, refuses new requests with 503 and exits 0" {
	start --drain 600
	exec {fd}<>"/dev/tcp/127.0.0.1/$port"
	post_to $fd /v1/completions "$(request '{prompt: [range(4) | "a"], max_tokens: 200, n: 8, stream: true, seed: 3, temperature: 2}')"
	read -r line <&$fd	# the reply has begun
	kill -TERM $pid
	wait_until 10 drains
	http POST /v1/completions "$(request '{prompt: "a", max_tokens: 1}')"
	assert_equal "$code $(jq -r .error.code <<<"$body")" "503 shutting_down"
	grep -qi '^retry-after:' <<<"$head"
	body=$(cat <&$fd)
	[ "$(tail -n 1 <<<"$body")" = "data: [DONE]" ]
	wait $pid
	assert_equal "$(wc -l <log)" 1
}

@test "serve: --drain ends what has not ended by then" {
	start --drain 1
	exec {fd}<>"/dev/tcp/127.0.0.1/$port"
	post_to $fd /v1/completions "$(request '{prompt: [range(250) | "a"], max_tokens: 250, n: 8, stream: true, temperature: 2}')"
	read -r line <&$fd
	kill -TERM $pid
	wait $pid
	[[ $(cat <&$fd) != *'[DONE]'* ]]
}

@test "serve: a client with half a million tokens to generate does not starve another, nor its own short request" {
	start --max-active 4
	big=$(request '{prompt: [range(250) | "a"], max_tokens: 250, n: 8, temperature: 2}')
	curl -s -H "Authorization: Bearer one" "http://127.0.0.1:$port/v1/completions" -d "$big" >big 3>&- &
	big=$!
	for key in two one; do
		curl -s -H "Authorization: Bearer $key" "http://127.0.0.1:$port/v1/completions" -d "$(request '{prompt: "b", max_tokens: 3}')" >small
		jq -e '.usage.completion_tokens <= 3' small >/dev/null
		[ ! -s big ]
		kill -0 $big
	done
	kill $big
}

@test "serve: --kv-bytes limits the context, and what it takes never shows in a reply" {
	run sa-serve "$CK" --port 0 --kv-bytes 1000
	assert_failure 2
	assert_output --regexp '^sa-serve: --kv-bytes: a page of 32 tokens takes [0-9]+ bytes$'
	page=$(sed 's/.* takes //; s/ .*//' <<<"$output")
	for i in {1..8}; do
		request "{prompt: (\"word \" * ($i * 9)), seed: $i, max_tokens: 60, temperature: 1.3, logprobs: 1, n: 2, echo: ($((i % 2)) == 0)}" >"ask.$i"
	done
	start --kv-bytes $((page * 200))
	for i in {1..8}; do
		http POST /v1/completions "$(cat ask.$i)"
		assert_equal "$code" 200
		jq -c .choices <<<"$body" >"alone.$i"
	done
	kill $pid
	wait $pid
	rm log
	start --kv-bytes $((page * 6))
	grep -q 'contexts of 192 tokens' log
	for i in {1..8}; do
		curl -s "http://127.0.0.1:$port/v1/completions" -d @ask.$i >"reply.$i" 3>&- &
		asks[i]=$!
	done
	wait "${asks[@]}"
	for i in {1..8}; do
		assert_equal "$(jq -c .choices "reply.$i")" "$(cat alone.$i)"
	done
	http POST /v1/completions "$(request '{prompt: [[range(200) | 1]]}')"
	assert_equal "$code $(jq -r .error.code <<<"$body")" "400 context_length_exceeded"
}

@test "serve: 2,000 idle connections keep nobody waiting, and cost little memory" {
	ulimit -n 4096 2>/dev/null || skip "not enough descriptors"
	start
	complete '{prompt: "a", max_tokens: 1}'
	before=$(awk '/^VmRSS/ { print $2 }' /proc/$pid/status)
	perl -MIO::Socket::INET -e 'for (1 .. 2000) { push @s, IO::Socket::INET->new("127.0.0.1:$ARGV[0]") or die "$_: $!" } open F, ">", "open"; close F; sleep 300' "$port" 3>&- &
	idle=$!
	wait_until 30 test -e open
	complete '{prompt: "a", max_tokens: 1}'
	after=$(awk '/^VmRSS/ { print $2 }' /proc/$pid/status)
	kill $idle
	[ $((after - before)) -lt 100000 ] || fail "$before KiB, then $after KiB"
	answers() { http GET /health; [ "$code" = 200 ]; }
	wait_until 10 answers
}

@test "serve: hundreds of requests at once, with few pages and clients that hang up, leave nothing behind" {
	run sa-serve "$CK" --port 0 --kv-bytes 1000
	page=$(sed 's/.* takes //; s/ .*//' <<<"$output")
	start --kv-bytes $((page * 16)) --turn-tokens 48 --queue 500
	cat >ask <<-'END'
		# ask I: a third is streamed and read to its end, a third streamed and left, a third whole
		n=$1
		body=$(printf '{"model":"%s","prompt":"%*s","max_tokens":%d,"seed":%d,"n":%d,"stream":%s}' "$name" $((n * 7 % 90)) word $((n % 40 + 1)) $n $((n % 3 + 1)) "$([ $((n % 3)) = 2 ] && echo false || echo true)")
		ask() { curl -sN -H "Authorization: Bearer $((n % 5))" "http://127.0.0.1:$port/v1/completions" -d "$body"; }
		case $((n % 3)) in
		0) ask | tail -n 2 | grep -q 'DONE' ;;
		1) ask | head -c $((n % 50)) >/dev/null; true ;;
		2) ask | grep -q '"usage"' ;;
		esac || echo "request $n failed" >>failed
	END
	export name port
	seq 300 | xargs -P 40 -n 1 sh ask 3>&-
	[ ! -e failed ] || fail "$(cat failed)"
	complete '{prompt: "a", max_tokens: 1}'
	kill $pid
	wait $pid	# pages that were not given back would be noticed
	assert_equal "$(wc -l <log)" 1
}

@test "serve: a second signal does not wait for what is active" {
	start
	exec {fd}<>"/dev/tcp/127.0.0.1/$port"
	# half a million tokens
	post_to $fd /v1/completions "$(request '{prompt: [range(250) | "a"], max_tokens: 250, n: 8, stream: true, temperature: 2}')"
	read -r line <&$fd
	kill -TERM $pid
	wait_until 10 drains
	kill -TERM $pid
	wait $pid
	[[ $(cat <&$fd) != *'[DONE]'* ]]
}

@test "serve: SIGINT ends an idle server" {
	start
	kill -INT $pid
	wait $pid
}

@test "serve: while the model loads the answer is 503, and SIGTERM still ends it" {
	mkdir loading
	mkfifo loading/tokenizer.json	# opening it waits for a writer that never comes
	CK=$PWD/loading
	sa-serve "$CK" --shared "$PWD/s" 2>log 3>&- &
	pid=$!
	wait_until 10 test -S s.lease -a -S s.sock
	given '{"prompt":"a b"}'
	run perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new("s.sock"); print $s "GET /health HTTP/1.0\r\n\r\n"; print <$s>'
	assert_output --partial ' 503 '
	assert_output --partial 'Retry-After: 1'
	assert_output --partial '"code":"loading"'
	kill $pid
	wait $pid
	[ ! -e s.sock ]
	[ ! -e s.lease ]
}

# lease - hold one until killed: $lease
lease() {
	perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new($ARGV[0]) or die; open $f, ">", $ARGV[1]; sleep 300' s.lease "lease.$1" 3>&- &
	lease=$!
	wait_until 10 test -e "lease.$1"
}

@test "serve: a shared server lives as long as a lease, and not while somebody has its lock" {
	sa-serve "$CK" --shared "$PWD/s" 2>log 3>&- &
	pid=$!
	wait_until 10 test -S s.sock -a -S s.lease
	lease one
	one=$lease
	lease two
	wait_until 60 grep -q "ready on unix:$PWD/s.sock" log
	given '{"prompt":"The river is green."}'
	run_filter sa-ppl -e "unix:$PWD/s.sock"
	expect_status 0
	kill -9 $one
	kill -9 $lease
	flock s.lock sleep 7 3>&-	# longer than the 5 s without a lease
	kill -0 $pid
	lease three
	kill -9 $lease
	wait_until 20 gone $pid
	wait $pid
	[ ! -e s.sock ]
	[ ! -e s.lease ]
}

@test "serve: a Unix socket is private, a stale one is replaced, a live one is not" {
	sa-serve "$CK" --unix "$PWD/u.sock" 2>log 3>&- &
	pid=$!
	wait_until 60 grep -q ready log
	assert_equal "$(stat -c %a u.sock)" 600
	run sa-serve "$CK" --unix "$PWD/u.sock"
	assert_failure 2
	assert_output "sa-serve: $PWD/u.sock: another server listens on it"
	kill -9 $pid
	wait $pid || true
	[ -S u.sock ]
	sa-serve "$CK" --unix "$PWD/u.sock" 2>log2 3>&- &
	pid=$!
	wait_until 60 grep -q ready log2
	given '{"prompt":"The river is green."}'
	run_filter sa-ppl -e "unix:$PWD/u.sock"
	expect_status 0
	kill $pid
	wait $pid
	[ ! -e u.sock ]
	echo keep >u.file
	run sa-serve "$CK" --unix "$PWD/u.file"
	assert_failure 2
	assert_equal "$(cat u.file)" keep
}

@test "serve: every way to keep and multiply weights answers" {
	local weights cpu

	for weights in bf16 f32 int8; do
		for cpu in plain ''; do
			rm -f log
			SA_CPU=$cpu start --weights $weights
			chat '{messages: [{role: "user", content: "Hello"}], max_tokens: 4, temperature: 0}'
			is '.usage.completion_tokens >= 1'
			kill "$pid" && wait "$pid"
		done
	done
	pid=
}

# refused PATTERN ARG... - exit 2 with one line that holds the pattern
refused() {
	local pattern=$1

	shift
	run timeout 60 sa-serve "$@"
	assert_failure 2
	assert_equal "${#lines[@]}" 1
	assert_output --partial "$pattern"
}

@test "serve: what cannot be served is refused in one line, exit 2" {
	refused "try --help"
	refused "nowhere: No such file" nowhere
	refused "not a directory" input
	mkdir empty
	refused "tokenizer.json" empty --port 0
	refused "loopback" "$CK" --host 0.0.0.0
	refused "loopback" "$CK" --host 192.168.1.1
	refused "exclude" "$CK" --port 1 --unix x
	refused "--port" "$CK" --port 70000
	refused "a socket's path" "$CK" --unix "$(printf '%0120d' 0)"
	refused "nonsense" "$CK" --port 0 --template nonsense
	refused "--weights" "$CK" --port 0 --weights int4
	SA_CPU=avx9 refused "SA_CPU=avx9: not known (plain, avx2, avx512, avx512bf16)" "$CK" --port 0
	cp -r "$CK" broken
	size=$(stat -Lc %s broken/model.safetensors)
	truncate -s $((size - 1)) broken/model.safetensors
	refused "model.safetensors" broken --port 0
	cp "$CK/model.safetensors" broken/
	jq '.architectures = ["OtherForCausalLM"]' "$CK/config.json" >broken/config.json
	refused "OtherForCausalLM" broken --port 0
	cp "$CK/config.json" broken/
	jq '.chat_template = "unheard of"' "$CK/tokenizer_config.json" >broken/tokenizer_config.json
	rm -f broken/chat_template.jinja
	refused "template" broken --port 0
	[ ! -e broken/s.sock ]
}

@test "serve: a port that is taken is named" {
	start
	refused "127.0.0.1 port $port: Address already in use" "$CK" --port "$port"
}
