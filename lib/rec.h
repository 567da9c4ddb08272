/* rec.h - one record: the user's bytes, and what we add
 *
 * A record keeps the line as it came, by a reference to the block where it lies. Reading a member parses it once; writing one appends to (or replaces in) a list of
 * edits, and rec_write() splices them into the original bytes. So members that we do not own keep their order, escapes,
 * number text and duplicates: for every valid line and no edits, output == input.
 *
 * Where a member is there twice, the last one counts (as in jansson and jq) and is the one that an edit replaces.
 *
 * Lifetime: made by rec_take() from a line in a block, or by rec_parse() from one that is copied; freed by rec_free(). A record that will
 * wait for something calls rec_own(), so that it does not hold the block with all the other lines in it. Strings that rec_text() returns belong to
 * the record and live until it is freed or that member is put again. Not thread-safe; one loop owns it. */
#ifndef SA_REC_H
#define SA_REC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "block.h"
#include "buf.h"
#include "err.h"

#define REC_DEPTH 2048	/* deepest nesting accepted */

struct rec;

/* Why a record failed; sa-record(5) has the words (rec_class_name). */
enum rec_class {
	BAD_RECORD, RATE, NET, SERVER, BAD_REQUEST, AUTH, BLOCKED, TRUNCATED, UNPARSED, BUDGET
};
const char *rec_class_name(enum rec_class c);

/* Parse `line` (n bytes, no newline): RFC 8259 strictly, valid UTF-8, an object. NULL with why and at which byte (from 1) in *e. */
struct rec *rec_parse(const char *line, size_t n, struct err *e);
/* The same of a line in a block, with a newline behind it (line[n]): the record holds the block, nothing is copied. */
struct rec *rec_take(struct block *b, const char *line, size_t n, struct err *e);
void rec_own(struct rec *r);	/* from now on hold the line alone, not the block that it came in */
void rec_free(struct rec *r);

bool rec_holds_nul(const struct rec *r);	/* \u0000 in some string of the line as it came */
bool rec_has(const struct rec *r, const char *name);	/* there and not null, edits included */
const char *rec_text(struct rec *r, const char *name);	/* NULL unless a string */
size_t rec_text_len(struct rec *r, const char *name);	/* bytes of it (it may hold NULs) */
json_t *rec_get(struct rec *r, const char *name);	/* borrowed; NULL when absent or past jansson (1e400); do not change it */
bool rec_num(struct rec *r, const char *name, double *out);

void put_text(struct rec *r, const char *name, const char *s);
void put_num(struct rec *r, const char *name, double x);	/* shortest text that reads back the same; null when not finite */
void put_int(struct rec *r, const char *name, long long x);
void put_json(struct rec *r, const char *name, json_t *v);	/* takes the reference; written compact, key order kept */
void rec_revert(struct rec *r);	/* nothing was put or deleted after all */
void rec_del(struct rec *r, const char *name);	/* every member of that name */

/* The record's identity: its `id` as text, else 16 hex digits of a hash (XXH3) of its `prompt`, else of the line.
 * Settled by the first call, so that it stays the same while the record is worked on; lives as long as the record. */
const char *rec_id(struct rec *r);

/* Mark as failed: puts sa_error {stage, class, message, attempts, http}. attempts and http are left out when 0. */
void rec_fail(struct rec *r, const char *stage, enum rec_class c, const char *message, int attempts, int http);
/* The stage that failed on it (sa_error.stage), or NULL. */
const char *rec_failed_by(struct rec *r);

/* Append the record as one line, with its newline. 0, or -1 when out->max would be passed. */
int rec_write(struct rec *r, struct buf *out);

/* The record as one line, with its newline. Without edits that is where it came from. The reference is the caller's. */
struct slice rec_line(struct rec *r);

/* Append {"sa_error":{...},"raw":"..."} for a line that is no record. Bytes that are not UTF-8 become U+FFFD. */
int rec_wrap(const char *line, size_t n, const char *stage, const char *message, struct buf *out);

/* RFC 8259 check of one value: 0, or -1 with why and at which byte. Pure; used by the fuzzers. */
int json_valid(const char *s, size_t n, struct err *e);

#endif
