/* chat - request bodies, replies, scores */

#include "chat.h"

#include "t.h"

static const struct params unset = PARAMS_UNSET;

static void
a_chat_request_has_only_what_was_set(void)
{
	const struct msg m[] = { { "system", "Be \"brief\"." }, { "user", "a\n\x01\xe4\xbd\xa0" } };
	struct params p = PARAMS_UNSET;
	struct buf b = BUF_INIT(BUF_MAX_TEXT);

	CHECK_INT(chat_body(&b, "m", m, 2, &unset), 0);
	CHECK_STR(b.p, "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"Be \\\"brief\\\".\"},"
		  "{\"role\":\"user\",\"content\":\"a\\n\\u0001\xe4\xbd\xa0\"}]}");
	p = (struct params){ 0.7, 0.95, 64, 123, (const char *const[]){ "\n", "x", NULL }, 0 };
	buf_clear(&b);
	CHECK_INT(chat_body(&b, "m", m, 0, &p), 0);
	CHECK_STR(b.p, "{\"model\":\"m\",\"messages\":[],\"temperature\":0.7,\"top_p\":0.95,\"max_tokens\":64,\"seed\":123,\"stop\":[\"\\n\",\"x\"]}");
	buf_free(&b);
}

static void
a_completion_and_an_echo_request(void)
{
	struct params p = PARAMS_UNSET;
	struct buf b = BUF_INIT(BUF_MAX_TEXT);

	p.max_tokens = 1;
	p.temperature = 0;
	p.logprobs = 5;
	CHECK_INT(completion_body(&b, "m", "t", &p), 0);
	CHECK_STR(b.p, "{\"model\":\"m\",\"prompt\":\"t\",\"temperature\":0,\"max_tokens\":1,\"logprobs\":5}");
	buf_clear(&b);
	CHECK_INT(echo_body(&b, "m", "t", 1), 0);
	CHECK_STR(b.p, "{\"model\":\"m\",\"prompt\":\"t\",\"echo\":true,\"logprobs\":1,\"max_tokens\":1,\"temperature\":0}");
	buf_free(&b);
}

static void
a_request_past_the_maximum_is_refused(void)
{
	struct buf b = BUF_INIT(20);

	CHECK_INT(chat_body(&b, "m", &(struct msg){ "user", "longer than twenty bytes" }, 1, &unset), -1);
	buf_free(&b);
}

static int
parse(struct reply *r, const char *text, struct err *e)
{
	return reply_parse(r, text, strlen(text), e);
}

static void
a_reply_is_read(void)
{
	struct reply r;
	struct err e;

	if (!CHECK_INT(parse(&r, "{\"choices\":[{\"message\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}",
			     &e), 0))
		return;
	CHECK_STR(r.text, "hi");
	CHECK_STR(r.finish, "stop");
	CHECK(!r.refusal);
	CHECK_INT(r.prompt_tokens, 5);
	CHECK_INT(r.completion_tokens, 2);
	reply_free(&r);
	CHECK_INT(parse(&r, "{\"choices\":[{\"text\":\"done\",\"finish_reason\":null}]}", &e), 0);
	CHECK_STR(r.text, "done");
	CHECK(!r.finish);
	CHECK_INT(r.prompt_tokens, -1);
	reply_free(&r);
	CHECK_INT(parse(&r, "{\"choices\":[{\"message\":{\"content\":null,\"refusal\":\"no\"}}]}", &e), 0);
	CHECK(!r.text);
	CHECK_STR(r.refusal, "no");
	reply_free(&r);
}

/* Bodies that are read where their members lie, and such as jansson has to read: the same comes out. */
static void
unusual_replies_are_read_as_the_usual_ones(void)
{
	static const char *const body[] = {
		"{\"choices\":[{\"message\":{\"content\":\"a\\n\\\"b\\\"\"},\"finish_reason\":\"stop\",\"logprobs\":null}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}",
		" { \"usage\" : {\"completion_tokens\":2,\"prompt_tokens\":5} , \"choices\" : [ \n {\"finish_reason\":\"stop\",\"message\" : {\"content\":\"a\\n\\\"b\\\"\"} }\t] }",
		"{\"choices\":[{\"message\":{\"content\":\"no\",\"content\":\"a\\n\\\"b\\\"\"},\"finish_reason\":\"length\",\"finish_reason\":\"stop\"}],"
			"\"usage\":7,\"usage\":{\"prompt_tokens\":9,\"prompt_tokens\":5,\"completion_tokens\":2,\"details\":{\"prompt_tokens\":1}}}",
		"{\"choices\":[{\"message\":{\"content\":\"a\\n\\\"b\\\"\"},\"finish_reason\":\"stop\",\"logprobs\":{}}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}",
		"{\"ch\\u006fices\":[{\"message\":{\"content\":\"a\\n\\\"b\\\"\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}",
		"{\"choices\":[{\"message\":{\"c\\u006fntent\":\"a\\n\\\"b\\\"\"},\"finish_reason\":\"stop\"}],\"usage\":{\"pr\\u006fmpt_tokens\":5,\"completion_tokens\":2}}",
		"{\"choices\":[{\"message\":{\"content\":\"a\\n\\\"b\\\"\"},\"finish_reason\":\"stop\"}],\"usage\":{\"pr\\u006fmpt_tokens\":5,\"completion_tokens\":2}}",
		"{\"choices\":[{\"message\":{\"content\":\"a\\n\\\"b\\\"\"},\"finish_reason\":\"stop\"},{}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}",
	};
	struct reply r;
	struct err e;

	for (size_t i = 0; i < sizeof body / sizeof *body; i++) {
		if (!CHECK_INT(parse(&r, body[i], &e), 0)) {
			printf("# %s\n", body[i]);
			continue;
		}
		CHECK_STR(r.text, "a\n\"b\"");
		CHECK_STR(r.finish, "stop");
		CHECK(!r.refusal);
		CHECK_INT(r.prompt_tokens, 5);
		CHECK_INT(r.completion_tokens, 2);
		reply_free(&r);
	}
}

static void
impossible_token_counts_are_none(void)
{
	struct reply r;
	struct err e;

	CHECK_INT(parse(&r, "{\"choices\":[{\"text\":\"a\"}],\"usage\":{\"prompt_tokens\":1e300,\"completion_tokens\":-2}}", &e), 0);
	CHECK_INT(r.prompt_tokens, -1);
	CHECK_INT(r.completion_tokens, -1);
	reply_free(&r);
	CHECK_INT(parse(&r, "{\"choices\":[{\"text\":\"a\"}],\"usage\":{\"prompt_tokens\":12.0,\"completion_tokens\":\"3\"}}", &e), 0);
	CHECK_INT(r.prompt_tokens, 12);
	CHECK_INT(r.completion_tokens, -1);
	reply_free(&r);
}

static void
what_is_no_reply_says_why(void)
{
	struct reply r;
	struct err e;

	CHECK_INT(parse(&r, "<html>", &e), -1);
	CHECK(strstr(e.msg, "not JSON"));
	CHECK_INT(parse(&r, "", &e), -1);
	CHECK_INT(parse(&r, "[]", &e), -1);
	CHECK_INT(parse(&r, "{\"choices\":[]}", &e), -1);
	CHECK_INT(parse(&r, "{\"choices\":[7]}", &e), -1);
	CHECK_INT(parse(&r, "{\"choices\":{\"message\":{\"content\":\"x\"}}}", &e), -1);
	CHECK_INT(parse(&r, "{\"choices\":[{\"message\":[{\"content\":\"x\"}]}]}", &e), 0);
	CHECK(!r.text);
	reply_free(&r);
	CHECK_INT(parse(&r, "{\"choices\":[{\"message\":{\"content\":\"a\\u0000b\"}}]}", &e), -1);
	CHECK(strstr(e.msg, "not JSON"));
	CHECK_INT(parse(&r, "{\"choices\":[{\"message\":{\"content\":\"a\"}}]", &e), -1);
	CHECK_INT(parse(&r, "{\"error\":{\"message\":\"overloaded\"}}", &e), -1);
	CHECK_STR(e.msg, "the reply has no choices: overloaded");
}

static const char *
error_of(const char *body, size_t max)
{
	static char out[400];

	reply_error(body, strlen(body), out, max);
	return out;
}

static void
an_error_body_becomes_one_printable_line(void)
{
	CHECK_STR(error_of("{\"error\":{\"message\":\"a\\nb\\tc  d\"}}", 400), "a b c d");
	CHECK_STR(error_of("{\"error\":\"plain\"}", 400), "plain");
	CHECK_STR(error_of("{\"detail\":\"not found\"}", 400), "not found");
	CHECK_STR(error_of("{\"object\":\"error\",\"message\":\"vllm\"}", 400), "vllm");
	CHECK_STR(error_of("<h1>\r\nBad Gateway</h1>\n", 400), "<h1> Bad Gateway</h1>");
	CHECK_STR(error_of("", 400), "(empty body)");
	CHECK_STR(error_of("{\"error\":\"\xe4\xbd\xa0\xe5\xa5\xbd\"}", 6), "\xe4\xbd\xa0");
	CHECK_STR(error_of("{\"error\":\"\xe4\xbd\xa0\xe5\xa5\xbd\"}", 7), "\xe4\xbd\xa0");
}

static const char *
code_of(const char *body)
{
	static char out[64];

	reply_error_code(body, strlen(body), out, sizeof out);
	return out;
}

static void
the_code_of_an_error_is_its_code_or_else_its_type(void)
{
	CHECK_STR(code_of("{\"error\":{\"type\":\"t\",\"code\":\"c\"}}"), "c");
	CHECK_STR(code_of("{\"error\":{\"type\":\"t\",\"code\":null}}"), "t");
	CHECK_STR(code_of("{\"error\":\"plain\"}"), "");
	CHECK_STR(code_of("nonsense"), "");
}

static int
nll_of(const char *body, struct nll *n)
{
	struct reply r;
	struct err e;
	int rc = parse(&r, body, &e);

	if (!CHECK_INT(rc, 0))
		return -2;
	rc = reply_nll(&r, n);
	reply_free(&r);
	return rc;
}

static void
log_probabilities_of_the_prompt_alone_are_summed(void)
{
	struct nll n;

	CHECK_INT(nll_of("{\"choices\":[{\"text\":\"\",\"logprobs\":{\"token_logprobs\":[null,-1.5,-2,-9]}}],\"usage\":{\"prompt_tokens\":3}}", &n), 0);
	CHECK_NUM(n.sum, 3.5, 1e-12);
	CHECK_INT(n.tokens, 2);
	CHECK_INT(nll_of("{\"choices\":[{\"text\":\"\",\"logprobs\":{\"token_logprobs\":[null,-9]}}],\"usage\":{\"prompt_tokens\":1}}", &n), 0);
	CHECK_INT(n.tokens, 0);
	CHECK_INT(nll_of("{\"choices\":[{\"text\":\"\",\"prompt_logprobs\":[null,{\"15\":{\"logprob\":-1,\"rank\":3},\"2\":{\"logprob\":-0.1,\"rank\":1}},"
			 "{\"7\":{\"logprob\":-2}}]}]}", &n), 0);
	CHECK_NUM(n.sum, 3, 1e-12);
	CHECK_INT(n.tokens, 2);
}

static void
a_missing_or_impossible_log_probability_is_never_guessed(void)
{
	static const char *const bad[] = {
		"{\"choices\":[{\"text\":\"\"}],\"usage\":{\"prompt_tokens\":3}}",
		"{\"choices\":[{\"text\":\"\",\"logprobs\":null}],\"usage\":{\"prompt_tokens\":3}}",
		"{\"choices\":[{\"text\":\"\",\"logprobs\":{\"token_logprobs\":[null,-1]}}]}",
		"{\"choices\":[{\"text\":\"\",\"logprobs\":{\"token_logprobs\":[null,-1]}}],\"usage\":{\"prompt_tokens\":3}}",
		"{\"choices\":[{\"text\":\"\",\"logprobs\":{\"token_logprobs\":[null,null,-1]}}],\"usage\":{\"prompt_tokens\":3}}",
		"{\"choices\":[{\"text\":\"\",\"logprobs\":{\"token_logprobs\":[null,0.5,-1]}}],\"usage\":{\"prompt_tokens\":3}}",
		"{\"choices\":[{\"text\":\"\",\"logprobs\":{\"token_logprobs\":[null,\"-1\",-1]}}],\"usage\":{\"prompt_tokens\":3}}",
		"{\"choices\":[{\"text\":\"\",\"prompt_logprobs\":[]}]}",
		"{\"choices\":[{\"text\":\"\",\"prompt_logprobs\":[null,{}]}]}",
	};
	struct nll n;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!CHECK_INT(nll_of(bad[i], &n), -1))
			printf("# %s\n", bad[i]);
}

static void
the_log_probability_of_one_candidate_token(void)
{
	struct reply r;
	struct err e;
	double x = 0;

	CHECK_INT(parse(&r, "{\"choices\":[{\"text\":\"A\",\"logprobs\":{\"top_logprobs\":[{\"A\":-0.25,\"B\":-2}]}}]}", &e), 0);
	CHECK_INT(reply_top_logprob(&r, 0, "B", &x), 0);
	CHECK_NUM(x, -2, 1e-12);
	CHECK_INT(reply_top_logprob(&r, 0, "C", &x), -1);
	CHECK_INT(reply_top_logprob(&r, 1, "A", &x), -1);
	CHECK_INT(reply_top_logprob(&r, -1, "A", &x), -1);
	reply_free(&r);
}

static void
scores_are_a_bare_list(void)
{
	static const char *const good[] = { "[0.9, 0.1]", "0.9,0.1", " [ 0.9 , 0.1 ]\n", "```json\n[0.9, 0.1]\n```", "```\n0.9, 0.1```", "[0.9,0.1]\n\n" };
	struct err e;
	double x[2];

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		x[0] = x[1] = -1;
		if (!CHECK_INT(chat_scores(good[i], x, 2, &e), 0) || !CHECK_NUM(x[0], 0.9, 1e-12) || !CHECK_NUM(x[1], 0.1, 1e-12))
			printf("# %s\n", good[i]);
	}
	CHECK_INT(chat_scores("0", x, 1, &e), 0);
	CHECK_NUM(x[0], 0, 1e-12);
	CHECK_INT(chat_scores("[1.0]", x, 1, &e), 0);
	CHECK_NUM(x[0], 1, 1e-12);
}

static void
a_score_is_never_fished_out_of_prose(void)
{
	static const char *const bad[] = {
		"", "[]", "[0.9]", "0.9", "[0.9, 0.1, 0.5]", "[0.9, 0.1", "0.9, 0.1]", "0.9, 1.1", "-0.1, 0.5", "[0.9, nan]", "0.9 0.1", "[0.9,, 0.1]",
		"Scores: [0.9, 0.1]", "[0.9, 0.1] because", "output1: 0.9, output2: 0.1", "[\"0.9\", \"0.1\"]", "0.9, 0.1.", "``````", "[0.9, 0x1]", "[[0.9, 0.1]]",
		"9/10, 1/10", "[0.9, 0.1]]", "0,9, 0,1",
	};
	struct err e;
	double x[2];

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!CHECK_INT(chat_scores(bad[i], x, 2, &e), -1))
			printf("# %s\n", bad[i]);
}

int
main(void)
{
	RUN(a_chat_request_has_only_what_was_set);
	RUN(a_completion_and_an_echo_request);
	RUN(a_request_past_the_maximum_is_refused);
	RUN(a_reply_is_read);
	RUN(unusual_replies_are_read_as_the_usual_ones);
	RUN(impossible_token_counts_are_none);
	RUN(what_is_no_reply_says_why);
	RUN(an_error_body_becomes_one_printable_line);
	RUN(the_code_of_an_error_is_its_code_or_else_its_type);
	RUN(log_probabilities_of_the_prompt_alone_are_summed);
	RUN(a_missing_or_impossible_log_probability_is_never_guessed);
	RUN(the_log_probability_of_one_candidate_token);
	RUN(scores_are_a_bare_list);
	RUN(a_score_is_never_fished_out_of_prose);
	return t_done();
}
