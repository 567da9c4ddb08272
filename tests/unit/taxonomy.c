/* taxonomy.c - codes, names, labels and their folding */

#include "taxonomy.h"

#include "t.h"

static void
there_are_14_categories_with_code_and_name(void)
{
	struct taxonomy *t = taxonomy_load(NULL, NULL);

	CHECK_INT((long long)taxonomy_size(t), 14);
	CHECK_STR(taxonomy_at(t, 0)->code, "OFF");
	CHECK_STR(taxonomy_at(t, 13)->code, "PS");
	for (size_t i = 0; i < taxonomy_size(t); i++) {
		CHECK_INT(taxonomy_category(t, taxonomy_at(t, i)->code), (int)i);
		CHECK_INT(taxonomy_category(t, taxonomy_at(t, i)->name), (int)i);
		CHECK_INT(taxonomy_category(t, taxonomy_at(t, i)->zh), (int)i);
	}
	taxonomy_free(t);
}

static void
labels_fold_into_categories(void)
{
	struct taxonomy *t = taxonomy_load(NULL, NULL);

	CHECK_STR(taxonomy_code(t, taxonomy_fold(t, "illegal crime")), "CIA");
	CHECK_STR(taxonomy_code(t, taxonomy_fold(t, "Profanity Insult")), "OFF");
	CHECK_STR(taxonomy_code(t, taxonomy_fold(t, "地域歧视")), "UB");
	CHECK_STR(taxonomy_code(t, taxonomy_fold(t, "ps")), "PS");
	CHECK_STR(taxonomy_code(t, taxonomy_fold(t, "harmless")), "none");
	CHECK_STR(taxonomy_code(t, taxonomy_fold(t, "无害")), "none");
	CHECK_INT(taxonomy_fold(t, "gardening"), -2);
	CHECK_INT(taxonomy_category(t, "illegal crime"), -2);
	taxonomy_free(t);
}

static void
a_wrong_file_is_refused_with_its_name(void)
{
	struct err e;
	char path[] = "/tmp/taxonomy-XXXXXX";
	FILE *f = fdopen(mkstemp(path), "w");

	fputs("{\"categories\": [{\"code\": \"A\"}]}", f);
	fclose(f);
	CHECK(taxonomy_load(path, &e) == NULL);
	CHECK(strstr(e.msg, path) && strstr(e.msg, "category 1"));
	CHECK(taxonomy_load("/nonexistent", &e) == NULL);
	CHECK(strstr(e.msg, "/nonexistent"));
	remove(path);
}

int
main(void)
{
	RUN(there_are_14_categories_with_code_and_name);
	RUN(labels_fold_into_categories);
	RUN(a_wrong_file_is_refused_with_its_name);
	return t_done();
}
