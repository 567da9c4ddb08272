# Whole pipes on the bundled models: what comes out does not depend on how the filters are run
load lib

TEACHER=$ROOT/pipelines/nano/teacher
SAMPLES=$ROOT/pipelines/nano/samples

# The first N sample prompts become the input.
samples() { head -n "$1" "$SAMPLES/prompts.ndjson" >input; }

@test "pipes: parallel, xargs and make give the same bytes as one process" {
	samples 40
	sa-intent -e "local:$TEACHER" <input >one
	parallel --pipe -k -j2 -N 10 sa-intent -e "local:$TEACHER" <input >by-parallel
	cmp one by-parallel

	split -l 10 input part-
	ls part-?? | xargs -P2 -I{} sh -c "sa-intent -e 'local:$TEACHER' <{} >{}.out"
	cat part-*.out >by-xargs
	cmp one by-xargs

	printf '%%.intent: %%\n\tsa-intent -e local:%s <$< >$@.tmp && mv $@.tmp $@\n' "$TEACHER" >Makefile
	make -s -j2 part-aa.intent part-ab.intent part-ac.intent part-ad.intent
	cat part-??.intent >by-make
	cmp one by-make
}

@test "pipes: eight processes that share a cache give the bytes of one, and pay for nothing twice" {
	start_fault "delay 0-10 echo"
	{ seq -f '{"prompt":"word %.0f and so on"}' 200; seq -f '{"prompt":"word %.0f and so on"}' 200; } >input
	sa-ppl -e "$E" -m fault <input >one
	start_fault "mix 10% first 1 cut | delay 0-10 echo"
	parallel --pipe -k -j8 -N 25 sa-ppl -e "$E" -m fault --cache replies <input >by-parallel
	cmp one by-parallel
	# what two ask at the same moment both pay for, so a few more than the 200 and theirs that were cut
	assert [ "$(counts | jq .distinct)" = 200 ]
	: >log
	parallel --pipe -k -j8 -N 25 sa-ppl -e "$E" -m fault --cache replies --cache-only <input >again
	cmp one again
	expect_requests 0
	parallel --pipe -k -j8 -N 25 sa-ppl -e "$E" -m fault --cache replies <input >again
	cmp one again
	expect_requests 0
}

@test "pipes: the concurrency changes no byte, sampled text included" {
	samples 30
	for j in 1 7 64; do
		sa-intent -e "local:$TEACHER" <input | sa-expand -e "local:$TEACHER" --seed 5 --factor 1.5 -j $j | sa-regen -e "local:$TEACHER" -j $j |
			sa-ppl -e "local:$TEACHER" -j $j | sa-judge -e "local:$TEACHER" -j $j >out-$j
	done
	[ "$(wc -l <out-1)" -gt 30 ]
	cmp out-1 out-7
	cmp out-1 out-64
}

@test "pipes: every stage keeps every record, and the members it does not own" {
	samples 30
	printf '%s\n' '{"prompt":"Tell me a story.","mine" : 1.50,"mine":1e400}' >>input
	sa-intent -e "local:$TEACHER" <input | sa-regen -e "local:$TEACHER" | sa-ppl -e "local:$TEACHER" | sa-judge -e "local:$TEACHER" >output
	assert_equal "$(wc -l <output)" 31
	assert_equal "$(jq -s 'map(has("sa_error")) | map(select(.)) | length' output)" 0
	run tail -n 1 output
	assert_output --partial '"mine" : 1.50,"mine":1e400'
	jq -es 'all(.[]; (.ppl > 1) and (.prompt_safety >= 0) and (.responses | length > 0) and (.responses | all(.safety >= 0)) and (.intents | length > 0))' output
}

@test "pipes: done records pass byte for byte and start nothing" {
	samples 5
	sa-intent -e "local:$TEACHER" <input | sa-ppl -e "local:$TEACHER" >done.ndjson
	sa-intent -e "$dead_endpoint" <done.ndjson | sa-ppl -e "$dead_endpoint" >again
	cmp done.ndjson again
}

@test "pipes: failed records are counted out by sa-pick and tried again by their own stage" {
	samples 10
	sa-intent -e "local:$TEACHER" <input >labelled
	run sh -c "sa-ppl -e $dead_endpoint --retries 0 <labelled >failed 2>/dev/null"
	assert_failure 3
	assert_equal "$(jq -r .sa_error.class failed | sort | uniq -c | tr -d ' ')" 10net
	sa-regen -e "$dead_endpoint" <failed >passed
	cmp failed passed
	sa-pick --stats stats.json <failed >picked
	[ ! -s picked ]
	assert_equal "$(jq -c .rejected stats.json)" '{"failed":10}'
	sa-ppl -e "local:$TEACHER" <failed >mended
	sa-ppl -e "local:$TEACHER" <labelled >straight
	cmp mended straight
}
