# The results of filters.sh (one JSON object a line) as Markdown.

def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;

# 1234567.8 -> "1,234,568"; small ones keep three digits.
def places($d): pow(10; $d) as $f | . * $f | round / $f | tostring;
def thousands: if length > 3 then (.[:-3] | thousands) + "," + .[-3:] else . end;
def figure:
	if . == null then "-"
	elif . < 0 then "-" + (-. | figure)
	elif . >= 100 then round | tostring | thousands
	elif . >= 10 then places(1)
	else places(2) end;
def range: if length == 0 then "-" else "\(median | figure) (\(min | figure) .. \(max | figure))" end;
def mib: . / 1024 | figure;
def row: "| " + join(" | ") + " |";
def heads: row, (map("---") | row);

def title: {"openai": "AsyncOpenAI", "openai-aiohttp": "AsyncOpenAI, aiohttp", "curator": "bespokelabs-curator", "cat": "cat \\| cat", "jq": "jq -c .",
	"miller": "Miller cat", "json": "python json loads+dumps", "orjson": "python orjson loads+dumps"}[.] // .;

. as $all
| def of($client; $ms; $c): $all | map(select(.kind == "requests" and .client == $client and .ms == $ms and .c == $c));
def get(rows; f): rows | map(f) | if length == 0 then null else median end;
def cpu($client): get(of($client; 0; 64); .cpu);
def rate($client): get(of($client; 0; 64); .rate);
def mb($client): get($all | map(select(.kind == "pass" and .client == $client)); .mb);
def over($a; $b): if $a and $b then $a / $b else null end;
def percent: if . then . * 100 else null end;
def with_unit($unit): if . then figure + $unit else "-" end;
def ideal($client): over(get(of($client; 50; 256); .rate); 5120) | percent;
def best: [cpu("openai"), cpu("openai-aiohttp")] | map(select(.)) | min;

# A target: what, the bound as text, the two filters' figures, and whether a figure meets it; both have to.
def target($what; $bound; $unit; figures; meets):
	(figures) as $f
	| [$what, $bound, ($f | map(with_unit($unit)) | .[]),
	   (if $f | any(. == null) then "not measured" elif $f | all(meets) then "yes" else "no" end)] | row;
def both(f): [("sa-judge", "sa-regen") | f];
def resident($client): $all | map(select(.kind == "requests" and .client == $client and .c == 64) | .rss / 1024) | max;
def first($client): $all | map(select(.kind == "requests" and .client == $client and .c == 64) | .first) | max;

"# How fast the filters are, beside their peers", "",
"Made by `make bench` (tests/bench/filters.sh) on \($date); not to be edited. \(if $quick != "" then "A quick run: these are no figures to quote." else "" end)", "",
"- Machine: \($cpu), \($cores) cores, \($memory); \($system), \($kernel). Load at the start \($begun), at the end \($ended), its own included.",
"- Versions: \($versions | rtrimstr("\n") | split("\n") | join(", ")).",
(if $missing != "" then "- Left out, as not installed: \($missing | rtrimstr("\n") | split("\n") | join(", "))." else empty end),
"- Each figure is the median of \($repeats), with the least and the most; the repeats of all clients are interleaved.", "",

"## Targets", "",
"At 64 in flight against the server that answers at once, where nothing else is said; the ratios are of medians.", "",
(["target", "bound", "sa-judge", "sa-regen", "met"] | heads),
target("CPU a request, times wrk's (aim: 2)"; "at most 3"; ""; both(over(cpu(.); cpu("wrk"))); . <= 3),
target("CPU a request, part of aiohttp's"; "at most 1/3 = 0.33"; ""; both(over(cpu(.); cpu("aiohttp"))); . <= 1 / 3),
target("AsyncOpenAI's best CPU a request, times ours"; "at least 40"; ""; both(over(best; cpu(.))); . >= 40),
target("requests/s, times aiohttp's"; "at least 3"; ""; both(over(rate(.); rate("aiohttp"))); . >= 3),
target("requests/s at 256 in flight, replies after 50 ms, of the ideal 5,120 (wrk: \(ideal("wrk") | figure)%)"; "at least 95%"; "%"; both(ideal(.)); . >= 95),
target("finished records, MB/s, times jq -c .'s"; "at least 6"; ""; both(over(mb(.); mb("jq"))); . >= 6),
target("finished records, MB/s, times orjson loads+dumps'"; "at least 1"; ""; both(over(mb(.); mb("orjson"))); . >= 1),
target("finished records, MB/s, part of cat \\| cat's (aim)"; "at least 15%"; "%"; both(over(mb(.); mb("cat")) | percent); . >= 15),
target("most memory resident at 64 in flight"; "at most 16 MiB"; " MiB"; both(resident(.)); . <= 16),
target("latest first output after the first reply"; "at most 10 ms"; " ms"; both(first(.)); . <= 10), "",

"## Requests", "",
"A chat server on loopback (tests/bench/server.c), its own CPU not counted. The filters read, ask about and write whole records: `sa-judge -w responses` and `sa-regen`, `-j N`, one request a record, into a pipe; counted",
"from their start to their end by `bench-timed`. wrk (`-t1 -cN -d\($secs)s`, a lua script that sets the body) and the Python clients (tests/bench/clients.py) post the body that sa-judge does, and neither read nor write",
"records; of the Python clients importing is not counted, of distilabel and curator the pipeline from its start is. RSS is the peak of the largest process.", "",
(["in flight", "replies", "client", "requests/s", "CPU us/request", "RSS MiB", "first output, ms after the start (after the first reply)", "requests", "errors", "load"] | heads),
($all | map(select(.kind == "requests")) | group_by([.ms, .c])[] | group_by(.client)
	| sort_by(.[0].client as $client | ["wrk", "sa-judge", "sa-regen", "aiohttp", "openai", "openai-aiohttp", "litellm", "distilabel", "curator"] | index($client))[]
	| [(.[0].c | tostring | thousands), (if .[0].ms == 0 then "at once" else "after \(.[0].ms) ms" end), (.[0].client | title), (map(.rate) | range),
	   (map(.cpu) | range), (map(.rss) | max | mib), (if .[0].first then "\(map(.first + .begin) | median | figure) (\(map(.first) | median | figure))" else "-" end), (map(.n) | max | figure),
	   (map(.errors) | add | tostring), (map(.load) | max | tostring)] | row), "",

"## Finished records", "",
"Records that need no request, through each tool and a `cat` behind it, all on core \($core) (`taskset -c \($core) sh -c 'TOOL | cat >/dev/null' <records`).", "",
(["tool", "MB/s", "part of cat \\| cat", "RSS MiB"] | heads),
($all | map(select(.kind == "pass")) | group_by(.client) | sort_by(-(map(.mb) | median))[]
	| [(.[0].client | title), (map(.mb) | range), (over((map(.mb) | median); mb("cat")) | percent | with_unit("%")), (map(.rss) | max | mib)] | row)
