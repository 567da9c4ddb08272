# knowledge.bats - sa-eval mmlu, cmmlu and ceval: the likeliest letter, against a server that answers to order and a real one
load lib

# serve LINE... - a fault server with that script on the socket ./model; its requests are in model.log
serve() {
	rm -f model
	start_fault -n model --unix ./model "$@"
}

requests() { wc -l <model.log | xargs; }
lines_in() { [ -f "$1" ] && [ "$(wc -l <"$1")" -ge "$2" ]; }

# likeliest TOKEN:LOGPROB... - a script line: a reply whose likeliest tokens are those
likeliest() {
	local list
	list=$(printf '%s\n' "$@" | jq -Rsc 'split("\n") | map(select(. != "") | capture("^(?<k>.*):(?<v>[^:]*)$") | {(.k): (.v | tonumber)}) | add')
	echo "json {\"choices\":[{\"text\":\"?\",\"logprobs\":{\"tokens\":[\"?\"],\"token_logprobs\":[-9],\"top_logprobs\":[$list]}}]}"
}

# exam SPLIT - a directory ./data: three subjects of two groups, an example each, 2 + 1 + 1 questions whose answers are A, B, C and D
exam() {
	mkdir -p data/dev "data/$1"
	cat >data/mapping.json <<-'EOT'
	{"sums": {"name": "small sums", "category": "STEM"}, "old_tales": {"name": "old tales", "category": "Humanities"},
	 "shapes": {"name": "shapes", "category": "STEM"}}
	EOT
	for s in sums old_tales shapes; do
		echo "Which of $s?,one,\"two, or so\",None,four,C" >"data/dev/${s}_dev.csv"
	done
	printf '1 + 1?,2,1,0,None,A\n1 + 2?,2,3,0,None,B\n' >"data/$1/sums_$1.csv"
	echo 'Who told it?,a,b,c,d,C' >"data/$1/old_tales_$1.csv"
	echo '"How ""round"", and
why?",a,b,c,d,D' >"data/$1/shapes_$1.csv"
}

exam_run() { run_filter sa-eval "$1" -e unix:./model -j 1 --shots 1 --data data --out out "${@:2}"; }

# right - what is right in out/results.jsonl, told by grep and jq alone: the questions as they are asked are in file order by subject
right() {
	jq -rn --slurpfile r out/results.jsonl --argjson want '{"sums-1":"A","sums-2":"B","old_tales-1":"C","shapes-1":"D"}' \
		'[$r[] | select($want[.id] == .response)] | length'
}

@test "mmlu: LLaMA-Factory's prompt byte for byte, the likeliest letter, averages over questions and subjects" {
	exam test
	serve "$(likeliest C:-0.1 A:-2)" "$(likeliest D:-0.5 ' A:-0.1')" "$(likeliest A:-1 B:-1 Q:-0.2)" "$(likeliest D:-3 B:-4)"
	exam_run mmlu
	expect_status 0
	# subjects go by name: old_tales, shapes, sums
	assert_equal "$(jq -r '.id + " " + .response' out/results.jsonl | xargs)" "old_tales-1 C shapes-1 D sums-1 A sums-2 D"
	head -n 1 model.log | jq -j .body.prompt >sent
	printf 'The following are multiple choice questions (with answers) about old tales.\n\nWhich of old_tales?\nA. one\nB. two, or so\nC. None\nD. four\nAnswer:C\n\nWho told it?\nA. a\nB. b\nC. c\nD. d\nAnswer:' >want
	cmp sent want
	assert_equal "$(sed -n 2p model.log | jq '.body.prompt | endswith("Answer:C\n\nHow \"round\", and\nwhy?\nA. a\nB. b\nC. c\nD. d\nAnswer:")')" true
	assert_equal "$(jq -c '[.path, (.body | .max_tokens, .temperature, .logprobs, has("messages"))]' model.log | sort -u)" '["/v1/completions",1,0,5,false]'
	assert_equal "$(jq -r '[.protocol, .average] | join(" ")' out/summary.json)" "mmlu-llamafactory-1shot-logprob micro"
	assert_equal "$(jq -c '.micro | [.n, .score]' out/summary.json)" "[4,$(jq -n "$(right) / 4 * 100")]"
	assert_equal "$(jq -c '[.macro.n, (.macro.score | round)]' out/summary.json)" "[3,83]"	# (1 + 1 + 1/2) / 3
	assert_equal "$(jq -c '[.categories[] | [.category, .n, (.score | round), .macro.score]]' out/summary.json)" '[["STEM",3,67,75],["Humanities",1,100,100]]'
	assert_equal "$(jq -c '[.subjects[] | [.subject, .n, .score]]' out/summary.json)" '[["old_tales",1,100],["shapes",1,100],["sums",2,50]]'
	[[ $output == *"over all questions (micro)"* ]]
}

@test "mmlu: the qwen protocol looks for a letter behind a space" {
	exam test
	serve "$(likeliest A:-0.1 ' C:-3' ' B:-5')"
	exam_run mmlu --protocol qwen
	expect_status 0
	assert_equal "$(jq -r .response out/results.jsonl | sort -u)" "C"
	tail -n 1 model.log | jq -j .body.prompt >sent
	printf 'The following are multiple choice questions (with answers) about sums.\n\nQuestion: Which of sums?\nA. one\nB. two, or so\nC. None\nD. four\nAnswer: C\n\nQuestion: 1 + 2?\nA. 2\nB. 3\nC. 0\nD. None\nAnswer:' >want
	cmp sent want
	assert_equal "$(jq -r '.protocol + " " + .average' out/summary.json)" "mmlu-qwen-1shot-logprob micro"
}

@test "cmmlu and ceval: their wordings, files and averages" {
	exam test
	serve "$(likeliest A:-1)"
	exam_run cmmlu
	expect_status 0
	tail -n 1 model.log | jq -j .body.prompt >sent
	printf '以下是中国关于small sums考试的单项选择题，请选出其中的正确答案。\n\nWhich of sums?\nA. one\nB. two, or so\nC. None\nD. four\n答案：C\n\n1 + 2?\nA. 2\nB. 3\nC. 0\nD. None\n答案：' >want
	cmp sent want
	rm -r data out
	exam val
	exam_run ceval --protocol qwen
	expect_status 0
	tail -n 1 model.log | jq -j .body.prompt >sent
	printf '问题：Which of sums?\nA. one\nB. two, or so\nC. None\nD. four\n答案：C\n\n问题：1 + 2?\nA. 2\nB. 3\nC. 0\nD. None\n答案：' >want
	cmp sent want
	assert_equal "$(jq -r '.protocol + " " + .average' out/summary.json)" "ceval-qwen-1shot-logprob macro"
	[[ $output == *"mean of the subjects (macro)"* ]]
}

@test "mmlu: what was killed goes on, failed questions count as wrong and are asked again, nothing else is" {
	exam test
	serve "$(likeliest C:-1)" "$(likeliest D:-1)" hang
	sa-eval mmlu -e unix:./model -j 1 --shots 1 --data data --out out >output 2>stderr 3>&- &
	pid=$!
	wait_until 20 lines_in out/results.jsonl 2
	kill -9 "$pid"
	wait "$pid" || true
	printf '{"id":"sums-1","resp' >>out/results.jsonl
	serve "$(likeliest A:-1)" "status 400"
	exam_run mmlu
	expect_status 1
	assert_equal "$(requests)" 2
	assert_equal "$(jq -c '.micro | [.missing, .score]' out/summary.json)" "[1,75]"
	[[ $output == *"1 of them have no answer yet"* ]]
	serve "$(likeliest B:-1)"
	exam_run mmlu
	expect_status 0
	assert_equal "$(requests) $(right)" "1 4"
	assert_equal "$(jq -c '.micro | [.missing, .score]' out/summary.json)" "[0,100]"
	exam_run mmlu
	assert_equal "$(requests)" 1
}

@test "mmlu: letters out of the likeliest tokens are asked for by echo, counted, and never guessed" {
	exam test
	serve "times 2 $(likeliest x:-1)" \
		'times 3 json {"choices":[{"text":"x","logprobs":{"token_logprobs":[null,-3,-2]}}],"usage":{"prompt_tokens":3}}' \
		'json {"choices":[{"text":"x","logprobs":{"token_logprobs":[null,-3,-1]}}],"usage":{"prompt_tokens":3}}' \
		'json {"choices":[{"text":"x","logprobs":null}]}'
	exam_run mmlu --limit 2
	expect_status 1
	assert_equal "$(jq -c '[.id, .response, .decided_by, .logprobs]' out/results.jsonl)" '["old_tales-1","D","echo",{"A":-5,"B":-5,"C":-5,"D":-4}]'
	expect_stderr_has "no token log-probabilities in the reply"
	assert_equal "$(jq -c '[.by_echo, .micro.n, .micro.missing]' out/summary.json)" "[1,2,1]"
	[[ $output == *"1 had no letter among the 5 likeliest tokens and were decided by echo"* ]]
}

@test "mmlu: --limit takes some of every subject, and other settings are not mixed" {
	exam test
	serve "$(likeliest A:-1)"
	exam_run mmlu --limit 3
	expect_status 0
	assert_equal "$(jq -r .id out/results.jsonl | xargs)" "old_tales-1 shapes-1 sums-1"
	exam_run mmlu --protocol qwen
	expect_status 2
	expect_stderr_has 'out/results.jsonl was made with protocol "llamafactory", now it is "qwen"'
	exam_run mmlu --shots 0
	expect_status 2
	expect_stderr_has "out/results.jsonl was made with "
	exam_run mmlu --shots 6
	expect_status 2
	expect_stderr_has "mmlu: --shots is 0 to 5, not 6"
	exam_run mmlu --review x
	expect_stderr_has "--review is not for mmlu"
	rm data/mapping.json
	exam_run mmlu
	expect_status 2
	expect_stderr_has "data/mapping.json: "
}

@test "mmlu: a directory whose zip was not unpacked is told so" {
	exam test
	rm -r data/test data/data/test 2>/dev/null || true
	exam_run mmlu
	expect_status 2
	expect_stderr_has "data: no folder 'test' in it: unpack the benchmark's zip there"
}

@test "mmlu: a local model without any other server, the same letters at any -j" {
	exam test
	run_filter sa-eval mmlu -e "local:$ROOT/pipelines/nano/student" -j 1 --shots 1 --data data --out one
	expect_status 0
	run_filter sa-eval mmlu -e "local:$ROOT/pipelines/nano/student" -j 8 --shots 1 --data data --out many
	expect_status 0
	cmp one/results.jsonl many/results.jsonl
	assert_equal "$(jq -r .response one/results.jsonl | grep -cx '[ABCD]')" 4
	# each letter is the one with the largest log-probability
	assert_equal "$(jq -r 'select(.response != (.logprobs | to_entries | max_by(.value).key)) | .id' one/results.jsonl)" ""
}

@test "mmlu: the published files, 14,042 prompts byte for byte" {
	data mmlu
	command -v python3 >/dev/null || skip "there is no python3, which counts once more"
	mkdir data
	cp "$DATA/mapping.json" data
	python3 -m zipfile -e "$DATA/mmlu.zip" data
	serve "$(likeliest C:-1)"
	run_filter sa-eval mmlu -e unix:./model --data data --out out
	expect_status 0
	python3 - <<-'EOT'
	import csv, json
	mapping, want, right = json.load(open("data/mapping.json")), {}, 0
	def rows(split, subject):
	    return list(csv.reader(open(f"data/data/{split}/{subject}_{split}.csv", newline="", encoding="utf-8")))
	def block(row):
	    return row[0] + "".join(f"\n{c}. {x}" for c, x in zip("ABCD", row[1:5])) + "\nAnswer:"
	for s, about in mapping.items():
	    head = f"The following are multiple choice questions (with answers) about {about['name']}.\n\n" + "".join(block(r) + r[5] + "\n\n" for r in rows("dev", s)[:5])
	    for i, r in enumerate(rows("test", s)):
	        want[f"{s}-{i + 1}"] = head + block(r)
	        right += r[5] == "C"
	got = {o["id"]: o["prompt"] for o in map(json.loads, open("out/results.jsonl"))}
	assert len(want) == 14042 and want == got
	summary = json.load(open("out/summary.json"))
	assert abs(summary["micro"]["score"] - 100 * right / len(want)) < 1e-3, summary["micro"]
	EOT
}
