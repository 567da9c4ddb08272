/* plot.h - pictures: a gnuplot script goes in, an SVG element that fits into a page comes out
 *
 * Text from records never reaches gnuplot: plot_label() keeps it and gives the script a placeholder, which is replaced by the escaped
 * text in the finished SVG. Identifiers are made unique to the picture, since all share one page. gnuplot runs as a child with no
 * start-up file and no terminal. */
#ifndef SA_REPORT_PLOT_H
#define SA_REPORT_PLOT_H

#include "buf.h"
#include "err.h"

struct plot {
	struct buf script;
	char **label;
	size_t labels;
	int width, height;	/* pixels */
};

/* How a picture is drawn: adds to p->script what follows the common settings; p->width is given, p->height may be set. */
typedef void plot_draw(struct plot *p, const void *data);

/* The placeholder of a text, quoted for the script. Valid until the next call. */
const char *plot_label(struct plot *p, const char *text);

/* Append <figure>: the picture drawn for a wide and for a narrow page (a style sheet shows one), `alt` for who cannot see it, and the
 * caption (text, not HTML). 0, or -1 with a message that names gnuplot. */
int plot_figure(struct buf *page, const char *alt, const char *caption, plot_draw *draw, const void *data, struct err *e);

/* Width in pixels of a text as the pictures' 13 px font sets it, roughly: Han characters are as wide as high. */
int plot_text_width(const char *text);

#define PLOT_WIDE 820
#define PLOT_NARROW 350

#endif
