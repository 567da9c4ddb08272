/* serving_inside.h - inside the serving device: what its parts share
 *
 * Calls put work into the device's stream and return 0, or -1 with the message in the err that device.gpu.err points to. */
#ifndef SA_SERVING_INSIDE_H
#define SA_SERVING_INSIDE_H

#include "device.h"
#include "serving.h"
#include "serving_place.h"

struct serving {
	struct forward_device fd;
	struct device device;
	struct config c;
	struct serving_shape shape;	/* of c */
	struct serving_place place;
	int *packed;			/* [serving_tables()] on their way */
	float **to;			/* [tokens]: where the wanted logits go on the host */

	/* The slice that the tables hold. */
	int T, wanted;
	const int *ids, *pos, *rows;	/* in place.tables */
	struct gpu_kv kv;
};

/* ---- serving_pass.c ---- */

/* The layers, over the slice; x is then their last sum. */
int serving_layers(struct serving *g);
/* The logits of the wanted rows, to the host: they are there on return. */
int serving_head(struct serving *g);

#endif
