# What the compiler cannot check, over this tree and over trees with one thing wrong.

load lib

# A copy of the tree without what was built, to break.
copy_tree() {
	mkdir tree
	(cd "$ROOT" && tar -cf - --exclude=./.git --exclude='./build*' --exclude='*.safetensors' .) | tar -xf - -C tree
}

@test "lint: this tree is clean" {
	run sh "$ROOT/tests/lint.sh"
	assert_output ""
	assert_success
}

@test "lint: the library includes nothing of the model" {
	copy_tree
	echo '#include "op.h"' >>tree/lib/num.c
	run sh tree/tests/lint.sh
	assert_failure 1
	assert_line "lib/num.c: may not include trainer/ops/op.h"
}

@test "lint: a lower layer of the library includes no higher one" {
	copy_tree
	echo '#include "filter.h"' >>tree/lib/rec.c
	run sh tree/tests/lint.sh
	assert_failure 1
	assert_line "lib/rec.c: filter.h is of a higher layer"
}

@test "lint: a filter does not link the model" {
	copy_tree
	echo '#include "model.h"' >>tree/filters/sa-ppl.c
	run sh tree/tests/lint.sh
	assert_failure 1
	assert_line "filters/sa-ppl.c: may not include trainer/model/model.h"
}

@test "lint: a file that the map does not name, and a name without a file" {
	copy_tree
	echo 'int x;' >tree/filters/sa-new.c
	rm tree/lib/text.c
	run sh tree/tests/lint.sh
	assert_failure 1
	assert_line "README.md: map: filters/sa-new.c is not named"
	assert_line --partial "README.md: map: lib/text."
}

@test "lint: a program without its page, and a page that mandoc warns of" {
	copy_tree
	rm tree/man/sa-ppl.1
	printf '.Dd soon\n.Dt X 1\n.Os\n.Sh NAME\n.Xx\n' >tree/man/sa-pick.1
	run sh tree/tests/lint.sh
	assert_failure 1
	assert_line "man/sa-ppl.1: missing"
	assert_line --partial "sa-pick.1"
}
