/* json.h - JSON as bytes: checking it, finding its members, writing it
 *
 * jansson reads values; this is what it cannot do: say where in the text each member lies, accept a number of any size, and write
 * a number by its shortest text. Pure. */
#ifndef SA_JSON_H
#define SA_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

/* Where one member of the outermost object lies. All are offsets into the text. */
struct json_span {
	uint32_t lead;		/* just behind the { or comma before it: the white space in front of the key */
	uint32_t key, key_end;	/* the key with its quotes */
	uint32_t value, value_end;
	uint32_t end;		/* the comma or } behind it */
};

/* The outermost object: where its braces are, and its members in order, duplicates included. Not to be copied: of an ordinary record the
 * members are in `few`. */
#define JSON_FEW 32
struct json_object {
	uint32_t open, close;
	bool escaped;		/* some key is written with a backslash */
	bool nul;		/* some string, in whatever depth, holds \u0000 */
	struct json_span *span;
	size_t n, cap;
	struct json_span few[JSON_FEW];
};

/* Check one object of less than 4 GiB as json_valid() does (rec.h), noting its members. 0, or -1 with why and at which byte. Either way
 * json_object_done() releases what the members took. */
int json_scan(const char *s, size_t n, struct json_object *o, struct err *e);
void json_object_done(struct json_object *o);

/* One value out of n bytes that json_scan() accepted; a new reference. NULL when jansson cannot hold it (1e400, NUL in a key). */
json_t *json_read(const char *s, size_t n);

/* Append a value, compact: the members in their order, strings as buf_json() has them, reals by their shortest text. 0 or -1. */
int json_write(struct buf *out, const json_t *v);

/* Append n bytes as a JSON string; those that are not UTF-8 become U+FFFD. 0 or -1, and then part of it may be there. */
int json_write_bytes(struct buf *out, const char *s, size_t n);

#endif
