/* form.c - see form.h */
#include "form.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

/* What was found so far. */
struct form {
	const char *param;	/* where; NULL: nothing yet */
	enum guide_kind kind;
	json_t *value;		/* a new reference */
};

static bool
given(json_t *v)
{
	return v && !json_is_null(v);
}

static int
found(struct form *f, const char *param, enum guide_kind kind, json_t *value, struct req_error *e)
{
	if (f->param)
		return req_fail(e, 400, param, "invalid_value", "only one of '%s' and '%s' may be given", f->param, param);
	*f = (struct form){ param, kind, value };
	return 0;
}

static int
read_json_schema(struct form *f, json_t *o, struct req_error *e)
{
	static const char *const known[] = { "name", "description", "schema", "strict", NULL };
	json_t *name = json_object_get(o, "name"), *schema = json_object_get(o, "schema"), *strict = json_object_get(o, "strict");
	const char *other = param_stranger(o, known);

	if (!json_is_object(o))
		return param_type_error(e, "response_format.json_schema", "an object");
	if (other)
		return req_fail(e, 400, "response_format.json_schema", "unknown_parameter", "unknown member '%.60s' of 'json_schema'", other);
	if (!json_is_string(name))
		return param_type_error(e, "response_format.json_schema.name", "a string");
	if (given(strict) && !json_is_boolean(strict))
		return param_type_error(e, "response_format.json_schema.strict", "true or false");
	if (!json_is_object(schema))
		return param_type_error(e, "response_format.json_schema.schema", "an object");
	return found(f, "response_format", GUIDE_SCHEMA, json_incref(schema), e);
}

static int
read_response_format(struct form *f, json_t *o, struct req_error *e)
{
	static const char *const known[] = { "type", "json_schema", NULL };
	const char *type = json_string_value(json_object_get(o, "type")), *other = param_stranger(o, known);

	if (!given(o))
		return 0;
	if (!json_is_object(o) || !type)
		return param_type_error(e, "response_format", "an object with a string 'type'");
	if (other)
		return req_fail(e, 400, "response_format", "unknown_parameter", "unknown member '%.60s' of 'response_format'", other);
	if (strcmp(type, "text") == 0)
		return 0;
	if (strcmp(type, "json_schema") == 0)
		return read_json_schema(f, json_object_get(o, "json_schema"), e);
	if (strcmp(type, "json_object") == 0)
		return found(f, "response_format", GUIDE_SCHEMA, json_pack("{s:s}", "type", "object"), e);
	return req_fail(e, 400, "response_format", "unsupported_parameter", "a 'response_format' of type '%.60s' is not supported "
		"(text, json_object, json_schema)", type);
}

/* vLLM's: a schema may also be given as its text. */
static int
read_vllm(struct form *f, const char *param, enum guide_kind kind, json_t *v, struct req_error *e)
{
	json_error_t why;
	json_t *schema;

	if (!given(v))
		return 0;
	if (kind != GUIDE_SCHEMA || !json_is_string(v))
		return found(f, param, kind, json_incref(v), e);
	schema = json_loads(json_string_value(v), JSON_DECODE_ANY, &why);
	if (!schema)
		return req_fail(e, 400, param, "invalid_value", "'%s' is no valid JSON: %s", param, why.text);
	if (found(f, param, kind, schema, e) == 0)
		return 0;
	json_decref(schema);
	return -1;
}

static int
read_structured(struct form *f, json_t *o, struct req_error *e)
{
	static const char *const known[] = { "json", "regex", "choice", NULL };
	const char *other = param_stranger(o, known);

	if (!given(o))
		return 0;
	if (!json_is_object(o))
		return param_type_error(e, "structured_outputs", "an object");
	if (other)
		return req_fail(e, 400, "structured_outputs", "unsupported_parameter", "'structured_outputs' with '%.60s' is not supported", other);
	if (read_vllm(f, "structured_outputs.json", GUIDE_SCHEMA, json_object_get(o, "json"), e) < 0 ||
	    read_vllm(f, "structured_outputs.regex", GUIDE_REGEX, json_object_get(o, "regex"), e) < 0)
		return -1;
	return read_vllm(f, "structured_outputs.choice", GUIDE_CHOICE, json_object_get(o, "choice"), e);
}

int
form_read(struct guide **out, json_t *root, struct guides *all, struct req_error *e)
{
	struct form f = { 0 };
	struct err why;
	int rc = 0;

	*out = NULL;
	if (read_response_format(&f, json_object_get(root, "response_format"), e) < 0 ||
	    read_structured(&f, json_object_get(root, "structured_outputs"), e) < 0 ||
	    read_vllm(&f, "guided_json", GUIDE_SCHEMA, json_object_get(root, "guided_json"), e) < 0 ||
	    read_vllm(&f, "guided_regex", GUIDE_REGEX, json_object_get(root, "guided_regex"), e) < 0 ||
	    read_vllm(&f, "guided_choice", GUIDE_CHOICE, json_object_get(root, "guided_choice"), e) < 0)
		rc = -1;
	else if (f.param && !(*out = guides_get(all, f.kind, f.value, &why)))
		rc = req_fail(e, 400, f.param, "unsupported_schema", "'%s': %s", f.param, why.msg);
	json_decref(f.value);
	return rc;
}
