# budget.bats - limits of rate, shared by processes (contract 20), and of spending (contract 21)
load lib

@test "contract 20: eight processes side by side stay within one --rpm" {
	start_fault echo
	records 1000 >input
	split -n r/8 input part.
	# 1,200 a minute are 20 a second, for all of them together
	start=$(date +%s%N)
	for part in part.*; do
		timeout 7 sa-ppl -e "$E" -m fault -j 4 --rpm 1200 <$part >$part.out 2>$part.err 3>&- &
	done
	wait || true
	most=$((($(date +%s%N) - start) / 50000000 + 24))	# what 1.2 seconds bring may go at once
	assert [ "$(requests)" -le $most ]
	assert [ "$(requests)" -ge 60 ]
}

@test "contract 20: a process that was killed leaves no hole" {
	start_fault 'delay 20 echo'
	records 2000 >input
	sa-ppl -e "$E" -m fault -j 8 --rpm 6000 <input >out 2>err 3>&- &
	wait_until 20 got_requests 20
	kill -9 $!
	records 100 >input
	run_filter sa-ppl -e "$E" -m fault --rpm 6000 --stats stats
	expect_status 0
	jq -e '.seconds < 20' stats
}

@test "contract 20: another key is another budget" {
	start_fault echo
	records 30 >input
	# 6 a minute: one at once, and then one every ten seconds
	OPENAI_API_KEY=sk-one-of-them timeout 1 sa-ppl -e "$E" -m fault --rpm 6 <input >out 2>err 3>&- || true
	assert [ "$(requests)" -le 2 ]
	head -n 1 input >first
	for key in sk-the-other ""; do
		before=$(requests)
		OPENAI_API_KEY=$key timeout 20 sa-ppl -e "$E" -m fault --rpm 6 --stats stats <first >out 2>err 3>&-
		assert [ "$(requests)" -eq $((before + 1)) ]
		jq -e '.seconds < 5' stats
	done
}

@test "contract 20: --tpm counts what was really used" {
	start_fault echo
	records 20 >input
	run_filter sa-ppl -e "$E" -m fault --tpm 1000000
	expect_status 0
}

@test "contract 21: --max-tokens-total is never passed, whatever is in flight" {
	start_fault 'delay 5 usage {"prompt_tokens":20,"completion_tokens":10} ok Answer: no.'
	records 500 >input
	run_filter sa-regen -e "$E" -m fault -j 16 --max-tokens 50 --max-tokens-total 10000 --stats stats
	expect_status 5
	assert_equal "$(jq -r .prompt output)" "$(jq -r .prompt input)"
	jq -e '.tokens_in + .tokens_out <= 10000 and .failed_by_class.budget == .failed and .failed > 0' stats
	# what is left over is less than the most that one request can use
	jq -e '.tokens_in + .tokens_out >= 10000 - 5000' stats
	expect_stderr_has "spending limit" "--max-tokens-total"
	# the rest by another run
	mv output input
	run_filter sa-regen -e "$E" -m fault
	expect_status 0
}

@test "contract 21: --max-usd needs a price; what it cost is in --stats" {
	start_fault 'usage {"prompt_tokens":1000,"completion_tokens":500} ok Answer: no.'
	records 10 >input
	run_filter sa-regen -e "$E" --max-usd 1
	expect_status 2
	expect_stderr_has "--price"
	run_filter sa-regen -e "$E" --price nonsense
	expect_status 2
	run_filter sa-regen -e "$E" --price 2:4 --stats stats
	expect_status 0
	jq -e '.usd == 0.04 and .tokens_in == 10000' stats
	# the fifth request might cost more than the half cent that is left
	run_filter sa-regen -e "$E" -j 1 --price 2:4 --max-tokens 500 --max-usd 0.0205 --stats stats
	expect_status 5
	jq -e '.usd <= 0.0205 and .usd >= 0.0120' stats
	assert_equal "$(jq -r '.sa_error.class' output | sort | uniq -c | tail -n 1 | xargs | cut -d' ' -f2)" null
}

@test "contract 21: a reply without usage counts as the most that it can have cost" {
	start_fault 'usage none ok Answer: no.'
	records 50 >input
	run_filter sa-regen -e "$E" -m fault -j 1 --max-tokens 50 --max-tokens-total 6000 --stats stats
	expect_status 5
	jq -e '.requests < 25 and .requests > 3' stats
}
