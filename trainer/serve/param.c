/* param.c - see param.h */
#include "param.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int
req_fail(struct req_error *e, int status, const char *param, const char *code, const char *fmt, ...)
{
	va_list ap;

	e->status = status;
	e->retry_after = 1;
	e->type = status == 429 ? "rate_limit_error" : status >= 500 ? "server_error" : "invalid_request_error";
	e->code = code;
	snprintf(e->param, sizeof e->param, "%s", param);
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof e->message, fmt, ap);
	va_end(ap);
	return -1;
}

int
param_type_error(struct req_error *e, const char *param, const char *want)
{
	return req_fail(e, 400, param, "invalid_type", "'%s' must be %s", param, want);
}

json_t *
param_body(const char *body, size_t n, struct req_error *e)
{
	json_error_t why;
	json_t *root = json_loadb(body, n, 0, &why);

	if (!root) {
		req_fail(e, 400, "", "invalid_json", "the body is no valid JSON: %s (line %d, column %d)", why.text, why.line, why.column);
	} else if (!json_is_object(root)) {
		req_fail(e, 400, "", "invalid_json", "the body is no JSON object");
		json_decref(root);
		root = NULL;
	}
	return root;
}

int
param_int(json_t *root, const char *name, long long lo, long long hi, long long *out, struct req_error *e)
{
	json_t *v = json_object_get(root, name);

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_integer(v))
		return param_type_error(e, name, "an integer");
	if (json_integer_value(v) < lo || json_integer_value(v) > hi)
		return req_fail(e, 400, name, "invalid_value", "'%s' must be from %lld to %lld", name, lo, hi);
	*out = json_integer_value(v);
	return 0;
}

int
param_num(json_t *root, const char *name, double lo, double hi, double *out, struct req_error *e)
{
	json_t *v = json_object_get(root, name);

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_number(v))
		return param_type_error(e, name, "a number");
	if (!(json_number_value(v) >= lo && json_number_value(v) <= hi))
		return req_fail(e, 400, name, "invalid_value", "'%s' must be from %g to %g", name, lo, hi);
	*out = json_number_value(v);
	return 0;
}

int
param_bool(json_t *root, const char *name, bool *out, struct req_error *e)
{
	json_t *v = json_object_get(root, name);

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_boolean(v))
		return param_type_error(e, name, "true or false");
	*out = json_is_true(v);
	return 0;
}

const char *
param_stranger(json_t *object, const char *const *known)
{
	const char *name;
	json_t *v;

	json_object_foreach(object, name, v) {
		const char *const *k = known;

		while (*k && strcmp(*k, name) != 0)
			k++;
		if (!*k)
			return name;
	}
	return NULL;
}
