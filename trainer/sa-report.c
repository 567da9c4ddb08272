/* sa-report - tables and pictures of a run, as one HTML file that needs nothing else
 *
 * Reads a run directory (stats/, judged.ndjson, sft.jsonl, train/log.jsonl, eval/), writes the page on standard output when all of it
 * is made. The parts are in trainer/report/. `loss` compares the training of several runs (trainer/report/loss.c). With --cache it tells about a cache of replies instead (trainer/report/cache.c). */

#include <stdio.h>
#include <string.h>

#include "opt.h"
#include "report.h"

#define PAGE_MAX ((size_t)256 << 20)

int
main(int argc, char **argv)
{
	struct buf page = BUF_INIT(PAGE_MAX);
	int status = STATUS_USAGE, operands;
	const char *cache = NULL;
	double days = -1;
	struct report r;
	struct err e;
	struct opt own[] = {
		{ "cache", 0, OPT_STR, &cache, "DIR", "show the size and age of this cache of replies instead", 0, 0 },
		{ "drop-older", 0, OPT_NUM, &days, "DAYS", "drop what has been in the cache for longer", 0, 36500 },
		{ 0 },
	};

	prog_init(argv[0]);
	operands = opt_parse(argc, argv, &(struct opt_usage){ .synopsis = "DIR >report.html | loss RUN ... >loss.html | --cache DIR [--drop-older DAYS]", .own = own,
		.about = "Writes tables and pictures of the run in DIR as one self-contained HTML file, the curves of several trainings over one another, or tells "
			"about a cache of replies." });
	if (operands > 1 && strcmp(argv[1], "loss") == 0 && !cache && days < 0)
		return report_loss(argv + 2, (size_t)operands - 1);
	if (cache && operands == 0)
		return report_cache(cache, days);
	if (cache || days >= 0 || operands != 1)
		die(STATUS_USAGE, "give one run directory, loss and the runs, or --cache DIR [--drop-older DAYS] (try --help)");
	if (report_load(&r, argv[1], &e) < 0 || report_write(&r, &page, &e) < 0)
		goto out;
	status = STATUS_OK;
	if (fwrite(page.p, 1, page.n, stdout) != page.n || fflush(stdout) != 0) {
		err_set(&e, "write error on standard output");
		status = STATUS_IO;
	}
out:
	if (status != STATUS_OK)
		warn("%s", e.msg);
	report_free(&r);
	buf_free(&page);
	return status;
}
