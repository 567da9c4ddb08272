# cuda-serve.bats - sa-serve --device cuda, on the simulated GPU of tests/cudasim: that it answers as the CPU does, to filters too, and how it fails

load lib
load serve

setup() {
	sa_setup
	name=$(basename "$CK") pid=
	how=plain
	if nm "$BUILD/sa-serve" | grep -q __asan_init; then how=asan; fi
	if nm "$BUILD/sa-serve" | grep -q __tsan_init; then how=tsan; fi
	export SA_CUDA=$BUILD/cudasim/$how/sa-cuda.so SA_TUNE=off
	gpu=(--device cuda --turn-tokens 32 --max-active 8)	# few rows a product: it is all of 32 that are computed
}

hello='{messages: [{role: "user", content: "Tell me about the river."}], temperature: 0, max_tokens: 8}'
scored='{prompt: ["The river is", "Please tell me how to"], temperature: 0, max_tokens: 6, echo: true, logprobs: 2}'

ends() {
	status=0
	wait "$pid" || status=$?
	pid=
}

# told STATUS TEXT ARG... - sa-serve ends at once with that status and TEXT on standard error
told() {
	local want=$1 text=$2

	shift 2
	run_filter sa-serve "$CK" --port 0 "$@"
	expect_status "$want"
	expect_stderr_has "$text"
}

@test "cuda-serve: the same greedy text as on the CPU, and log-probabilities within bf16's of it" {
	start
	chat "$hello"
	text=$(jq -c '.choices' <<<"$body")
	complete "$scored"
	echo "$body" >cpu.json
	kill "$pid"
	ends
	start "${gpu[@]}"
	grep -q "(cudasim, .* MiB for key-value caches, contexts of 2048 tokens)" log
	chat "$hello"
	assert_equal "$(jq -c '.choices' <<<"$body")" "$text"
	complete "$scored"
	echo "$body" >gpu.json
	for i in cpu gpu; do jq -c '[.choices[] | .text, .finish_reason, .logprobs.tokens, .logprobs.text_offset]' $i.json >$i; done
	cmp cpu gpu
	jq -es '[.[] | [.choices[].logprobs.token_logprobs[] | select(.)]] | [transpose[] | .[0] - .[1] | fabs] | length > 15 and max < 0.1' cpu.json gpu.json >/dev/null
	kill "$pid"
	ends
	assert_equal "$status" 0
}

# crowd - three other requests begin, whose replies nobody reads
crowd() {
	for i in 1 2 3; do
		exec {fd[i]}<>"/dev/tcp/127.0.0.1/$port"
		post_to "${fd[i]}" /v1/completions "$(request "{prompt: \"Number $i and\", temperature: 1, seed: $i, max_tokens: 30, ignore_eos: true, logprobs: 0}")"
	done
}

counted() { http GET /metrics; sed -n "s/^sa_serve_$1 //p" <<<"$body"; }

@test "cuda-serve: a reply's bits are the same alone and among others, streamed, and while pages are short" {
	long='{prompt: ("The river is wide and the boat is slow. " * 6), temperature: 1, seed: 5, max_tokens: 6, ignore_eos: true, logprobs: 1}'
	start "${gpu[@]}"
	complete "$long"
	alone=$(jq -c '.choices' <<<"$body")
	crowd
	complete "$long"
	assert_equal "$(jq -c '.choices' <<<"$body")" "$alone"
	complete "$long + {stream: true}"
	events >events
	assert_equal "$(jq -sc '[.[].choices[].text] | join("")' events)" "$(jq -c '.[0].text' <<<"$alone")"
	[ "$(counted prompt_tokens_cached_total)" -gt 0 ]
	kill "$pid"
	ends
	start "${gpu[@]}" --kv-bytes $((5 * 65536))	# pages for less than all four
	crowd
	complete "$long"
	assert_equal "$(jq -c '.choices' <<<"$body")" "$alone"
	[ "$(counted preemptions_total)" -gt 0 ]
}

@test "cuda-serve: algorithms are timed once, and later servers answer by them" {
	export SA_TUNE=$PWD/products
	for i in 1 2; do
		start "${gpu[@]}"
		complete "$scored"
		jq -c .choices <<<"$body" >timed$i
		kill "$pid"
		ends
		grep -c "timing the algorithms of 5 matrix products on cudasim, once" log >said$i || true
	done
	cmp timed1 timed2
	assert_equal "$(cat said1 said2)" $'1\n0'
	assert_equal "$(wc -l <products)" 5
	SA_TUNE=off start "${gpu[@]}"
	complete "$scored"
	jq -c .choices <<<"$body" >off
	if cmp timed1 off; then false; fi
	kill "$pid"
	ends
	SA_TUNE=$PWD/short CUDASIM_SLOW=1000000 start "${gpu[@]}"	# no time for more than the one that is proposed first
	complete "$scored"
	cmp off <(jq -c .choices <<<"$body")
	grep -q "of 5 matrix products not all algorithms were timed: 2 s for one and 60 s for all are the limit" log
	assert_equal "$(wc -l <short)" 5
	kill "$pid"
	ends
}

@test "cuda-serve: a filter's server computes on SA_DEVICE, and replies of another device are not its own" {
	given '{"prompt":"The river is"}' '{"prompt":"A boat"}'
	run_filter sa-ppl -e "local:$CK" --cache replies
	cp output cpu
	SA_DEVICE=cuda run_filter sa-ppl -e "local:$CK" --cache replies
	expect_status 0
	assert_equal "$(grep -l 'ready on .*(cudasim' "$XDG_RUNTIME_DIR"/sa/*.log | wc -l)" 1
	jq -es '(length == 4) and ([.[].ppl] | .[0] != .[2] and .[1] != .[3] and (.[0] / .[2] - 1 | fabs) < 0.05)' cpu output >/dev/null
	SA_DEVICE=gpu run_filter sa-ppl -e "local:$CK"
	expect_status 2
	expect_stderr_has "--device gpu: cpu, cuda, cuda:N"
}

@test "cuda-serve: sa-eval has the answers of the CPU" {
	mkdir -p data/dev data/test
	echo '{"sums": {"name": "small sums", "category": "STEM"}}' >data/mapping.json
	echo 'What is it?,one,two,none,four,C' >data/dev/sums_dev.csv
	printf '1 + 1?,2,1,0,none,A\n1 + 2?,2,3,0,none,B\n' >data/test/sums_test.csv
	for d in cpu cuda; do
		start "${gpu[@]}" --device $d
		run_filter sa-eval mmlu -e "http://127.0.0.1:$port/v1" -m "$name" --shots 0 --data data --out $d
		expect_status 0
		kill "$pid"
		ends
	done
	cmp <(jq -c '[.id, .response]' cpu/results.jsonl) <(jq -c '[.id, .response]' cuda/results.jsonl)
	# a letter's is the sum over the prompt's tokens
	jq -es '[group_by(.id)[] | map(.logprobs | map(.)) | transpose[] | (.[0] / .[1] - 1 | fabs)] | length == 8 and max < 2e-3' {cpu,cuda}/results.jsonl >/dev/null
}

@test "cuda-serve: what is not there, does not fit or is the CPU's is told" {
	cp "$BUILD/sa-serve" .	# beside no library
	SA_CUDA= BUILD=. told 2 'sa-cuda.so is not there: it is built by `make cuda`' "${gpu[@]}"
	told 2 "--device cuda: CUDA device 5: " --device cuda:5
	told 2 "--device tpu: cpu, cuda, cuda:N" --device tpu
	told 2 "--weights int8 is the CPU's" "${gpu[@]}" --weights int8
	told 2 "--weights f32 is the CPU's" "${gpu[@]}" --weights f32
	told 2 "--kv-bytes: a page of 32 tokens takes 65536 bytes" "${gpu[@]}" --kv-bytes 1000
	told 2 "are left on the GPU beside 0.01 GiB of weights" "${gpu[@]}" --device cuda:0:0.7GiB --kv-bytes 1000000000
	told 2 "to be had: lower --turn-tokens" --device cuda:0.66GiB --turn-tokens 8192
	CUDASIM_MEMORY=270000000 told 2 "to be had: too little for this model" "${gpu[@]}"
}

@test "cuda-serve: a GPU that fails takes its requests with it, and the server ends" {
	CUDASIM_LOST=1000 start "${gpu[@]}" --max-active 1
	exec {fd}<>"/dev/tcp/127.0.0.1/$port"
	post_to $fd /v1/completions "$(request '{prompt: "The river is", max_tokens: 500, ignore_eos: true}')"
	http POST /v1/completions "$(request '{prompt: "A boat", max_tokens: 500, ignore_eos: true}')"
	assert_equal "$code" 500
	is '.error.code == "model_error" and (.error.message | startswith("cudasim: ") and endswith("unspecified launch failure"))'
	grep -q "^HTTP/1.* 500 " <&$fd
	ends
	assert_equal "$status" 4
	assert_equal "$(sed -n '$s/^sa-serve: //p' log)" "cudasim: waiting for a transfer: unspecified launch failure"
}

@test "cuda-serve: in whatever order threads, blocks and streams run, the same logits come back" {
	same_bytes cudaserve "logits are"
}
