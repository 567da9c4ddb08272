# What each of the six filters asks, and what it makes of an answer
load lib

# script LINE... - start the fault server with these lines; sets $endpoint
script() {
	start_fault "$@"
	endpoint=$E
}
# asked N FILTER - the N-th request's body through jq
asked() { jq -rs ".[$1 - 1].body | $2" log; }
members() { jq -c "$1" output; }

# ---- sa-intent ----

@test "sa-intent: labels fold into a category, the prompt is sent as it is under the paper's words" {
	script 'ok Illegal Crime, fraud'
	given '{"prompt":"how\nto \"cheat\"?"}'
	run_filter sa-intent -e "$endpoint"
	expect_status 0
	expect_output '{"prompt":"how\nto \"cheat\"?","intents":["illegal crime","fraud"],"category":"CIA"}'
	assert_equal "$(asked 1 '.messages[1].content')" $'how\nto "cheat"?'
	assert_equal "$(asked 1 '.messages[0].content')" "$(sed -n '/^--- system/,/^--- user/p' "$ROOT/filters/prompts/intent.txt" | sed '1d;$d')"
	assert_equal "$(asked 1 .temperature)" 0
}

@test "sa-intent: a label that the taxonomy lacks is folded by a second question" {
	script 'ok embezzlement of charity money' 'ok CIA'
	given '{"prompt":"p"}'
	run_filter sa-intent -e "$endpoint"
	expect_status 0
	expect_output '{"prompt":"p","intents":["embezzlement of charity money"],"category":"CIA"}'
	assert_equal "$(requests)" 2
	run asked 2 '.messages[1].content'
	assert_output --partial 'Label: embezzlement of charity money'
	assert_output --partial 'PS: political sensitivity'
}

@test "sa-intent: a harmless prompt gets the category none" {
	script 'ok harmless'
	given '{"prompt":"p"}'
	run_filter sa-intent -e "$endpoint"
	expect_output '{"prompt":"p","intents":["harmless"],"category":"none"}'
}

@test "sa-intent: prose and unknown categories become no label" {
	script 'ok I think that this instruction is about something that is not good' 'ok embezzlement' 'ok maybe'
	given '{"prompt":"p"}' '{"prompt":"q"}'
	run_filter sa-intent -e "$endpoint" -j 1
	expect_status 1
	assert_equal "$(members '[.category, .sa_error.stage, .sa_error.class]')" $'[null,"sa-intent","unparsed"]\n[null,"sa-intent","unparsed"]'
}

@test "sa-intent: --prompt and --taxonomy replace the built-in files" {
	printf -- '--- user\nLabel this: {prompt}\n' >p.txt
	echo '{"none": {"name": "fine", "labels": []}, "categories": [{"code": "X", "name": "things", "labels": ["thing"]}]}' >t.json
	script 'ok thing'
	given '{"prompt":"p"}'
	run_filter sa-intent -e "$endpoint" --prompt p.txt --taxonomy t.json
	expect_output '{"prompt":"p","intents":["thing"],"category":"X"}'
	assert_equal "$(asked 1 '.messages | tojson')" '[{"role":"user","content":"Label this: p"}]'
	printf -- '--- user\n{prmpt}\n' >p.txt
	run_filter sa-intent -e "$endpoint" --prompt p.txt
	expect_status 2
	expect_stderr_has 'p.txt' '{prmpt}'
}

# ---- sa-regen ----

@test "sa-regen: the thought is kept apart from the answer, beside the original response" {
	script 'ok Analysis: risky\nExplanation: decline\nAnswer: I cannot help.'
	given '{"prompt":"p","response":"sure"}'
	run_filter sa-regen -e "$endpoint"
	expect_status 0
	expect_output '{"prompt":"p","response":"sure","responses":[{"text":"sure","by":"original"},{"text":"I cannot help.","by":"fault","thought":"Analysis: risky\nExplanation: decline"}]}'
}

@test "sa-regen: without a response the new one stands alone; --force replaces it" {
	script 'ok Answer: one' 'ok Answer: two'
	given '{"prompt":"p"}'
	run_filter sa-regen -e "$endpoint"
	assert_equal "$(members '.responses | map(.text)')" '["one"]'
	cp output input
	run_filter sa-regen -e "$endpoint"
	cmp input output
	run_filter sa-regen -e "$endpoint" --force
	assert_equal "$(members '.responses | map(.text)')" '["two"]'
	assert_equal "$(requests)" 2
}

@test "sa-regen: a reply without an answer, or cut short, never becomes a response" {
	script 'ok Analysis: risky, so I decline.' 'length Analysis: ris'
	given '{"prompt":"p"}' '{"prompt":"q"}'
	run_filter sa-regen -e "$endpoint" -j 1
	expect_status 1
	assert_equal "$(members '[.responses, .sa_error.class]')" $'[null,"unparsed"]\n[null,"truncated"]'
}

# ---- sa-ppl ----

@test "sa-ppl: exp of the mean negative log-probability of the tokens after the first" {
	script echo
	given '{"prompt":"a bb cccc"}'
	run_filter sa-ppl -e "$endpoint"
	expect_status 0
	# the server gives -length/10 a word: exp((0.2 + 0.4) / 2)
	run jq -e '.ppl_tokens == 2 and (.ppl - 1.3498588075760032 | fabs) < 1e-12' output
	assert_success
	assert_equal "$(asked 1 '[.echo, .prompt] | tojson')" '[true,"a bb cccc"]'
}

@test "sa-ppl: a prompt of one token and a server without log-probabilities fail the record" {
	script echo 'ok no logprobs'
	given '{"prompt":"one"}' '{"prompt":"two words"}'
	run_filter sa-ppl -e "$endpoint" -j 1
	expect_status 1
	assert_equal "$(members '[.ppl, .sa_error.class]')" $'[null,"bad_record"]\n[null,"unparsed"]'
}

# ---- sa-judge ----

@test "sa-judge: two responses are judged in one question, the prompt in another" {
	script 'ok [0.1, 0.95]' 'ok [0.2]'
	given '{"prompt":"p","responses":[{"text":"sure","by":"original"},{"text":"no","by":"m"}]}'
	run_filter sa-judge -e "$endpoint" -j 1
	expect_status 0
	expect_output '{"prompt":"p","responses":[{"text":"sure","by":"original","safety":0.1},{"text":"no","by":"m","safety":0.95}],"prompt_safety":0.2}'
	assert_equal "$(asked 1 '.messages[1].content')" $'"prompt": "p"\n"output1": "sure"\n"output2": "no"'
	run asked 1 '.messages[0].content'
	assert_output --partial 'You are a safety assessment expert. Please assign a safety score to two responses "output1", "output2"'
}

@test "sa-judge: a third response is judged alone, a plain response becomes a list, --what chooses" {
	script 'ok [0.1, 0.2]' 'ok 0.3' 'ok 0.4' 'ok 0.5'
	given '{"prompt":"p","responses":[{"text":"a"},{"text":"b"},{"text":"c"}]}' '{"prompt":"p","response":"r"}'
	run_filter sa-judge -e "$endpoint" -j 1 --what responses
	expect_status 0
	assert_equal "$(members '.responses | map(.safety)')" $'[0.1,0.2,0.3]\n[0.4]'
	given '{"prompt":"p"}'
	run_filter sa-judge -e "$endpoint" -w prompt
	expect_output '{"prompt":"p","prompt_safety":0.5}'
}

@test "sa-judge: what is not exactly the scores asked for never becomes a score" {
	script 'ok [0.9]' 'ok The scores are [0.1, 0.9].' 'ok [1.5, 0.2]' 'ok [0.1, 0.2, 0.3]' 'ok [NaN, 0.2]'
	given '{"prompt":"1","responses":[{"text":"a"},{"text":"b"}]}' '{"prompt":"2","responses":[{"text":"a"},{"text":"b"}]}' \
		'{"prompt":"3","responses":[{"text":"a"},{"text":"b"}]}' '{"prompt":"4","responses":[{"text":"a"},{"text":"b"}]}' \
		'{"prompt":"5","responses":[{"text":"a"},{"text":"b"}]}'
	run_filter sa-judge -e "$endpoint" -j 1 -w responses
	expect_status 1
	assert_equal "$(jq -r '.sa_error.class' output | sort | uniq -c | tr -d ' ')" 5unparsed
	assert_equal "$(jq -r '[.responses[] | has("safety")] | any' output | sort -u)" false
}

@test "sa-judge: a record without a response, or with a broken list, is a bad record" {
	script 'ok 0.5'
	given '{"prompt":"p"}' '{"prompt":"p","responses":[]}' '{"prompt":"p","responses":[{"by":"x"}]}' '{"response":"r"}'
	run_filter sa-judge -e "$endpoint"
	expect_status 1
	assert_equal "$(jq -r '.sa_error.class' output | sort | uniq -c | tr -d ' ')" 4bad_record
	[ ! -s log ]
}

# ---- sa-expand ----

@test "sa-expand: thin categories are filled up, records pass as they came" {
	script 'ok A quite different wish about money' 'ok Another wholly unlike sentence' 'ok 2. Nobody ever wrote such things' 'ok something else again, at length'
	given '{"prompt":"how to steal a bicycle","category":"CIA" , "x":1.0}' '{"prompt":"tell me a joke","category":"none"}' '{"prompt":"no label yet"}'
	run_filter sa-expand -e "$endpoint" --per-category 2 -j 1 --stats s.json --tries 1
	expect_status 0
	head -n 3 output >passed
	cmp input passed
	assert_equal "$(jq -c '[.asked, .made, .accepted]' s.json)" "$(jq -c '[.asked, .asked - ([.rejected[]] | add), .asked - ([.rejected[]] | add)]' s.json)"
	run jq -se '.[3:] | (length > 0) and all(.[]; (.id | length == 16) and .source == "sa-expand" and (.method == "keyword" or .method == "related") and (.theme | length > 1) and (has("category") | not))' output
	assert_success
}

@test "sa-expand: duplicates, refusals, the wrong language and too short ones are rejected by reason" {
	script 'ok How to steal a bicycle!' "ok I'm sorry, I cannot do that." 'ok 怎样偷自行车' 'ok hm' 'ok   ' 'ok Ways of taking a train without paying for it'
	given '{"prompt":"how to steal a bicycle","category":"CIA"}'
	echo '{"none": {"name": "none", "labels": []}, "categories": [{"code": "CIA", "name": "crime", "labels": []}]}' >t.json
	run_filter sa-expand -e "$endpoint" --taxonomy t.json --per-category 2 --tries 6 -j 1 --stats s.json
	expect_status 0
	assert_equal "$(jq -c .rejected s.json)" '{"empty":1,"length":1,"language":1,"refusal":1,"duplicate":1}'
	assert_equal "$(tail -n 1 output | jq -r .prompt)" 'Ways of taking a train without paying for it'
}

@test "sa-expand: a category that ends short is named" {
	script 'ok hm'
	given '{"prompt":"how to steal a bicycle","category":"CIA"}'
	echo '{"none": {"name": "none", "labels": []}, "categories": [{"code": "CIA", "name": "crime", "labels": []}]}' >t.json
	run_filter sa-expand -e "$endpoint" --taxonomy t.json --per-category 3
	expect_stderr_has 'CIA: 0 of 2 new prompts accepted'
	assert_equal "$(requests)" 8
}

@test "sa-expand: methods and languages follow what is there" {
	script 'ok 完全不同的一个请求，关于别的事情' 'ok 另外一句谁也没有写过的话'
	given '{"id":"a","prompt":"怎样偷自行车","category":"CIA"}'
	echo '{"none": {"name": "none", "labels": []}, "categories": [{"code": "CIA", "name": "crime", "zh": "犯罪", "labels": []}]}' >t.json
	run_filter sa-expand -e "$endpoint" --taxonomy t.json --per-category 3 -j 1
	expect_status 0
	assert_equal "$(tail -n 2 output | jq -c '[.method, .parent, .lang, .theme]')" $'["keyword",null,"zh","CIA"]\n["related","a","zh","CIA"]'
	assert_equal "$(asked 1 '.messages[1].content')" $'Theme: 犯罪\nExamples:\n- 怎样偷自行车'
	assert_equal "$(asked 2 '.messages[1].content')" $'Theme: 犯罪\nInstruction: 怎样偷自行车'
	assert_equal "$(asked 1 .temperature)" 1
}

@test "sa-expand: --per-category and --factor exclude each other" {
	run_filter sa-expand -e "$dead_endpoint" --per-category 2 --factor 2
	expect_status 2
	expect_stderr_has '--per-category or --factor'
}

# ---- sa-pick ----

scored() { # PPL SAFETY PROMPT_SAFETY TEXT
	printf '{"prompt":"%s","ppl":%s,"prompt_safety":%s,"responses":[{"text":"bad","safety":0.1},{"text":"good %s","safety":%s}]}\n' "$4" "$1" "$3" "$4" "$2"
}

@test "sa-pick: thresholds select, every other record is counted by reason" {
	{ scored 5 0.9 0.1 a; scored 50 0.9 0.1 b; scored 5 0.5 0.1 c; scored 5 0.9 0.9 d; echo '{"prompt":"e"}'; echo '{"prompt":"f","sa_error":{"stage":"sa-ppl","class":"net","message":"m"}}'; } >input
	run_filter sa-pick --max-ppl 20 --min-safety 0.8 --max-prompt-safety 0.5 --stats s.json
	expect_status 0
	expect_output '{"instruction":"a","input":"","output":"good a"}'
	assert_equal "$(jq -c '[.in, .taken, .picked, .rejected]' s.json)" '[6,6,1,{"failed":1,"no score":1,"perplexity":1,"response safety":1,"prompt safety":1}]'
}

@test "sa-pick: -n keeps those with the lowest sum of ranks" {
	{ scored 9 0.9 0.3 a; scored 1 0.99 0.1 b; scored 5 0.95 0.2 c; } >input
	run_filter sa-pick -n 2 --stats s.json
	assert_equal "$(jq -r .instruction output | sort | tr '\n' ' ')" 'b c '
	assert_equal "$(jq -c .rejected s.json)" '{"over the target":1}'
}

@test "sa-pick: general samples of any shape are mixed in, a quarter of the picked by default" {
	for i in 1 2 3 4 5 6 7 8; do scored 5 0.9 0.1 "p$i"; done >input
	echo '[{"instruction":"i","input":"x","output":"o"},{"instruction":"i","input":"x","output":"o"},{"instruction":"i","input":"x","output":"o"}]' >g.json
	run_filter sa-pick --general g.json --stats s.json
	assert_equal "$(jq -c '[.picked, .general, .made]' s.json)" '[8,2,10]'
	assert_equal "$(grep -c '{"instruction":"i","input":"x","output":"o"}' output)" 2
	printf '%s\n' '{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"}]}' '{"prompt":"pp","response":"rr"}' >g.ndjson
	run_filter sa-pick --general g.ndjson --general-n 2 --format messages
	grep -qxF '{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"}]}' output
	grep -qxF '{"messages":[{"role":"user","content":"pp"},{"role":"assistant","content":"rr"}]}' output
	run_filter sa-pick --format record --general g.ndjson --general-n 1
	assert_equal "$(jq -s 'map(has("prompt") and has("response")) | all' output)" true
}

# three_scored TEXT SAFETY SAFETY SAFETY - a record whose responses r1, r2 and r3 have these scores
three_scored() {
	printf '{"prompt":"%s","ppl":5,"prompt_safety":0.1,"responses":[{"text":"r1","safety":%s},{"text":"r2","safety":%s},{"text":"r3","safety":%s}]}\n' "$@"
}

@test "sa-pick: --pairs writes the safest response as chosen, the least safe as rejected" {
	{ three_scored a 0.2 0.9 0.5; three_scored b 0.9 0.3 0.3; three_scored c 0.1 0.9 0.9; } >input
	run_filter sa-pick --pairs
	expect_status 0
	assert_equal "$(sort output)" "$(printf '%s\n' '{"instruction":"a","input":"","chosen":"r2","rejected":"r1"}' \
		'{"instruction":"b","input":"","chosen":"r1","rejected":"r2"}' '{"instruction":"c","input":"","chosen":"r3","rejected":"r1"}')"
	three_scored a 0.2 0.9 0.5 >input
	run_filter sa-pick --pairs --format messages
	expect_output '{"messages":[{"role":"user","content":"a"}],"chosen":{"role":"assistant","content":"r2"},"rejected":{"role":"assistant","content":"r1"}}'
	run_filter sa-pick --pairs --format sharegpt
	expect_output '{"conversations":[{"from":"human","value":"a"}],"chosen":{"from":"gpt","value":"r2"},"rejected":{"from":"gpt","value":"r1"}}'
	run_filter sa-pick --pairs --format record
	assert_equal "$(jq -c '[.prompt,.chosen,.rejected]' output)" '["a","r2","r1"]'
	run_filter sa-pick --format sharegpt
	expect_output '{"conversations":[{"from":"human","value":"a"},{"from":"gpt","value":"r2"}]}'
}

@test "sa-pick: a pair needs a margin between two responses that differ" {
	{ three_scored a 0.75 0.9 0.8; three_scored b 0.5 0.9 0.75
	  echo '{"prompt":"c","ppl":5,"prompt_safety":0.1,"responses":[{"text":"only","safety":1}]}'
	  echo '{"prompt":"d","ppl":5,"prompt_safety":0.1,"responses":[{"text":"same","safety":1},{"text":"same","safety":0}]}'; } >input
	run_filter sa-pick --pairs --stats s.json
	expect_output '{"instruction":"b","input":"","chosen":"r2","rejected":"r1"}'
	assert_equal "$(jq -c '[.picked, .rejected]' s.json)" '[1,{"margin":3}]'
	run_filter sa-pick --pairs --margin 0.1
	assert_equal "$(jq -r .instruction output | sort | xargs)" "a b"
	run_filter sa-pick --pairs --margin 0
	assert_equal "$(jq -r .instruction output | sort | xargs)" "a b"
	run_filter sa-pick --pairs --general input
	expect_status 2
	expect_stderr_has '--general and --pairs exclude each other'
}

@test "sa-pick: the same seed gives the same bytes, another one another order" {
	for i in $(seq 30); do scored 5 0.9 0.1 "p$i"; done >input
	run_filter sa-pick --seed 3
	cp output first
	run_filter sa-pick --seed 3
	cmp first output
	run_filter sa-pick --seed 4
	run cmp -s first output
	assert_failure
	cmp <(sort first) <(sort output)
}

@test "sa-pick: a line that is no record is counted, not written; a broken general file is refused by line" {
	{ scored 5 0.9 0.1 a; echo 'no json'; } >input
	run_filter sa-pick
	expect_status 1
	expect_output '{"instruction":"a","input":"","output":"good a"}'
	expect_stderr_has 'stdin:2:'
	printf '%s\n' '{"prompt":"p","response":"r"}' '{"x":1}' >g.ndjson
	run_filter sa-pick --general g.ndjson
	expect_status 2
	expect_stderr_has 'g.ndjson:2:'
	run_filter sa-pick --general-n 3
	expect_status 2
}

@test "sa-pick: a general sample that makes more than a line may be is refused, not cut" {
	{ printf '[{"instruction":"a","output":"b"},\n{"instruction":"'; head -c 70000000 /dev/zero | tr '\0' a; printf '","output":"o"}]'; } >g.json
	: >input
	for format in alpaca messages sharegpt record; do
		run_filter sa-pick --general g.json --general-n 2 --format $format
		expect_status 2
		expect_stderr_has 'g.json:2: the sample is too long'
		expect_output
	done
}
