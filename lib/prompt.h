/* prompt.h - prompt files: the messages that a stage sends, with places for the record's own text
 *
 *     # a comment (only before the first heading)
 *     --- system
 *     You are ...
 *     --- user
 *     Instruction: {prompt}
 *
 * A heading starts a message; its text runs to the next heading, without the newline before it. {name} is replaced by that
 * value as it is, {name:json} by the value as a JSON string with its quotes. Other braces stay as they are. A {name} that the stage
 * does not know is an error at load time, so a typo is found before money is spent; so is what is not UTF-8, or a NUL. Values are never scanned for names. */
#ifndef SA_PROMPT_H
#define SA_PROMPT_H

#include <stddef.h>

#include "buf.h"
#include "chat.h"
#include "err.h"

struct prompt;

/* From memory (`name` is for messages). `known` lists the names a file may use, NULL at its end. NULL with file, line and why. */
struct prompt *prompt_parse(const char *text, size_t n, const char *name, const char *const *known, struct err *e);
struct prompt *prompt_load(const char *path, const char *const *known, struct err *e);
void prompt_free(struct prompt *p);

struct value {
	const char *name;
	const char *text;
};

/* Fill in. *msgs (n of them, their texts too) are one allocation that prompt_done() frees. Values end with name == NULL; a name
 * without a value is replaced by nothing. */
struct msg *prompt_fill(const struct prompt *p, const struct value *values, size_t *n);
void prompt_done(struct msg *msgs, size_t n);

/* A file's bytes compiled into the program: EMBED(intent_txt, "filters/prompts/intent.txt") defines
 * `const char intent_txt[]` and `const char intent_txt_end[]`. The path is from the repository's root. */
#define EMBED(sym, path) \
	__asm__(".section .rodata\n.global " #sym "\n.global " #sym "_end\n" \
		#sym ":\n.incbin \"" path "\"\n" #sym "_end:\n.byte 0\n.previous\n"); \
	extern const char sym[], sym##_end[]

#endif
