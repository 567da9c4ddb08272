/* chart.c - see chart.h */

#include "chart.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROW 24		/* pixels a bar and its gap */
#define VALUE_ROOM 56	/* pixels for the number at the end of the longest bar */

static bool
narrow(const struct plot *p)
{
	return p->width < 500;
}

/* Left margin for the widest of the labels, at most half of the picture. Returns its pixels. */
static int
left_margin(struct plot *p, int widest)
{
	int px = widest + 14 < p->width / 2 ? widest + 14 : p->width / 2;

	buf_addf(&p->script, "set lmargin at screen %.4f\n", (double)px / p->width);
	return px;
}

/* A label cut to what the left margin takes. */
static const char *
fitting(struct plot *p, const char *label)
{
	static char cut[512];
	size_t n = strlen(label);

	if (plot_text_width(label) + 14 < p->width / 2 || n >= sizeof cut - 4)
		return label;
	strcpy(cut, label);
	while (n && plot_text_width(cut) + 24 > p->width / 2) {
		do
			n--;
		while (n && ((unsigned char)cut[n] & 0xC0) == 0x80);
		cut[n] = '\0';
	}
	strcat(cut, "…");
	return cut;
}

/* Row labels as y tics: row i at n - i. Returns the left margin in pixels. */
static int
row_tics(struct plot *p, size_t n, const char *(*label)(const void *, size_t), const void *data)
{
	int widest = 0;

	buf_adds(&p->script, "set ytics (");
	for (size_t i = 0; i < n; i++) {
		const char *text = fitting(p, label(data, i));

		if (plot_text_width(text) > widest)
			widest = plot_text_width(text);
		buf_addf(&p->script, "%s%s %zu", i ? ", " : "", plot_label(p, text), n - i);
	}
	buf_addf(&p->script, ")\nset yrange [0.4:%.1f]\nset grid noytics xtics\n", (double)n + 0.6);
	return left_margin(p, widest);
}

/* ---- bars ---- */

static const char *
bar_label(const void *data, size_t i)
{
	const struct bars *b = data;

	return b->label[i];
}

static const char *
bar_brief(const void *data, size_t i)
{
	const struct bars *b = data;

	return b->brief[i];
}

void
draw_bars(struct plot *p, const void *data)
{
	const struct bars *b = data;
	double most = 1;
	int room;

	for (size_t i = 0; i < b->n; i++)
		if (b->value[i] > most)
			most = b->value[i];
	p->height = (int)b->n * ROW + 8;
	room = p->width - row_tics(p, b->n, narrow(p) && b->brief ? bar_brief : bar_label, b);
	buf_addf(&p->script, "unset xtics\nunset grid\nset xrange [0:%.17g]\nset bmargin 0\nset tmargin 0\nset rmargin 0\n$d << EOD\n",
		most * room / (room - VALUE_ROOM));
	for (size_t i = 0; i < b->n; i++)
		buf_addf(&p->script, "%.17g %zu\n", b->value[i], b->n - i);
	buf_adds(&p->script, "EOD\nplot $d using (0):2:(0):1:($2-0.36):($2+0.36) with boxxyerror lc rgb '" COLOR_AFTER "' notitle,"
		" $d using 1:2:(sprintf('%.0f', $1)) with labels left offset char 0.6,0 textcolor rgb '#23292f' notitle\n");
}

/* ---- histograms ---- */

static void
count_bins(const struct histogram *h, const struct numbers *x, double *count)
{
	for (size_t i = 0; i < x->n; i++) {
		double v = h->log ? log10(x->v[i]) : x->v[i];
		double at = (v - h->lo) / (h->hi - h->lo) * h->bins + 1e-9;	/* 0.15 is 0.1499... and belongs to 0.15..0.2 */
		int bin = at < 0 ? 0 : at >= h->bins ? h->bins - 1 : (int)at;

		count[bin]++;
	}
}

/* One series as rows "left right count"; `part` of `parts` of each bin's width. */
static void
put_bins(struct plot *p, const struct histogram *h, int series, int parts)
{
	double *count = xcalloc((size_t)h->bins, sizeof *count), width = (h->hi - h->lo) / h->bins;

	count_bins(h, h->x[series], count);
	buf_addf(&p->script, "$d%d << EOD\n", series);
	for (int i = 0; i < h->bins; i++) {
		double left = h->lo + width * (i + 0.06 + 0.88 * series / parts), right = left + width * 0.88 / parts;

		buf_addf(&p->script, "%.9g %.9g %.0f\n", h->log ? pow(10, left) : left, h->log ? pow(10, right) : right, count[i]);
	}
	buf_adds(&p->script, "EOD\n");
	free(count);
}

/* 1, 2 and 5 of each decade that the axis holds; only 1 where they would run into each other. */
static void
log_tics(struct plot *p, const struct histogram *h)
{
	const char *sep = "";
	int steps = p->width / (h->hi - h->lo) < 160 ? 1 : 3;

	buf_adds(&p->script, "set logscale x\nset format x '%g'\nset xtics (");
	for (int decade = (int)floor(h->lo); decade <= (int)ceil(h->hi); decade++)
		for (int i = 0; i < steps; i++) {
			double x = pow(10, decade) * (i == 0 ? 1 : i == 1 ? 2 : 5);

			if (log10(x) < h->lo - 1e-9 || log10(x) > h->hi + 1e-9)
				continue;
			buf_addf(&p->script, "%s%.6g", sep, x);
			sep = ", ";
		}
	buf_adds(&p->script, ")\n");
}

void
draw_histogram(struct plot *p, const void *data)
{
	const struct histogram *h = data;
	int parts = h->x[1] ? 2 : 1;

	p->height = narrow(p) ? 240 : 300;
	for (int i = 0; i < parts; i++)
		put_bins(p, h, i, parts);
	if (h->log)
		log_tics(p, h);
	buf_addf(&p->script,
		"set xrange [%.9g:%.9g]\nset yrange [0:*]\nset grid noxtics ytics\nset format y '%%.0f'\n"
		"set key above left horizontal samplen 1 textcolor rgb '#23292f'\n"
		"set xlabel '%s'\nset ylabel '%s'\nset rmargin 2\n", h->log ? pow(10, h->lo) : h->lo, h->log ? pow(10, h->hi) : h->hi,
		h->xlabel, h->ylabel);
	buf_adds(&p->script, "plot ");
	for (int i = 0; i < parts; i++) {
		const char *color = parts == 2 && i == 0 ? COLOR_BEFORE : COLOR_AFTER;

		buf_addf(&p->script, "%s$d%d using 1:3:1:2:(0):3 with boxxyerror lc rgb '%s' ", i ? ", " : "", i, color);
		if (parts == 2)
			buf_addf(&p->script, "title '%s'", h->name[i]);
		else
			buf_adds(&p->script, "notitle");
	}
	buf_addc(&p->script, '\n');
}

/* ---- training ---- */

static void
put_curve(struct plot *p, const char *name, const struct numbers *x, const struct numbers *y)
{
	size_t group = (x->n + CURVE_POINTS - 1) / CURVE_POINTS;

	buf_addf(&p->script, "$%s << EOD\n", name);
	for (size_t i = 0; i < x->n; i += group) {
		double sx = 0, sy = 0;
		size_t n = i + group < x->n ? group : x->n - i;

		for (size_t k = i; k < i + n; k++) {
			sx += x->v[k];
			sy += y->v[k];
		}
		buf_addf(&p->script, "%.9g %.9g\n", sx / (double)n, sy / (double)n);
	}
	buf_adds(&p->script, "EOD\n");
}

void
draw_training(struct plot *p, const void *data)
{
	const struct training *t = data;
	bool lr = t->lr.n == t->step.n;
	double highest = 0;
	const char *last = t->step.n > 1 ? "" : " with points pt 7 ps 0.5";

	for (size_t i = 0; i < t->lr.n; i++)
		highest = fmax(highest, t->lr.v[i]);
	lr = lr && highest > 0;
	p->height = narrow(p) ? 320 : 420;
	put_curve(p, "loss", &t->step, &t->loss);
	if (lr)
		put_curve(p, "lr", &t->step, &t->lr);
	buf_addf(&p->script,
		"set xrange [*:*] noextend\nset yrange [0:*]\nset grid noxtics ytics\n"
		"set lmargin at screen %.4f\nset rmargin at screen %.4f\n", 78.0 / p->width,
		1 - 18.0 / p->width);
	if (!lr) {
		buf_addf(&p->script,
			"set xlabel 'step'\nset ylabel 'loss'\nplot $loss using 1:2%s lc rgb '" COLOR_AFTER "' lw 1.5 notitle\n",
			*last ? last : " with lines");
		return;
	}
	buf_addf(&p->script,
		"set multiplot\nset tmargin at screen 0.97\nset bmargin at screen 0.42\nset ylabel 'loss' offset 1\nset format x ''\n"
		"plot $loss using 1:2%s lc rgb '" COLOR_AFTER "' lw 1.5 notitle\n", *last ? last : " with lines");
	buf_addf(&p->script,
		"set tmargin at screen 0.36\nset bmargin at screen %.4f\nset ylabel 'learning rate' offset 1\nset xlabel 'step'\n"
		"set format x '%%.0f'\n"
		"set ytics ('0' 0, '%.2g' %.9g)\nset yrange [0:%.9g]\n", 60.0 / p->height, highest, highest, highest * 1.1);
	buf_addf(&p->script, "plot $lr using 1:2%s lc rgb '" COLOR_QUIET "' lw 1.5 notitle\nunset multiplot\n",
		*last ? last : " with lines");
}

/* Okabe and Ito's, told apart by who is colour-blind too, the darker ones first. */
static const char *const run_colors[] = { "#1f6f78", "#d55e00", "#7b4fa3", "#e69f00", "#0072b2", "#cc79a7", "#56b4e9", "#5a646e" };

void
draw_curves(struct plot *p, const void *data)
{
	const struct curves *c = data;
	const char *sep = "plot ";
	int shown = 0;
	char name[32];

	for (size_t i = 0; i < c->n; i++) {
		if (c->v[i].x->n == 0)
			continue;
		snprintf(name, sizeof name, "c%zu", i);
		put_curve(p, name, c->v[i].x, c->v[i].y);
		shown++;
	}
	p->height = (narrow(p) ? 240 : 340) + 20 * shown;
	buf_addf(&p->script,
		"set xrange [*:*] noextend\nset yrange [%s:*]\nset grid noxtics ytics\nset xlabel 'step'\n"
		"set label '%s' at screen %.4f,graph 0.5 center rotate by 90 textcolor rgb '#46505a'\n"
		"set format y '%%g'\nset lmargin at screen %.4f\nset rmargin at screen %.4f\nset key above left vertical maxcols 1 Left reverse samplen 2 textcolor rgb '#23292f'\n",
		c->from_zero ? "0" : "*", c->ylabel, 10.0 / p->width, 78.0 / p->width, 1 - 18.0 / p->width);
	for (size_t i = 0; i < c->n; i++) {
		const struct curve *v = &c->v[i];
		const char *color = run_colors[(size_t)v->color % (sizeof run_colors / sizeof *run_colors)];

		if (v->x->n == 0)
			continue;
		buf_addf(&p->script, "%s$c%zu using 1:2 with %s lc rgb '%s' lw 1.5%s title %s", sep, i, c->points || v->x->n == 1 ? "linespoints" : "lines", color,
			c->points || v->x->n == 1 ? " pt 7 ps 0.4" : "", plot_label(p, fitting(p, v->name)));
		sep = ", ";
	}
	buf_addc(&p->script, '\n');
}

/* ---- intervals ---- */

static const char *
span_label(const void *data, size_t i)
{
	const struct spans *s = data;

	return s->v[i].label;
}

static const char *
span_brief(const void *data, size_t i)
{
	const struct spans *s = data;

	return s->v[i].brief;
}

static void
put_spans(struct plot *p, const struct spans *s, int k, double offset)
{
	buf_addf(&p->script, "$s%d << EOD\n", k);
	for (size_t i = 0; i < s->n; i++)
		if (!isnan(s->v[i].at[k]))
			buf_addf(&p->script, "%.6g %.3f %.6g %.6g\n", s->v[i].at[k], (double)(s->n - i) + offset, s->v[i].low[k],
				s->v[i].high[k]);
	buf_adds(&p->script, "EOD\n");
}

static bool
has(const struct spans *s, int k)
{
	for (size_t i = 0; i < s->n; i++)
		if (!isnan(s->v[i].at[k]))
			return true;
	return false;
}

void
draw_spans(struct plot *p, const void *data)
{
	const struct spans *s = data;
	const char *color[2] = { COLOR_BEFORE, COLOR_AFTER };
	bool two = has(s, 0) && has(s, 1), first = true;

	p->height = (int)s->n * (two ? 30 : ROW) + 66;
	row_tics(p, s->n, narrow(p) ? span_brief : span_label, s);
	buf_addf(&p->script,
		"set xrange [0:100]\nset xtics %d\nset format x '%%.0f%%%%'\n"
		"set rmargin at screen %.4f\nset bmargin at screen %.4f\nset tmargin at screen %.4f\n"
		"set key at screen 0.5,screen %.4f center horizontal samplen 1 textcolor rgb '#23292f'\nset bars 0\n",
		narrow(p) ? 25 : 20, 1 - 22.0 / p->width, 30.0 / p->height, 1 - 32.0 / p->height, 1 - 14.0 / p->height);
	for (int k = 0; k < 2; k++)
		put_spans(p, s, k, two ? (k ? -0.17 : 0.17) : 0);
	buf_adds(&p->script, "plot ");
	for (int k = 0; k < 2; k++) {
		if (!has(s, k))
			continue;
		buf_addf(&p->script, "%s$s%d using 1:2:3:4 with xerrorbars pt %d ps 0.7 lw 1.6 lc rgb '%s' ", first ? "" : ", ", k,
			k ? 7 : 5, color[k]);
		first = false;
		if (two)
			buf_addf(&p->script, "title '%s'", s->name[k]);
		else
			buf_adds(&p->script, "notitle");
	}
	buf_addc(&p->script, '\n');
}
