# every fuzz target over its corpus in git, once: what fuzzing found stays mended (`make fuzz` looks for more)
load lib

# holds TARGET - its property holds for each file of its corpus
holds() {
	local n

	cd "$ROOT" || return 1
	n=$(find tests/fuzz/corpus/"$1" -type f | wc -l)
	[ "$n" -ge 5 ] || { echo "only $n files in tests/fuzz/corpus/$1" | fail; }
	run "$BUILD/fuzz/$1" tests/fuzz/corpus/"$1"/*
	assert_success
	assert_line -- "$n"
}

@test "fuzz: result lines of batches" { holds batch; }
@test "fuzz: configurations of models" { holds config; }
@test "fuzz: fine-tuning files" { holds data; }
@test "fuzz: header lines of replies" { holds head; }
@test "fuzz: numbers, dates and waits" { holds numbers; }
@test "fuzz: prompt files" { holds prompt; }
@test "fuzz: records" { holds record; }
@test "fuzz: replies of servers" { holds reply; }
@test "fuzz: tensor files" { holds safetensors; }
@test "fuzz: requests to the server" { holds request; }
@test "fuzz: schemas and what they let come" { holds schema; }
@test "fuzz: scores of judges" { holds scores; }
@test "fuzz: taxonomy files" { holds taxonomy; }
@test "fuzz: tokenizers" { holds tokenizer; }
@test "fuzz: replies in words" { holds words; }

@test "fuzz: every target has a test and a corpus" {
	for file in "$ROOT"/tests/fuzz/*.c; do
		name=$(basename "$file" .c)
		[ "$name" = main ] && continue
		grep -q "holds $name;" "$ROOT/tests/fuzz.bats" || fail "no test runs the target $name"
	done
}
