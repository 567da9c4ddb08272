# import.sh and import/*.jq: files of every known shape become records
load lib

import() { sh "$ROOT/pipelines/import.sh" "$@"; }

@test "import: Safety-Prompts' two files keep type and response" {
	cat >in.json <<-'END'
	{"Insult": [{"prompt": "p1", "response": "r1", "type": "Insult"}, {"prompt": "p2", "response": "r2", "type": "Insult"}],
	 "Goal_Hijacking": [{"prompt": "p3", "response": "r3", "type": "Goal_Hijacking"}]}
	END
	import in.json >output
	expect_output '{"id":"safety-prompts-Insult-1","prompt":"p1","response":"r1","source":"safety-prompts","type":"Insult"}' \
		'{"id":"safety-prompts-Insult-2","prompt":"p2","response":"r2","source":"safety-prompts","type":"Insult"}' \
		'{"id":"safety-prompts-Goal_Hijacking-1","prompt":"p3","response":"r3","source":"safety-prompts","type":"Goal_Hijacking"}'
}

@test "import: CValues questions and choice rows" {
	echo '{"id_": 7, "prompt": "q", "domain_en": "law"}' >a.jsonl
	echo '{"meta_info": {"question": "q2", "neg_resp": "n", "domain_en": "law"}, "prompt": "choose", "label": "回复1"}' >b.jsonl
	import a.jsonl b.jsonl >output
	expect_output '{"id":"cvalues-7","prompt":"q","source":"cvalues","domain":"law"}' \
		'{"prompt":"q2","response":"n","source":"cvalues","domain":"law"}'
}

@test "import: CValues-Comparison takes the unsafe response as the one to replace" {
	echo '{"prompt":"p","pos_resp":"good","neg_resp":"bad","pos_type":"拒绝","neg_type":"风险"}' >a.jsonl
	import a.jsonl >output
	expect_output '{"prompt":"p","response":"bad","source":"cvalues-comparison","reference":"good","pos_type":"拒绝","neg_type":"风险"}'
}

@test "import: SafetyBench questions carry their options" {
	echo '[{"id": 0, "category": "Offensiveness", "question": "q?", "options": ["yes", "no"]}]' >a.json
	import a.json >output
	expect_output '{"id":"safetybench-0","prompt":"q?\n(A) yes\n(B) no","source":"safetybench","subject":"Offensiveness"}'
}

@test "import: alpaca as an array and one a line" {
	echo '[{"instruction": "i", "input": "x", "output": "o"}]' >a.json
	printf '%s\n' '{"instruction": "i", "input": "", "output": "o"}' '{"instruction": "j", "output": "o"}' >b.jsonl
	import a.json b.jsonl >output
	expect_output '{"prompt":"i\nx","response":"o","source":"alpaca"}' '{"prompt":"i","response":"o","source":"alpaca"}' \
		'{"prompt":"j","response":"o","source":"alpaca"}'
}

@test "import: plain text is one prompt a line, blank lines left out; records stay as they are" {
	printf 'how?\n\n为什么？\n' >a.txt
	echo '{"prompt":"p","x":1}' >b.ndjson
	import a.txt b.ndjson >output
	expect_output '{"prompt":"how?","source":"text"}' '{"prompt":"为什么？","source":"text"}' '{"prompt":"p","x":1}'
}

@test "import: records one a line pass byte for byte, a bad line among them, arrays are taken apart" {
	printf '%s\n' '{"prompt" : "p", "n":1.50}' 'no record' '{"prompt":"q"}' >a.ndjson
	echo '[{"prompt":"r"}]' >b.json
	import a.ndjson b.json >output
	expect_output '{"prompt" : "p", "n":1.50}' 'no record' '{"prompt":"q"}' '{"prompt":"r"}'
}

# A file of each shape, and what comes of it when one of its values is another, or missing.
odd_files() {
	jq -c '. as $d | paths as $p | ($d | setpath($p; null, 1, "", [], {})), ($d | delpaths([$p]))' <<-'END' | sort -u
	{"Insult":[{"prompt":"p","response":"r","type":"Insult"}]}
	{"id_":7,"prompt":"q","domain_en":"law"}
	{"meta_info":{"question":"q","neg_resp":"n","domain_en":"law"},"prompt":"c","label":"l"}
	{"prompt":"p","pos_resp":"g","neg_resp":"b","pos_type":"x","neg_type":"y"}
	[{"id":0,"category":"O","question":"q?","options":["yes","no"]}]
	[{"instruction":"i","input":"x","output":"o"}]
	[{"prompt":"r"}]
	{"prompt":"r","x":1}
	END
}

@test "import: a file with an odd value gives records or is refused by name" {
	local n=0

	odd_files >odd
	while read -r doc; do
		n=$((n + 1))
		[ $((n % 4)) = 0 ] || continue	# all of them take half a minute
		echo "$doc" >in.json
		status=0
		import in.json >output 2>stderr || status=$?
		jq -se 'all(type == "object" and has("prompt"))' output >/dev/null || fail "$doc gave $(cat output)"
		case $status in
		0) [ ! -s stderr ] || fail "$doc: status 0, and $(cat stderr)" ;;
		2) grep -q '^import.sh: in.json: ' stderr || fail "$doc: $(cat stderr)" ;;
		*) fail "$doc: exit status $status" ;;
		esac
	done <odd
	[ "$n" -gt 150 ]
}

@test "import: an unknown shape, broken JSON and a missing file are refused by name" {
	echo '{"a": 1}' >a.json
	run import a.json
	assert_failure 2
	assert_output --partial 'a.json: unknown shape'
	echo '{"a": ' >b.json
	run import b.json
	assert_failure 2
	assert_output --partial 'b.json: no JSON'
	run import none.json
	assert_failure 4
	assert_output --partial 'none.json: cannot read it'
}

@test "import: the published samples come out complete" {
	data safety-prompts
	import "$DATA"/*.sample.json >records
	assert_equal "$(wc -l <records)" 13
	data cvalues/cvalues_responsibility_prompts.jsonl
	import "$DATA" >>records
	assert_equal "$(jq -r 'select(.prompt | type == "string") | .source' records | wc -l)" 677
}
