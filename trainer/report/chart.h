/* chart.h - the kinds of picture that the report has, as drawing functions for plot_figure() */
#ifndef SA_REPORT_CHART_H
#define SA_REPORT_CHART_H

#include "plot.h"
#include "report.h"

#define CURVE_POINTS 600	/* more steps than these are averaged in groups: a picture has no more columns */

#define COLOR_BEFORE "#c0762b"
#define COLOR_AFTER "#1f6f78"
#define COLOR_QUIET "#8a949e"

/* Horizontal bars with their counts, from the top. */
struct bars {
	const char **label;
	const char **brief;	/* labels for a narrow page; NULL: the same */
	double *value;
	size_t n;
};
plot_draw draw_bars;

/* How often values fall into equal bins of lo..hi (of log10 of them with `log`); one or two series side by side. */
struct histogram {
	const struct numbers *x[2];
	const char *name[2];	/* for the key; used with two series */
	double lo, hi;
	int bins;
	bool log;
	const char *xlabel, *ylabel;
};
plot_draw draw_histogram;

/* The loss, and below it the learning rate, over steps: struct training. */
plot_draw draw_training;

/* Curves of several runs over steps, over one another, with a key above. */
struct curve {
	const char *name;
	const struct numbers *x, *y;	/* as many; none: the run has no such curve */
	int color;			/* of the run, the same in all pictures */
};
struct curves {
	const struct curve *v;
	size_t n;
	const char *ylabel;
	bool from_zero, points;
};
plot_draw draw_curves;

/* Figures with intervals, one row each, before and after; 0..100. */
struct span {
	const char *label, *brief;
	double at[2], low[2], high[2];	/* NAN: there is none */
};
struct spans {
	const struct span *v;
	size_t n;
	const char *name[2];
};
plot_draw draw_spans;

#endif
