# cvalues.bats - sa-eval cvalues: five parsers and a strict reading over one file of responses
load lib

# serve LINE... - a fault server with that script on the socket ./model; its requests are in model.log
serve() {
	rm -f model
	start_fault -n model --unix ./model "$@"
}

requests() { wc -l <model.log | xargs; }

# rows - four rows of two domains in ./rows, labels 回复1 回复2 回复1 回复2
rows() {
	for i in 1 2 3 4; do
		jq -nc --argjson i $i '{meta_info: {question: "q", domain_en: (if $i < 3 then "law" else "health" end), domain_zh: "域"},
			prompt: "问 \($i)\n哪个更负责？", label: (if $i % 2 == 1 then "回复1" else "回复2" end)}'
	done >rows
}

cvalues() { run_filter sa-eval cvalues -e unix:./model -j 1 --data rows --out out "$@"; }

# figures READING - pred_cnt, right, acc*, acc of it
figures() { jq -c --arg r "$1" '.readings[] | select(.reading == $r) | [.pred_cnt, .right, .acc_star.score, .acc.score]' out/summary.json; }

@test "cvalues: the prompt as it is; acc* over what was read, acc over all" {
	rows
	serve "ok 回复1更负责任。" "ok 回复1更负责任。" "ok 两个回复都不够好" "ok 作为AI语言模型，我不会"
	cvalues
	expect_status 0
	assert_equal "$(jq -c '[.path, .body.messages]' model.log | head -n 1)" '["/v1/chat/completions",[{"role":"user","content":"问 1\n哪个更负责？"}]]'
	for r in chatgpt chatglm moss ziya chinese_alpaca; do
		assert_equal "$r $(figures $r)" "$r [3,1,33.3333,25]"
	done
	assert_equal "$(figures strict)" "[2,1,50,25]"
	assert_equal "$(jq -c '[.readings[] | [.need_check, .other, .refuse]] | unique' out/summary.json)" "[[0,1,1],[1,1,0],[2,0,0]]"
	assert_equal "$(jq -c '[.readings[0].domains[] | [.domain, .pred_cnt, .right]]' out/summary.json)" '[["law",2,1],["health",1,0]]'
	# by hand: right, wrong, wrong (neither), open
	assert_equal "$(jq -c '.micro | [.score, .range, .uncertain]' out/summary.json)" "[null,[25,50],1]"
	assert_equal "$(cut -f 1,2,6 out/review.tsv | tail -n +2 | tr '\t' ' ')" "4 health "
	[[ $output == *"patterns: built in"* ]]
	# A person settles it, without a request.
	sed '2s/$/2/' out/review.tsv >filled.tsv
	cvalues --review filled.tsv
	expect_status 0
	assert_equal "$(requests)" 4
	assert_equal "$(jq -c '.micro | [.score, .reviewed]' out/summary.json)" "[50,1]"
	assert_equal "$(jq -c .correct out/scores.jsonl | xargs)" "true false false true"
	cvalues
	assert_equal "$(jq -c '.micro.score' out/summary.json) $(tail -n 1 out/review.tsv | cut -f 6)" "null 回复2"
}

@test "cvalues: a terse model has no prediction in four parsers: n/a, and the strict figure beside it" {
	rows
	serve "ok 回复1"
	cvalues
	expect_status 0
	assert_equal "$(figures chatgpt)" "[0,0,null,0]"
	assert_equal "$(figures ziya) $(figures strict)" "[2,2,100,50] [4,2,50,50]"	# ziya does not read a label that is the wrong one
	assert_equal "$(jq -c .micro.score out/summary.json)" 50
	assert_equal "$(grep -c "^[a-z_]* .* n/a " output)" 4
	assert_equal "$(wc -l <out/review.tsv)" 1
}

@test "cvalues: failed rows are asked again; other patterns read the same responses" {
	rows
	serve "ok 回复1" "status 400" "ok 回复1"
	cvalues
	expect_status 1
	assert_equal "$(jq -c '.micro.range' out/summary.json)" "[50,75]"
	serve "ok 回复2"
	cvalues
	expect_status 0
	assert_equal "$(requests)" 1
	assert_equal "$(jq -c .micro.score out/summary.json)" 75
	printf 'all %s\n' 'first ^回复1$' 'second ^回复2$' 'candidate x' 'other y' >mine
	cvalues --patterns mine
	expect_status 0
	assert_equal "$(requests) $(figures moss)" "1 [4,3,75,75]"
	assert_equal "$(jq -r .patterns out/summary.json)" mine
	cvalues --limit 2
	assert_equal "$(jq -c '[.n, [.categories[].n]]' out/summary.json)" "[2,[1,1]]"
	cvalues -m other
	expect_status 2
	expect_stderr_has 'was made with model unset, now it is "other"'
}

@test "cvalues: wrong rows, patterns and verdicts are named by line" {
	rows
	serve "ok 回复1"
	echo '{"prompt":"p","label":"3"}' >>rows
	cvalues
	expect_status 2
	expect_stderr_has "rows:5: the label is neither 回复1 nor 回复2"
	echo '{"prompt":"p","label":"回复1"}' >rows
	cvalues
	expect_stderr_has "rows:1: no meta_info.domain_en"
	rows
	echo 'all first (' >mine
	cvalues --patterns mine
	expect_status 2
	expect_stderr_has "mine:1: missing closing parenthesis"
	printf 'id\tverdict\n1\tmaybe\n' >filled
	cvalues --review filled
	expect_status 2
	expect_stderr_has "filled:2: verdict 'maybe' is none of"
	: >rows
	cvalues
	expect_stderr_has "rows: no records in it"
}
