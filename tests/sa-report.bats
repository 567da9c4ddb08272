# sa-report.bats - the report: which sections there are, what is in them, and that nothing a record holds escapes into the page
load lib

# ---- a small run ----

stats() {
	mkdir -p job/stats
	echo '{"program":"sa-intent","in":40,"out":40,"taken":0,"made":0,"failed":1,"failed_by_class":{"unparsed":1},"requests":41,"retries":2,"tokens_in":1234567,"tokens_out":9,"seconds":1.5,"p50":0.2,"p99":0.4}' >job/stats/1-sa-intent.json
	echo '{"program":"sa-expand","in":40,"out":40,"taken":0,"made":7,"failed":0,"requests":9,"asked":9,"accepted":7,"rejected":{"length":1,"duplicate":2}}' >job/stats/2-sa-expand.json
	echo '{"program":"sa-pick","in":47,"out":0,"taken":47,"made":25,"failed":0,"requests":0,"picked":20,"general":5,"rejected":{"failed":1,"perplexity":26}}' >job/stats/10-sa-pick.json
}

judged() {
	mkdir -p job
	for i in $(seq 1 46); do
		jq -nc --argjson i "$i" '{prompt: "wish \($i)", intents: ["label \($i % 25)", "fraud"], category: ["OFF", "PS", "none"][$i % 3], ppl: (10 + $i), prompt_safety: ($i / 50),
			responses: [{text: "original \($i)", by: "original", safety: 0.2}, {text: "new \($i)", by: "teacher", safety: 0.9}]}'
	done >job/judged.ndjson
	echo '{"prompt":"lost","sa_error":{"stage":"sa-regen","class":"net","message":"gone"}}' >>job/judged.ndjson
	seq 1 25 | jq -c '{instruction: "a", output: "b"}' >job/sft.jsonl
}

train() {
	mkdir -p job/train
	seq 1 20 | jq -c '{step: ., loss: (3 - . / 10), lr: (0.001 / .), tokens: 100, seconds: 0.5}' >job/train/log.jsonl
}

# figure N SURE POSSIBLE - as sa-eval writes it (the interval is not computed here)
figure() {
	jq -nc --argjson n "$1" --argjson a "$2" --argjson b "$3" '{n: $n, score: (if $a == $b then 100 * $a / $n else null end), range: [100 * $a / $n, 100 * $b / $n], low: 1, high: 99}'
}

# evaluation NAME SURE POSSIBLE REFUSED
evaluation() {
	mkdir -p "job/eval/$1"
	jq -nc --argjson f "$(figure 20 "$2" "$3")" --argjson r "$(figure 10 "$4" "$4")" '{benchmark: "newsafety", protocol: "newsafety-14-judge", model: "student", judge: "teacher",
		prompt_hash: "0123456789abcdef", categories: [({category: "OFF", name: "insult and offensiveness"} + $f)], micro: ($f + {uncertain: 1, refused_by_pattern: $f}), over_refusal: $r}' \
		>"job/eval/$1/summary.json"
}

whole_run() { stats; judged; train; evaluation newsafety-before 5 5 1; evaluation newsafety-after 18 18 2; }

report() { run_filter sa-report job; }

sections() { grep -o '<section id="[a-z]*"' output | cut -d '"' -f 2 | xargs; }

# The page without pictures and tags, one line.
words() { sed 's/<svg.*//; s/<[^>]*>/ /g' output | tr -s ' \n' ' '; }

expect_words() {
	local text

	for text in "$@"; do
		case $(words) in *"$text"*) ;; *) { echo "not in the page: $text"; words; } | fail; return 1 ;; esac
	done
}

# well_formed - every element is closed where it should be
well_formed() {
	tr '\n' ' ' <output | grep -o '<[a-zA-Z/][^>]*>' | awk '
		{ name = $0; sub(/^<\/?/, "", name); sub(/[ \t\/>].*/, "", name) }
		name ~ /^(meta|br|hr|img|link|input)$/ || /\/>$/ { next }
		/^<\// { if (stack[n] != name) { print "line " NR ": </" name "> closes <" stack[n] ">"; bad = 1; exit } n--; next }
		{ stack[++n] = name }
		END { if (!bad && n) print "<" stack[n] "> is never closed"; exit bad || n > 0 }'
}

# ---- what is in it ----

@test "sa-report: a whole run has all its sections, in order, and is well-formed" {
	whole_run
	report
	expect_status 0
	assert_equal "$stderr" ""
	assert_equal "$(sections)" "summary evaluation stages records training samples"
	run well_formed
	assert_success
	refute grep -q "Not in this report" output
}

@test "sa-report: parts that are missing are left out and named" {
	train
	report
	expect_status 0
	assert_equal "$(sections)" "summary training"
	expect_words "Not in this report: stages (no stats/*.json ); prompts, responses and samples (no judged.ndjson )" "evaluation (no eval/*/summary.json )"
	stats
	report
	assert_equal "$(sections)" "summary stages training"
	rm -r job/train
	judged
	report
	assert_equal "$(sections)" "summary stages records samples"
	run well_formed
	assert_success
}

@test "sa-report: the summary is made of the files' numbers" {
	whole_run
	report
	expect_words "40 prompts went in; diversity control wrote 7 more." "Selection kept 20 samples of 47 records and mixed in 5 general samples." \
		"Fine-tuning took 20 steps over 2,000 tokens; the loss went from 2.85 to 1.05" \
		"the share of safe answers went from 25.0% (95% interval 1.0–99.0) to 90.0%" "Refusals of harmless prompts went from 10.0% (95% interval 1.0–99.0) to 20.0%"
}

@test "sa-report: stages stand in version order with what was accepted and why the rest was not" {
	whole_run
	report
	assert_equal "$(grep -o '<th scope="row">sa-[a-z]*' output | head -n 3 | sed 's/.*>//' | xargs)" "sa-intent sa-expand sa-pick"
	expect_words "sa-intent 40 40 0 0 1 failed: 1 unparsed" "9 asked for, 7 accepted; rejected: 2 duplicate, 1 length" "20 picked, 5 general mixed in; rejected: 26 perplexity, 1 failed" "1,234,567"
}

@test "sa-report: records are counted, failed ones apart, ten are shown" {
	judged
	report
	expect_words "47 records reached the selection; 1 of them had failed" "the 20 most frequent of 26" "Perplexity of 46 prompts: median 34" "46 original ones (mean 0.20) and 46 regenerated ones (mean 0.90)" \
		"10 records drawn at random from the 46"
	assert_equal "$(grep -c '<article>' output)" 10
	refute grep -q '>lost<' output
	cp output first
	report
	cmp first output
}

@test "sa-report: before and after stand beside each other with the change and over-refusal" {
	evaluation newsafety-before 5 5 1
	evaluation newsafety-after 18 18 2
	report
	expect_words "newsafety, before and after" "OFF insult and offensiveness 20 25.0 1.0–99.0 90.0 1.0–99.0 +65.0" "Over-refusal: harmless prompts refused, by pattern 10 10.0 1.0–99.0 20.0 1.0–99.0 +10.0"
}

@test "sa-report: of several benchmarks each key figure says which it is of" {
	for side in before after; do
		evaluation newsafety-$side 5 5 1
		evaluation mmlu-$side 5 5 1
		jq -c '.benchmark = "mmlu" | del(.over_refusal) | .micro.missing = 2 | .micro.uncertain = 0 | .cut = 3' job/eval/mmlu-$side/summary.json >s
		mv s job/eval/mmlu-$side/summary.json
	done
	report
	expect_words "Right answers, mmlu" "Safe answers, newsafety" "Over-refusal, newsafety" "2 of the questions have no answer and count as wrong" \
		"3 of the replies were cut at the token limit"
}

@test "sa-report: figures beside the categories have rows of their own, and groups without a name" {
	for side in before after; do
		evaluation cvalues-$side 5 5 1
		jq -c --argjson one "$(figure 10 4 4)" --argjson none "$(figure 10 9 9 | jq '.n = 0')" '.rows = [({name: "ziya: acc"} + $one), ({name: "moss: acc*"} + $none)] |
			.categories = [.categories[0] | .category = "Social Sciences" | .name = ""] | del(.over_refusal, .micro.refused_by_pattern)' \
			job/eval/cvalues-$side/summary.json >new
		mv new job/eval/cvalues-$side/summary.json
	done
	report
	expect_status 0
	expect_words "Social Sciences 20 25.0 1.0–99.0 25.0 1.0–99.0 +0.0" "ziya: acc 10 40.0 1.0–99.0 40.0 1.0–99.0 +0.0" "moss: acc* 0 – – – – –"
}

@test "sa-report: a score that waits for a person is a range" {
	evaluation newsafety-before 5 5 1
	evaluation newsafety-after 16 18 2
	report
	expect_words "80.0–90.0" "+55.0…+65.0" "After: 1 answers are not settled"
}

@test "sa-report: evaluations without a partner, and several pairs" {
	evaluation before 5 5 1
	evaluation after 18 18 2
	evaluation other-before 1 1 1
	evaluation lone 7 7 0
	report
	expect_status 0
	assert_equal "$(grep -o '<h3>[^<]*' output | cut -c 5- | sort | tr '\n' ';')" "lone;newsafety, before and after;other, before;"
	run well_formed
	assert_success
}

# ---- what must not be in it ----

@test "sa-report: what a record holds is text, whatever it looks like" {
	mkdir job
	jq -nc '"</script><img src=x onerror=alert(1)>&<b>\"\u0027" as $evil | {prompt: $evil, intents: [$evil, "</text></svg><script>x</script>", "@0@", "a\\n\"; set output \"pwned"], category: $evil,
		ppl: 5, prompt_safety: 0.1, responses: [{text: $evil, by: $evil, safety: 0.5}, {text: "\u001b[31m", by: "original"}]}' >job/judged.ndjson
	report
	expect_status 0
	refute grep -qi -e '<img' -e '<script' -e '<b>' output
	grep -q '&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;&amp;&lt;b&gt;' output
	grep -q '@0@' output
	refute grep -q "$(printf '\033')" output
	[ ! -e pwned ]
	run well_formed
	assert_success
}

@test "sa-report: nothing is loaded from elsewhere and no script runs" {
	whole_run
	report
	refute grep -qiE '<(script|link|iframe|object|embed|base)[ >]|@import|url\((["'"'"'])?[^#)]|javascript:| on[a-z]+=' output
	# Namespace names are no addresses; nothing else may look like one.
	assert_equal "$(grep -oE '(https?:)?//[a-z0-9.]+[^"< ]*' output | sort -u | xargs)" "http://www.w3.org/1999/xlink http://www.w3.org/2000/svg"
	assert_equal "$(grep -oE '(href|src)="[^"#][^"]*"' output | sort -u)" ""
}

@test "sa-report: identifiers are unique and every picture has a name and a caption" {
	whole_run
	report
	assert_equal "$(grep -oE " id=[\"'][^\"']*" output | sort | uniq -d)" ""
	assert_equal "$(grep -c '<figure>' output)" "$(grep -c '<figcaption>' output)"
	assert_equal "$(grep -o '<svg [^>]*' output | grep -vc 'role="img" aria-label="[^"]')" 0
	grep -q '<html lang="en">' output
	grep -q '<title>Safety alignment report: job</title>' output
}

@test "sa-report: Chinese text is shown as it is, long text is folded" {
	mkdir job
	jq -nc '{prompt: "教我怎么骗人", intents: ["诈骗"], category: "CIA", responses: [{text: ("好" * 500), by: "original"}]}' >job/judged.ndjson
	report
	expect_status 0
	grep -q '教我怎么骗人' output
	grep -q '<text>.*诈骗' output
	assert_equal "$(grep -c '<details class="text original"' output)" 1
	assert_equal "$(grep -o '好' output | wc -l)" 500
}

# ---- bad input ----

@test "sa-report: broken files are named with their line, and no half page is written" {
	judged
	sed -i '3s/.*/{"prompt":/' job/judged.ndjson
	report
	expect_status 2
	expect_stderr_has "sa-report: job/judged.ndjson:3: "
	expect_output
	judged
	train
	echo '{"loss":1}' >>job/train/log.jsonl
	report
	expect_status 2
	expect_stderr_has "job/train/log.jsonl:21: no training step"
	train
	evaluation after 1 1 1
	printf '{\n"a":1,\n}' >job/eval/after/summary.json
	report
	expect_status 2
	expect_stderr_has "job/eval/after/summary.json:3: "
	evaluation after 1 1 1
	stats
	echo '[]' >job/stats/1-sa-intent.json
	report
	expect_status 2
	expect_stderr_has "job/stats/1-sa-intent.json:1: not an object"
}

@test "sa-report: a directory that cannot be read is no missing one" {
	train
	for part in stats eval; do
		ln -s "$part" "job/$part"	# to itself; root reads whatever its mode is
		report
		expect_status 2
		expect_stderr_has "job/$part: "
		expect_output
		rm "job/$part"
	done
}

@test "sa-report: no run, no directory, no operand" {
	mkdir job
	report
	expect_status 2
	expect_stderr_has "job: no run in it: none of stats/*.json, judged.ndjson"
	run_filter sa-report nowhere
	expect_status 2
	expect_stderr_has "nowhere: no such directory"
	run_filter sa-report
	expect_status 2
	run_filter sa-report --help
	expect_status 0
}

@test "sa-report: a missing gnuplot is said" {
	train
	status=0
	PATH=/nowhere "$BUILD/sa-report" job >output 2>stderr || status=$?
	stderr=$(cat stderr)
	expect_status 2
	expect_stderr_has "gnuplot is not installed" "gnuplot-nox"
	expect_output
}

@test "sa-report: works in an empty environment, one step, one record, equal values" {
	mkdir -p job/train
	echo '{"step":1,"loss":2.5,"lr":0}' >job/train/log.jsonl
	echo '{"prompt":"p","ppl":1,"prompt_safety":1,"intents":["x"],"responses":[{"text":"t","by":"m","safety":1}]}' >job/judged.ndjson
	status=0
	env -i PATH=/usr/bin:/bin "$BUILD/sa-report" job >output 2>stderr || status=$?
	stderr=$(cat stderr)
	expect_status 0
	assert_equal "$stderr" ""
	assert_equal "$(sections)" "summary records training samples"
}

@test "sa-report: a full disk is reported" {
	train
	status=0
	sa-report job >/dev/full 2>stderr || status=$?
	stderr=$(cat stderr)
	expect_status 4
	expect_stderr_has "write error"
}

# ---- a cache of replies ----

# The unit test's program makes the caches.
@test "sa-report --cache: the entries, their bytes and their age; dropping the old ones" {
	"$BUILD/unit/cache" --fill cache 200
	run_filter sa-report --cache cache
	expect_status 0
	assert_equal "$(cut -d ' ' -f 1 output | xargs)" "entries bytes file oldest newest"
	assert_equal "$(awk '$1 == "entries" { print $2 }' output)" 200
	assert_equal "$(awk '$1 == "file" { print $2 }' output)" "$(stat -c %s cache/data.mdb)"
	grep -qE '^oldest   20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z$' output
	run_filter sa-report --cache cache --drop-older 1
	expect_status 0
	assert_equal "$(grep -v ^freed output | head -n 2 | tr -s ' ')" "$(printf 'dropped 0\nentries 200')"	# freed: what the commits left behind
	drop_all() { run_filter sa-report --cache cache --drop-older 0; [ "$(awk '$1 == "entries" { print $2 }' output)" = 0 ]; }
	wait_until 20 drop_all	# what was stored in this second stays
	expect_status 0
	assert_equal "$(cut -d ' ' -f 1 output | xargs)" "dropped freed entries bytes file"
	[ "$(stat -c %s cache/data.mdb)" -lt 100000 ]
}

@test "sa-report --cache: none there, a file, a damaged one, usage" {
	run_filter sa-report --cache nowhere
	expect_status 2
	expect_stderr_has "cache nowhere: No such file or directory"
	mkdir -m 700 empty
	run_filter sa-report --cache empty
	expect_status 2
	expect_stderr_has "empty: no cache in it"
	assert_equal "$(ls empty)" ""
	run_filter sa-report --cache input
	expect_status 2
	expect_stderr_has "input: no cache in it"
	mkdir -m 700 bad
	(umask 077; head -c 20000 /dev/urandom >bad/data.mdb)
	run_filter sa-report --cache bad
	expect_status 4
	expect_stderr_has "cache bad is damaged: " "remove bad/data.mdb"
	expect_output
	run_filter sa-report --cache bad job
	expect_status 2
	run_filter sa-report --drop-older 3
	expect_status 2
	run_filter sa-report --cache bad --drop-older -1
	expect_status 2
}

@test "sa-report --cache: a file that is cut off, and a directory that others can write" {
	"$BUILD/unit/cache" --fill cache 200
	truncate -s 40000 cache/data.mdb
	run_filter sa-report --cache cache
	expect_status 4
	expect_stderr_has "cache cache is damaged: " "remove cache/data.mdb"
	expect_output
	chmod 777 cache
	run_filter sa-report --cache cache
	expect_status 4
	expect_stderr_has "others can write cache"
}

@test "report: lines of an evaluation among the steps are no steps" {
	train
	echo '{"step":20,"eval_loss":1.5,"eval_supervised":10,"seconds":0.1}' >>job/train/log.jsonl
	report
	expect_status 0
	expect_words "20 steps"
}

# ---- sa-report loss ----

runs() {
	for run in a b; do
		mkdir -p $run
		seq 1 700 | jq -c --arg run $run '{step: ., loss: (3 - . / 1000 - ($run | length)), lr: 1e-4, grad_norm: 1, tokens: 100, seconds: 0.5}' >$run/log.jsonl
		seq 100 100 700 | jq -c '{step: ., eval_loss: (2 + (. - 300 | fabs) / 1000), eval_supervised: 10, seconds: 0.1}' >>$run/log.jsonl
	done
	echo '{"step":701,"loss":9,"lr":1e-4,"grad_norm":1,"tokens":100,"seconds":0.5,"spike":true}' >>b/log.jsonl
}

@test "loss: the curves of several runs lie over one another, and a table says what came of each" {
	runs
	train
	run_filter sa-report loss a b/log.jsonl job
	expect_status 0
	well_formed
	assert_equal "$(sections)" "runs curves"
	expect_words "3 runs, the first a" "a 700 70,000 200 " " 2.0000 300 0 " "b/log.jsonl 701 70,100 200 " " 2.0000 300 1 " "job 20 2,000 200 2.8500 1.0500 – – 0 " \
		"drawn are means of neighbouring steps"
	assert_equal "$(grep -c '<figure>' output)" 4
	# In each picture, for a wide and a narrow page, the key names the runs that have such a curve.
	assert_equal "$(grep -o '>b/log.jsonl<' output | wc -l)" 9
	assert_equal "$(grep -o '>job<' output | wc -l)" 5
}

@test "loss: one run without evaluations has no picture of them; what is no log is named" {
	train
	run_filter sa-report loss job/train
	expect_status 0
	expect_words "Run job/train"
	assert_equal "$(grep -c '<figure>' output)" 2
	mkdir none
	run_filter sa-report loss job/train none
	expect_status 2
	expect_output
	expect_stderr_has "none: no log of a training"
	echo '{"loss":1}' >bad.jsonl
	run_filter sa-report loss bad.jsonl
	expect_status 2
	expect_stderr_has "bad.jsonl:1: no training step"
	run_filter sa-report loss nowhere
	expect_status 2
	expect_stderr_has "nowhere: no log of a training"
}

@test "loss: of a training by preferences the margin and accuracy of the rewards are drawn, and its loss is not called nats a token" {
	mkdir dpo
	for step in 1 2 3; do
		echo "{\"step\":$step,\"loss\":0.$((7 - step)),\"lr\":1e-5,\"rewards/accuracies\":0.$step,\"rewards/margins\":$step}"
	done >dpo/log.jsonl
	run_filter sa-report loss dpo
	expect_status 0
	well_formed
	expect_words "Loss of the training " "Accuracy of the rewards (part of a step that is ranked right)" "Margin of the rewards, chosen less rejected"
	! grep -q 'nats per' output
	assert_equal "$(grep -c '<figure>' output)" 4
}

@test "loss: a run's name is text, whatever it is" {
	mkdir '<b>@0@&'
	echo '{"step":1,"loss":2.5}' >'<b>@0@&/log.jsonl'
	run_filter sa-report loss '<b>@0@&'
	expect_status 0
	well_formed
	expect_words "&lt;b&gt;@0@&amp; 1 0"
	! grep -q '<b>' output
}

@test "sa-report: a comparison of the two runs is told in a sentence" {
	evaluation newsafety-before 5 5 1
	evaluation newsafety-after 18 18 2
	report
	expect_status 0
	refute grep -q McNemar output
	echo '{"micro":{"n":20,"better":14,"worse":1,"change":65,"low":38.5,"high":80.1,"p":0.0009765625}}' >job/eval/newsafety-after/comparison.json
	report
	expect_status 0
	expect_words "Of 20 samples that both runs settled, 14 became right and 1 became wrong: +65.0 points (95% interval +38.5 to +80.1), McNemar's exact test p = 0.00098."
	echo '[]' >job/eval/newsafety-after/comparison.json
	report
	expect_status 2
	expect_stderr_has "comparison.json"
}
