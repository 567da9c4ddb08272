/* ranking.c - pairs and labels as samples: what is supervised, what is dropped, and KTO's mismatched pairs */
#include "ranking.h"

#include "t.h"

#define TINY "tests/goldens/train/tiny"

static struct tok *tok;

static struct sampler
sampler(enum ranking ranking, int cutoff)
{
	struct sampler how;

	sampler_init(&how, tok, TINY, -1);
	how.vocab = 320;
	how.cutoff = cutoff;
	how.ranking = ranking;
	return how;
}

/* Add a record, with ' for ". */
static int
add(struct samples *s, struct sampler *how, const char *text, size_t line, struct err *e)
{
	char *copy = strdup(text), *p;
	json_t *record;
	int rc;

	for (p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	record = json_loads(copy, 0, NULL);
	CHECK(record);
	rc = samples_add(s, how, record, line, e);
	json_decref(record);
	free(copy);
	return rc;
}

/* The supervised tokens of sample i are `text` and <|eot_id|>. */
static void
check_response(const struct samples *s, size_t i, const char *text)
{
	struct ids want = { 0 };
	int n = 0;

	tok_encode(tok, text, strlen(text), false, &want);
	ids_add(&want, tok_id(tok, "<|eot_id|>"));
	for (int t = 0; t < s->v[i].n; t++) {
		int target = s->target[s->v[i].at + t];

		if (target < 0)
			continue;
		CHECK(n < (int)want.n && want.v[n] == target);
		n++;
	}
	CHECK_INT(n, want.n);
	CHECK_INT(s->v[i].supervised, n);
	ids_free(&want);
}

static void
a_pair_of_any_kind_becomes_two_samples(void)
{
	static const char *const kinds[] = {
		"{'instruction':'ask','input':'x','chosen':'no','rejected':'yes'}",
		"{'prompt':'ask\\nx','chosen':'no','rejected':'yes','response':'other'}",
		"{'messages':[{'role':'user','content':'ask\\nx'}],'chosen':{'role':'assistant','content':'no'},'rejected':{'role':'assistant','content':'yes'}}",
		"{'conversations':[{'from':'human','value':'ask\\nx'}],'chosen':{'from':'gpt','value':'no'},'rejected':{'from':'gpt','value':'yes'}}",
	};
	struct sampler how = sampler(RANKING_PAIRS, 200);
	struct samples s = { 0 };
	struct err e;

	for (size_t i = 0; i < 4; i++) {
		CHECK_INT(add(&s, &how, kinds[i], i + 1, &e), 0);
		if (!CHECK_INT(s.n, 2 * i + 2))
			return;
		check_response(&s, 2 * i, "no");
		check_response(&s, 2 * i + 1, "yes");
		CHECK(!s.v[2 * i].undesired && s.v[2 * i + 1].undesired && s.v[2 * i + 1].line == i + 1);
		CHECK(s.v[2 * i].n == s.v[0].n && memcmp(s.ids + s.v[2 * i].at, s.ids, (size_t)s.v[0].n * sizeof(int)) == 0);
	}
	samples_free(&s);
	sampler_free(&how);
}

static void
of_a_conversation_only_the_last_response_is_supervised(void)
{
	struct sampler how = sampler(RANKING_ANY, 200);
	struct samples s = { 0 };
	struct err e;

	CHECK_INT(add(&s, &how, "{'messages':[{'role':'user','content':'a'},{'role':'assistant','content':'first'},{'role':'user','content':'b'},"
		      "{'role':'assistant','content':'last'}],'kto_tag':false}", 1, &e), 0);
	CHECK_INT(add(&s, &how, "{'instruction':'b','output':'no','history':[['a','first']],'label':true}", 2, &e), 0);
	if (CHECK_INT(s.n, 2)) {
		check_response(&s, 0, "last");
		check_response(&s, 1, "no");
		CHECK(s.v[0].undesired && !s.v[1].undesired);
	}
	samples_free(&s);
	sampler_free(&how);
}

static void
a_pair_that_loses_a_response_is_dropped_whole(void)
{
	struct sampler how = sampler(RANKING_PAIRS, 200);
	struct samples s = { 0 };
	struct err e;

	CHECK_INT(add(&s, &how, "{'prompt':'p','chosen':'no','rejected':'yes'}", 1, &e), 0);
	how.cutoff = 10;	/* less than the prompt and its headers; the share of a short response is kept, of a long one too */
	CHECK_INT(add(&s, &how, "{'prompt':'p','chosen':'no','rejected':'yes'}", 2, &e), 0);
	CHECK(s.n == 2 || s.n == 4);
	how.cutoff = 2;
	CHECK_INT(add(&s, &how, "{'prompt':'a long question, really','chosen':'','rejected':'yes'}", 3, &e), 0);
	CHECK(s.n % 2 == 0 && s.tokens == s.v[s.n - 1].at + (size_t)s.v[s.n - 1].n);
	samples_free(&s);
	sampler_free(&how);
}

static void
what_is_no_ranking_is_refused(void)
{
	struct sampler pairs = sampler(RANKING_PAIRS, 200), any = sampler(RANKING_ANY, 200);
	struct samples s = { 0 };
	struct err e;

	CHECK_INT(add(&s, &pairs, "{'prompt':'p','response':'r','label':true}", 1, &e), -1);
	CHECK_STR(e.msg, "no \"chosen\" and \"rejected\"");
	CHECK_INT(add(&s, &any, "{'prompt':'p','response':'r'}", 1, &e), -1);
	CHECK(strstr(e.msg, "kto_tag"));
	CHECK_INT(add(&s, &any, "{'prompt':'p','response':'r','label':1}", 1, &e), -1);
	CHECK_INT(add(&s, &pairs, "{'prompt':'p','chosen':'no','rejected':7}", 1, &e), -1);
	CHECK_INT(s.n, 0);
	samples_free(&s);
	sampler_free(&pairs);
	sampler_free(&any);
}

static void
a_mismatched_pair_is_a_prompt_and_the_response_before_it_of_its_label(void)
{
	struct sampler how = sampler(RANKING_ANY, 200);
	static const uint32_t all[] = { 0, 1, 2, 3, 4 }, some[] = { 0, 1, 3 };
	struct samples s = { 0 }, mixed = { 0 };
	struct err e;

	CHECK_INT(add(&s, &how, "{'prompt':'one','chosen':'good a','rejected':'bad a'}", 1, &e), 0);
	CHECK_INT(ranking_mismatch(&mixed, &s, all, 2, 200, &e), -1);
	samples_free(&mixed);
	CHECK_INT(add(&s, &how, "{'prompt':'two','chosen':'good b','rejected':'bad b'}", 2, &e), 0);
	CHECK_INT(add(&s, &how, "{'prompt':'three','response':'good c','label':true}", 3, &e), 0);
	CHECK_INT(ranking_mismatch(&mixed, &s, all, 5, 200, &e), 0);
	if (CHECK_INT(mixed.n, 5)) {
		static const char *const want[] = { "good c", "bad b", "good a", "bad a", "good b" };

		for (size_t i = 0; i < 5; i++) {
			check_response(&mixed, i, want[i]);
			CHECK(memcmp(mixed.ids + mixed.v[i].at, s.ids + s.v[i].at, 8 * sizeof(int)) == 0);
		}
	}
	samples_free(&mixed);
	CHECK_INT(ranking_mismatch(&mixed, &s, all, 5, s.v[0].n - 1, &e), 0);
	CHECK_INT(mixed.v[0].n, s.v[0].n - 1);
	samples_free(&mixed);
	CHECK_INT(ranking_mismatch(&mixed, &s, some, 3, 200, &e), 0);	/* none but those that are picked */
	if (CHECK_INT(mixed.n, 3)) {
		check_response(&mixed, 0, "bad b");
		check_response(&mixed, 1, "bad b");
		check_response(&mixed, 2, "bad a");
	}
	samples_free(&s);
	samples_free(&mixed);
	sampler_free(&how);
}

int
main(void)
{
	struct err e;

	tok = tok_load(TINY, &e);
	if (!tok)
		return 99;
	RUN(a_pair_of_any_kind_becomes_two_samples);
	RUN(of_a_conversation_only_the_last_response_is_supervised);
	RUN(a_pair_that_loses_a_response_is_dropped_whole);
	RUN(what_is_no_ranking_is_refused);
	RUN(a_mismatched_pair_is_a_prompt_and_the_response_before_it_of_its_label);
	tok_free(tok);
	return t_done();
}
