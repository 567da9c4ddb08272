/* events.h - the run for TensorBoard: an event file of scalars
 *
 * TFRecord framing: uint64 length, masked CRC-32C of it, data, masked CRC-32C of the data, little-endian; the data is an Event of tensorflow's
 * event.proto, a few fields of it written by hand. Tags are those of transformers: train/loss, train/learning_rate, train/grad_norm, eval/loss. */
#ifndef SA_EVENTS_H
#define SA_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct events {
	int fd;		/* -1: there is none */
	char *path;
};

struct scalar {
	const char *tag;
	double value;
};

/* A new file in `dir`, which is made where it is not there. A run that goes on after `step` > 0 has TensorBoard forget later steps of earlier files.
 * 0, or -1 with a message. */
int events_open(struct events *ev, const char *dir, long step, struct err *e);
/* n scalars of one step. 0, or -1 with a message; nothing when there is no file. */
int events_add(struct events *ev, long step, const struct scalar *s, size_t n, struct err *e);
void events_close(struct events *ev);

/* CRC-32C (Castagnoli) of n bytes. */
uint32_t crc32c(const void *p, size_t n);

#endif
