# bench.bats - what `make bench` is made of: the server, the clock and the table; no figure is judged
load lib

# serve - $U is the address of a fast server
serve() {
	bench-server >url 3>&- &
	disown
	wait_until 20 test -s url
	U=$(cat url)
}

@test "the server answers sa-judge and sa-regen, and counts" {
	serve
	given '{"prompt":"a"}' '{"prompt":"b"}' '{"prompt":"c"}'
	run_filter sa-regen -m x -j 2 -e "$U/answer/0/v1"
	expect_status 0
	assert_equal "$(jq -r '.responses[0].text' output | sort -u | head -c 30)" "The answer is given in some mo"
	cp output input
	run_filter sa-judge -m x -w both -e "$U/one/0/v1"
	expect_status 0
	assert_equal "$(jq -c '[.responses[0].safety, .prompt_safety]' output | sort -u)" "[0.9,0.9]"
	assert_equal "$(bench-server "$U/reset" | jq '.requests, .connections > 1, .first_reply > 0' | xargs)" "9 true true"
	assert_equal "$(bench-server "$U/stats" | jq -c '[.requests, .first_reply]')" "[0,0]"
}

@test "the server reads a request that comes in pieces" {
	serve
	jq -nc '{prompt: ("long " * 500000)}' >input
	run_filter sa-judge -w prompt -m x -e "$U/one/0/v1"
	expect_status 0
	assert_equal "$(bench-server "$U/last" | jq -r '.messages[1].content | length')" 2500012
}

@test "the server waits as long as it is told, for all requests at once" {
	serve
	jq -nc 'range(100) | {prompt: "p\(.)"}' >input
	bench-timed -p took sa-judge -w prompt -m x -j 100 -e "$U/one/300/v1" <input
	assert_equal "$(jq '.wall >= 0.3 and .wall < 15, .lines, .status' took | xargs)" "true 100 0"
	first=$(bench-server "$U/stats" | jq .first_reply)
	assert_equal "$(jq --argjson first "$first" '.first >= $first and $first >= .start + 3e8' took)" true
}

@test "bench-timed says what a command took" {
	run bench-timed -p took sh -c 'echo a; echo b; i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; exit 3'
	assert_failure 3
	run bench-timed took sh -c 'kill -9 $$'
	assert_failure 137
	assert_equal "$(jq -c '[.status, .lines, .wall > 0, .rss > 0]' took | xargs)" "[3,2,true,true] [137,0,true,true]"
	assert_equal "$(head -n 1 took | jq '.cpu > 0 and .cpu <= .wall * 1.5 and .first > .start')" true
}

@test "a quick run makes a table" {
	run env QUICK=1 TMPDIR="$PWD" sh "$ROOT/tests/bench/filters.sh" "$BUILD" "$PWD/table.md"
	assert_success
	assert_equal "$(grep -c '^| 64 | at once | sa-\(judge\|regen\) |.*| 200 | 0 | [0-9.]* |$' table.md)" 2
	assert_equal "$(grep -c '^| \(sa-judge\|sa-regen\|jq -c \.\|cat \\| cat\) | [0-9]' table.md)" 4
	command -v wrk >/dev/null || assert_output --partial "wrk: not installed, left out"
	assert_equal "$(echo sa-bench.*)" 'sa-bench.*'	# nothing is left
}

# row TEXT - the cells of the table's row that begins with it, after the first two
row() { grep -F "| $1" table.md | sed 's/\\|/or/g' | cut -d'|' -f4-6 | tr '|' ' ' | xargs; }

@test "the table: medians of the repeats, and whether a target is met" {
	requests() { jq -nc --arg client "$1" "{kind: \"requests\", ms: 0, c: 64, n: 9, load: 1, errors: 0, client: \$client} + $2"; }
	{
		for cpu in 7 100 8; do requests wrk "{cpu: $cpu, rate: 90000, rss: 4096}"; done
		for cpu in 16 24 20; do requests sa-judge "{cpu: $cpu, rate: 36000, rss: 12288, first: 2, begin: 3}"; done
		for cpu in 26 24 25; do requests sa-regen "{cpu: $cpu, rate: 20000, rss: 17000, first: 12, begin: 3}"; done
		requests aiohttp '{cpu: 72, rate: 10000, rss: 9}'
		requests openai '{cpu: 1600, rate: 900, rss: 9}'
		requests openai-aiohttp '{cpu: 1000, rate: 900, rss: 9}'
		requests sa-judge '{ms: 50, c: 256, cpu: 30, rate: 4915.2, rss: 20000, first: 2, begin: 3}'
		requests sa-regen '{ms: 50, c: 256, cpu: 30, rate: 4812.8, rss: 20000, first: 2, begin: 3}'
		for mb in 100 300 200; do echo '{"kind":"pass","client":"sa-judge","mb":'$mb',"rss":9}'; done
		echo '{"kind":"pass","client":"jq","mb":40,"rss":9}'
		echo '{"kind":"pass","client":"cat","mb":1000,"rss":9}'
	} >results
	echo orjson >missing
	set -- --rawfile versions /dev/null --rawfile missing missing
	for name in begun ended core repeats secs quick date kernel cpu cores memory system; do set -- "$@" --arg $name 1; done
	jq -rs "$@" -f "$ROOT/tests/bench/table.jq" results >table.md
	assert_equal "$(row "CPU a request, times wrk")" "2.5 3.13 no"
	assert_equal "$(row "CPU a request, part of aiohttp")" "0.28 0.35 no"
	assert_equal "$(row "AsyncOpenAI's best")" "50 40 yes"
	assert_equal "$(row "requests/s, times aiohttp")" "3.6 2 no"
	assert_equal "$(row "requests/s at 256")" "96% 94% no"
	assert_equal "$(row "finished records, MB/s, times jq")" "5 - not measured"
	assert_equal "$(row "finished records, MB/s, times orjson")" "- - not measured"
	assert_equal "$(row "finished records, MB/s, part of cat")" "20% - not measured"
	assert_equal "$(row "most memory")" "12 MiB 16.6 MiB no"
	assert_equal "$(row "latest first")" "2 ms 12 ms no"
	assert grep -qF "| sa-judge | 200 (100 .. 300) | 20% |" table.md
	grep -v '"cat"' results | jq -rs "$@" -f "$ROOT/tests/bench/table.jq" >without.md
	assert grep -qF "| sa-judge | 200 (100 .. 300) | - |" without.md
	assert grep -qF -- "- Left out, as not installed: orjson." table.md
	assert grep -qF "| 64 | at once | sa-judge | 36,000 (36,000 .. 36,000) | 20 (16 .. 24) | 12 | 5 (2) | 9 | 0 | 1 |" table.md
}

@test "bench-roof says what the machine can do at most" {
	run bench-roof 1
	assert_success
	assert_equal "$(echo "$output" | jq '.fp32 > 0, .read > 0, .read_huge > 0, (.bf16 == null or .bf16 > .fp32)' | xargs)" "true true true true"
	run bench-roof 0
	assert_failure 2
}

@test "bench-encode says how fast the tokenizer is, and what came out" {
	echo "How are you? 你好" >text
	run bench-encode "$ROOT/pipelines/nano/teacher" text ids
	assert_success
	assert_equal "$(echo "$output" | jq -c '[.bytes, .ids * 4, .seconds > 0]')" "[20,$(stat -c %s ids),true]"
	run bench-encode nowhere text ids
	assert_failure 2
}

# infer_table - table.md of the results on standard input
infer_table() {
	PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$ROOT/tests/bench python3 -c 'import infer, json, sys
t = infer.Table([json.loads(line) for line in sys.stdin])
print("\n".join([*t.targets(), *t.single(), *t.many()]))' >table.md
}

# met TEXT - the figure of the target that begins with it, and whether it is met
met() { grep -F -m 1 "| $1" table.md | cut -d'|' -f4-5 | tr '|' ' ' | xargs; }

@test "the table of sa-serve: medians of the repeats, and whether a target is met" {
	command -v python3 >/dev/null || skip "there is no python3, by which make bench-infer runs"
	{
		echo '{"engine":"roof","bf16":1000,"fp32":500,"read":40,"read_huge":50,"load":0}'
		for ppl in 300 320 900; do
			echo '{"model":"m1b","engine":"sa","work":"one","ppl":'$ppl',"decode":16.18,"start":2,"memory":90,"nll":12.1692,"load":1}'
		done
		echo '{"model":"m1b","engine":"hf-bf16","work":"one","ppl":200,"decode":15,"start":3,"memory":900,"nll":12.1690,"load":1}'
		echo '{"model":"m1b","engine":"llama.cpp","work":"one","ppl":190,"decode":14,"start":1,"memory":100,"nll":12.1689,"load":1}'
		echo '{"engine":"encode","bytes":9,"ids":3,"seconds":0.1}'
		echo '{"engine":"encode-peer","bytes":9,"ids":3,"seconds":3,"equal":true}'
		echo '{"model":"m1b","engine":"sa","work":"8","tokens":100,"memory":90,"load":1}'
		echo '{"model":"m1b","engine":"hf-bf16","work":"8","tokens":80,"memory":90,"load":1}'
		echo '{"model":"m1b","engine":"llama-server","work":"8","tokens":20,"memory":90,"load":1}'
	} | infer_table
	assert_equal "$(met "perplexity, tok/s")" "1.60x yes"
	assert_equal "$(met "perplexity, part")" "79% yes"
	assert_equal "$(met "decode of one stream, tok/s")" "1.08x no"
	assert_equal "$(met "decode of one stream, part")" "80% no"
	assert_equal "$(met "8 requests at once, tok/s, times llama")" "5.00x yes"
	assert_equal "$(met "8 requests at once, tok/s, times trans")" "1.25x no"
	assert_equal "$(met "32 requests at once, tok/s, times trans")" "- not measured"
	assert_equal "$(met "start to first token")" "2.00x no"
	assert_equal "$(met "peak resident")" "0.90x yes"
	assert_equal "$(met "tokenizer on one thread, times HF tokenizers', ids equal")" "30.0x yes"
	assert_equal "$(met "mean NLL")" "0.0003 yes"
	assert grep -qF "| m1b | sa-serve | 320 (300 .. 900) | 79% | 16.2 (16.2 .. 16.2) | 80% | 2.00 (2.00 .. 2.00) | 90.0 (90.0 .. 90.0) | 12.1692 | 1.00 |" table.md
	assert grep -qF "| m1b | 8 | sa-serve | 100 (100 .. 100) | 90.0 (90.0 .. 90.0) | 1 | 1.00 |" table.md
}

@test "the table of sa-train: the fastest of ours beside the best of torch's" {
	command -v python3 >/dev/null || skip "there is no python3, by which make bench-train runs"
	{
		echo '{"engine":"roof","bf16":1000,"fp32":500,"load":0}'
		for rate in 300 320 900; do echo '{"model":"m5m","engine":"sa-bf16","tokens":'$rate',"memory":70,"first":9,"last":8,"load":1}'; done
		echo '{"model":"m5m","engine":"sa-f32","tokens":200,"memory":60,"first":9,"last":8,"load":1}'
		echo '{"model":"m5m","engine":"torch-fp32","tokens":200,"memory":110,"first":9,"last":8,"load":1}'
		echo '{"model":"m5m","engine":"torch-bf16","tokens":100,"memory":100,"first":9,"last":8.1,"load":1}'
		echo '{"model":"m60m","engine":"sa-f32","tokens":10,"memory":60,"first":9,"last":8,"load":1}'
	} | PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$ROOT/tests/bench python3 -c 'import json, sys, train
t = train.Table([json.loads(line) for line in sys.stdin])
print("\n".join([*t.targets(), *t.rows()]))' >table.md
	assert_equal "$(met "m5m: tokens/s")" "1.60x yes"
	assert_equal "$(met "m5m: peak resident")" "0.70x yes"
	assert_equal "$(met "m60m: tokens/s")" "- not measured"
	assert grep -qF "| m5m | sa-train, bf16 | 320 (300 .. 900) | 1% | 70.0 (70.0 .. 70.0) | 9.0000 | 8.0000 | 1.00 |" table.md
}

@test "one measurement of sa-train: its speed, its memory and the losses of its steps" {
	command -v python3 >/dev/null || skip "there is no python3, by which make bench-train runs"
	mkdir -p m/m5m
	cp "$ROOT"/tests/goldens/train/tiny/*.json m/m5m
	jq '.hidden_size = 32 | .max_position_embeddings = 512' m/m5m/config.json >config.json
	jq -nc '[range(300)] | {text: (map("cat \(.)") | join(" "))}' >one
	sa-train --init config.json --model m/m5m --data one --max-steps 1 --lr 0 --out m/new 2>log
	mv m/new/* m/m5m
	PYTHONDONTWRITEBYTECODE=1 run python3 "$ROOT/tests/bench/train.py" measure sa-bf16 m5m m
	assert_success
	assert_equal "$(echo "$output" | jq -c '[.tokens > 0, .memory > 1, .last < .first]')" "[true,true,true]"
}
