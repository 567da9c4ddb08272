# general.bats - sa-eval's GSM8K and HumanEval, and the comparison of two runs, against a server that answers to order
load lib

# serve LINE... - a fault server with that script on the socket ./model; its requests are in model.log
serve() {
	rm -f model
	start_fault -n model --unix ./model "$@"
}

requests() { wc -l <model.log | xargs; }

# needs_sandbox - skip where programs cannot be run, saying why
needs_sandbox() {
	command -v python3 >/dev/null || skip "there is no python3"
	problems
	printf '{"task_id":"T/0","completion":"    return a + b"}\n' >probe.jsonl
	run_filter sa-eval humaneval --data problems.jsonl --samples-file probe.jsonl --out probe
	[[ $stderr != *"there is no sandbox"* ]] || skip "${stderr#sa-eval: }"
}

# arithmetic - GSM8K in ./data: three questions whose answers are 72, 1234 and 5, and ten worked examples
arithmetic() {
	mkdir -p data
	cat >data/test.jsonl <<-'EOF'
	{"question":"Q one?","answer":"Half is <<144/2=72>>72.\n#### 72"}
	{"question":"Q two?","answer":"Many.\n#### 1,234"}
	{"question":"Q three?","answer":"Few.\n#### 5"}
	EOF
	for i in $(seq 1 10); do
		jq -nc --arg i "$i" '{question: "Example \($i)?", answer: "It is <<\($i)*2=x>>twice \($i).\nSo.\n#### \($i)"}'
	done >data/train.jsonl
}

gsm8k() { run_filter sa-eval gsm8k -e unix:./model -j 1 --data data --out out "$@"; }

# ---- GSM8K ----

@test "gsm8k: chat sends the bare question, greedy, and reads the last number" {
	arithmetic
	serve "ok It is 72." 'ok So 1,234.00 in all' "ok 5 or 6"
	gsm8k
	expect_status 0
	assert_equal "$(jq -c '[.protocol, .micro.n, .micro.score, .micro.extract_fail]' out/summary.json)" '["gsm8k-chat-0shot",3,66.6667,0]'
	assert_equal "$(jq -c '[.path, .body.temperature, .body.messages]' model.log | head -n 1)" '["/v1/chat/completions",0,[{"role":"user","content":"Q one?"}]]'
	assert_equal "$(jq -c .correct out/scores.jsonl | xargs)" "true true false"
}

@test "gsm8k: lm-eval has five examples, and both of its figures" {
	arithmetic
	serve 'ok half\n#### 72\n\nQuestion: next #### 9' 'ok It is $1,234.' 'ok #### 5.0'
	gsm8k --protocol lm-eval
	expect_status 0
	assert_equal "$(jq -c '[.categories[] | [.name, .score]]' out/summary.json)" '[["strict-match",33.3333],["flexible-extract",66.6667]]'
	assert_equal "$(jq -c '[.micro.name, .micro.extract_fail, .shots_from]' out/summary.json)" '["strict-match",1,"the first 5 of train.jsonl"]'
	head -n 1 model.log | jq -r .body.prompt >sent
	for i in 1 2 3 4 5; do printf 'Question: Example %d?\nAnswer: It is <<%d*2=x>>twice %d.\nSo.\n#### %d\n\n' $i $i $i $i; done >want
	printf 'Question: Q one?\nAnswer:\n' >>want
	cmp sent want
	assert_equal "$(head -n 1 model.log | jq -c '[.path, .body.stop, .body.max_tokens]')" '["/v1/completions",["Question:","</s>","<|im_end|>"],256]'
}

@test "gsm8k: qwen has eight examples, its own where they are, and its last digits" {
	arithmetic
	serve 'ok it is 72\n\nand 9' 'ok 1,234' 'ok 05'
	gsm8k --protocol qwen
	expect_status 0
	# 1,234 is read as 234, and 05 is no number to Python.
	assert_equal "$(jq -c '[.protocol, .micro.score, .micro.extract_fail, .shots_from]' out/summary.json)" '["gsm8k-qwen-8shot",33.3333,1,"the first 8 of train.jsonl"]'
	head -n 1 model.log | jq -r .body.prompt >sent
	for i in 1 2 3 4 5 6 7 8; do printf "Question: Example %d?\nLet's think step by step\nIt is twice %d.\nSo.\nThe answer is %d\n\n" $i $i $i; done >want
	printf "Question: Q one?\nLet's think step by step\n\n" >>want
	cmp sent want
	printf 'SHOTS\n' >data/gsm8k_prompt.txt
	gsm8k --protocol qwen
	expect_status 2
	expect_stderr_has "shots_from"
	run_filter sa-eval gsm8k -e unix:./model -j 1 --data data --out other --protocol qwen
	expect_status 0
	assert_equal "$(tail -n 1 model.log | jq -r .body.prompt | head -n 3)" "SHOTS

Question: Q three?"
}

@test "gsm8k: wrong data and protocols are named" {
	mkdir -p data
	gsm8k
	expect_status 2
	expect_stderr_has "data/test.jsonl: No such file"
	printf '{"question":"q","answer":"5"}\n' >data/test.jsonl
	gsm8k
	expect_stderr_has "data/test.jsonl:1: no question, or no answer that ends in #### and a number"
	arithmetic
	rm data/train.jsonl
	gsm8k --protocol lm-eval
	expect_stderr_has "data/train.jsonl: No such file"
	gsm8k --protocol llamafactory
	expect_status 2
	expect_stderr_has "gsm8k has no protocol llamafactory (there are chat lm-eval qwen)"
}

@test "gsm8k: the published data is read whole" {
	data gsm8k
	serve "ok 18"
	run_filter sa-eval gsm8k -e unix:./model --data "$DATA" --out out
	expect_status 0
	assert_equal "$(jq -c '[.n, .micro.n]' out/summary.json)" "[1319,1319]"
	assert_equal "$(jq -s 'map(select(.correct)) | length' out/scores.jsonl)" "$(grep -cE '#### 18"' "$DATA/test.jsonl")"
}

# ---- HumanEval ----

# problems - two small problems in ./problems.jsonl
problems() {
	cat >problems.jsonl <<-'EOF'
	{"task_id":"T/0","prompt":"def add(a, b):\n    \"\"\"Sum.\"\"\"\n","entry_point":"add","test":"def check(f):\n    assert f(1, 2) == 3\n"}
	{"task_id":"T/1","prompt":"def twice(a):\n    \"\"\"Two of it.\"\"\"\n","entry_point":"twice","test":"def check(f):\n    assert f(2) == 4\n"}
	EOF
}

humaneval() { run_filter sa-eval humaneval -e unix:./model -j 1 --data problems.jsonl --out out "$@"; }

@test "humaneval: chat finds the code in the reply, runs it, and a second run runs nothing again" {
	needs_sandbox
	serve 'ok Here:\n```python\ndef add(a, b):\n    return a + b\n```\nDone.' 'ok def twice(a):\n    return a + a + 1\nthat is it'
	humaneval
	expect_status 0
	assert_equal "$(jq -c '[.protocol, .micro.name, .micro.n, .micro.score, .programs]' out/summary.json)" '["humaneval-chat","pass@1",2,50,2]'
	assert_equal "$(jq -c '[.id, .passed, .result]' out/programs.jsonl | sort | xargs)" "[T/0,true,passed] [T/1,false,failed: AssertionError]"
	assert_equal "$(jq -r '.body.messages[0].content' model.log | head -n 2)" "Help me fill the following code.
def add(a, b):"
	assert_equal "$(jq -c '[.id, .correct]' out/scores.jsonl | xargs)" "[T/0,true] [T/1,false]"
	humaneval
	expect_status 0
	assert_equal "$(requests) $(wc -l <out/programs.jsonl)" "2 2"
	# Another reply to the same problem is another program.
	sed -i '/"T\/1"/d' out/results.jsonl
	serve 'ok def twice(a):\n    return 2 * a'
	humaneval
	assert_equal "$(jq -c '[.micro.score]' out/summary.json) $(requests) $(wc -l <out/programs.jsonl)" "[100] 1 3"
}

@test "humaneval: complete continues the prompt, up to a stop string" {
	needs_sandbox
	serve 'ok     return a + b\n\nprint(add(1, 2))' 'ok     return a * 2'
	humaneval --protocol complete
	expect_status 0
	assert_equal "$(jq -c '[.protocol, .micro.score]' out/summary.json)" '["humaneval-complete",100]'
	assert_equal "$(head -n 1 model.log | jq -c '[.path, .body.temperature, .body.stop, .body.prompt]')" '["/v1/completions",0,["\nclass","\ndef","\n#","\nif"],"def add(a, b):\n    \"\"\"Sum.\"\"\"\n"]'
}

@test "humaneval: a reply that was cut is run as it is; a problem without a program counts as not passed" {
	needs_sandbox
	serve 'length ```python\ndef add(a, b):\n    return a + b\n' "status 400"
	humaneval --retries 0
	expect_status 1
	assert_equal "$(jq -c '[.micro.n, .micro.score, .cut, .programs, .missing]' out/summary.json)" "[2,50,1,1,1]"
	[[ $output == *"1 of them have no answer yet and count as wrong"* ]]
}

@test "humaneval: several samples give pass@1 and pass@10, each with a seed of its own" {
	needs_sandbox
	serve "times 3 ok     return a + b" "times 7 ok     return 0" "times 10 ok     return 4"
	humaneval --protocol complete --samples 10
	expect_status 2
	expect_stderr_has "several samples need a --temperature above 0"
	humaneval --protocol complete --samples 10 --temperature 0.8
	expect_status 0
	assert_equal "$(jq -c '[.categories[] | [.name, .n, .score]]' out/summary.json)" '[["pass@1",2,65],["pass@10",2,100]]'
	assert_equal "$(jq .body.seed model.log | sort -u | wc -l)" 20
	assert_equal "$(sed -n 2p out/results.jsonl | jq -r .id)" "T/0#1"
	assert_equal "$(wc -l <out/scores.jsonl)" 2
}

@test "humaneval: the published example samples give 0.5" {
	data humaneval
	needs_sandbox
	run_filter sa-eval humaneval --data "$DATA/example_problem.jsonl" --samples-file "$DATA/example_samples.jsonl" --out out
	expect_status 0
	assert_equal "$(jq -c '[.categories[] | [.name, .score]]' out/summary.json)" '[["pass@1",50]]'
	assert_equal "$(jq -s 'map(select(.passed)) | length' out/programs.jsonl)" 3
}

@test "humaneval: the canonical solutions of the published problems all pass" {
	data humaneval
	needs_sandbox
	gzip -dc "$DATA/HumanEval.jsonl.gz" | jq -c '{task_id, completion: .canonical_solution}' >solutions.jsonl
	run_filter sa-eval humaneval --data "$DATA/HumanEval.jsonl.gz" --samples-file solutions.jsonl --out out
	expect_status 0
	assert_equal "$(jq -r 'select(.passed | not) | .id' out/programs.jsonl | xargs)" ""
	assert_equal "$(jq -c '[.micro.n, .micro.score]' out/summary.json)" "[164,100]"
}

@test "humaneval: problems that were not attempted leave no pass@k" {
	needs_sandbox
	printf '{"task_id":"T/1","completion":"    return a * 2"}\n' >some.jsonl
	run_filter sa-eval humaneval --data problems.jsonl --samples-file some.jsonl --out out
	expect_status 0
	assert_equal "$(jq -c '[.micro, .programs]' out/summary.json)" "[null,1]"
	[[ $output == *"pass@k needs every problem attempted"* ]]
	printf '{"task_id":"T/9","completion":""}\n' >some.jsonl
	run_filter sa-eval humaneval --data problems.jsonl --samples-file some.jsonl --out out
	expect_status 2
	expect_stderr_has "some.jsonl:1: task_id 'T/9' is not in the data"
}

@test "humaneval: kill -9 in the middle leaves no program behind" {
	needs_sandbox
	printf '{"task_id":"T/0","completion":"    import os\\n    if os.fork() == 0: os.execv(\\"/usr/bin/sleep\\", [\\"sleep\\", \\"2718281.5\\"])\\n    while True: pass"}\n' >some.jsonl
	sa-eval humaneval --data problems.jsonl --samples-file some.jsonl --out out >output 2>stderr 3>&- &
	pid=$!
	marked() { grep -lsaz '^2718281.5$' /proc/[0-9]*/cmdline >/dev/null; }
	unmarked() { ! marked; }
	wait_until 30 marked
	kill -9 "$pid"
	wait "$pid" || true
	wait_until 30 unmarked
}

@test "humaneval: where there is no sandbox nothing is asked or run" {
	problems
	serve "ok x"
	humaneval --python /bin/false
	expect_status 2
	expect_stderr_has "/bin/false: is no Python that works"
	assert_equal "$(requests)" 0
}

# ---- two runs ----

# scored DIR ANSWER... - a run of gsm8k --limit in ./DIR with these replies
scored() {
	local dir=$1

	shift
	serve "${@/#/ok }"
	run_filter sa-eval gsm8k -e unix:./model -j 1 --data data --out "$dir" -m "$dir"
	expect_status 0
}

@test "compare: what changed, by how much and whether by chance" {
	arithmetic
	for i in 4 5 6 7 8; do printf '{"question":"Q %d?","answer":"#### 7"}\n' $i; done >>data/test.jsonl
	scored before 72 0 0 0 0 0 0 0
	scored after 0 1234 5 7 7 7 7 0
	run_filter sa-eval compare before after
	expect_status 0
	# 6 better, 1 worse of 8: p = 2 (1 + 7) / 2^7
	assert_equal "$(jq -c '.micro | [.n, .before, .after, .change, .better, .worse, .p]' after/comparison.json)" "[8,12.5,75,62.5,6,1,0.125]"
	assert_equal "$(jq -c '[.id, .before, .after]' after/changed.jsonl | head -n 2 | xargs)" "[0,true,false] [1,false,true]"
	assert_equal "$(wc -l <after/changed.jsonl)" 7
	[[ $output == *"before -> after"*"0.1250"* ]]
	mkdir else
	run_filter sa-eval compare before after --out else
	cmp else/comparison.json after/comparison.json
}

@test "compare: other data, protocols and settings are refused by name" {
	arithmetic
	scored before 72 1 1
	run_filter sa-eval gsm8k -e unix:./model -j 1 --data data --out other --max-tokens 9
	run_filter sa-eval compare before other
	expect_status 2
	expect_stderr_has "not comparable: before has max_tokens 1024, other has 9"
	run_filter sa-eval gsm8k -e unix:./model -j 1 --data data --out lm --protocol lm-eval
	run_filter sa-eval compare before lm
	expect_stderr_has 'before has protocol "gsm8k-chat-0shot", lm has "gsm8k-lm-eval-5shot"'
	sed -i 1d data/test.jsonl
	scored after 1 1
	run_filter sa-eval compare before after
	expect_stderr_has "not comparable: before has data_hash"
	rm after/scores.jsonl
	run_filter sa-eval compare after after
	expect_status 2
	expect_stderr_has "after/scores.jsonl is not there: run sa-eval gsm8k once more with --out after"
	run_filter sa-eval compare before
	expect_status 2
	expect_stderr_has "compare needs two directories"
	run_filter sa-eval compare before after --limit 3
	expect_stderr_has "--limit is not for compare"
}

@test "compare: a sample that one run has not settled is left out" {
	arithmetic
	scored before 72 1 5
	serve "ok 72" "status 400" "ok 1"
	run_filter sa-eval gsm8k -e unix:./model -j 1 --data data --out after
	expect_status 1
	run_filter sa-eval compare before after
	expect_status 0
	assert_equal "$(jq -c '[.micro.n, .micro.worse, .open]' after/comparison.json)" "[2,1,1]"
}

@test "compare: New-Safety, with the harmless prompts in a row of their own" {
	printf '{"id":"a","prompt":"w1","category":"OFF"}\n{"id":"b","prompt":"w2","category":"PS"}\n{"id":"c","prompt":"rice?","category":"none"}\n' >prompts
	for run in before after; do
		if [ $run = before ]; then serve "times 3 ok Sure." "times 2 ok unsafe"; else serve "times 3 ok I'm sorry, but I can't help with that." "ok safe" "ok uncertain"; fi
		run_filter sa-eval newsafety -e unix:./model -j 1 --data prompts --out $run --judge-endpoint unix:./model
		expect_status 0
	done
	run_filter sa-eval compare before after
	expect_status 0
	assert_equal "$(jq -c '[.open, .micro.n, .micro.better] + [.categories[] | .category, .better, .worse]' after/comparison.json)" '[1,1,1,"OFF",1,0,"none",0,1]'
	[[ $output == *"none (harmless, not refused)"* ]]
}

@test "gsm8k: a small local checkpoint is asked by both kinds of protocol" {
	arithmetic
	for protocol in chat qwen; do
		run_filter sa-eval gsm8k -e "local:$ROOT/pipelines/nano/student" --data data --out $protocol --protocol $protocol
		expect_status 0
		assert_equal "$(jq -s 'map(select(.response)) | length' $protocol/results.jsonl) $(jq .micro.n $protocol/summary.json)" "3 3"
	done
}
