#!/usr/bin/env python3
"""infer.py BUILD OUT.md - how fast sa-serve is beside its peers, as a table in OUT.md (`make bench-infer`)

All measurements of a table are of one run, the repeats of the engines interleaved; each is a process of its own (engines.py). An engine that is
not installed is left out, and the table says so. tests/bench/setup.sh installs the Python ones. About 40 minutes, 8 GiB of memory and, for the
models, 5 GB of disk; the machine should be quiet. Each single measurement is left in BUILD/bench-infer.ndjson.

    BENCH_PYTHON=PYTHON    with the peers (default: the one that setup.sh made, else this one)
    BENCH_MODELS=DIR       where the models are or are made (default: BUILD/bench-models)
    BENCH_ONLY=REGEX       only the measurements "MODEL ENGINE WORK" that match, such as 'm1b (sa|llama.cpp) one'
    BENCH_THREADS=2        threads of each engine
    BENCH_ALONE=COMMAND    put before each measurement: what keeps the machine quiet meanwhile
    REPEATS=3              of each measurement; the table shows the median, the least and the most
"""
import filecmp
import glob
import json
import os
import platform
import re
import shlex
import signal
import statistics
import subprocess
import sys
import time

from mkmodel import SHAPES, parameters

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = HERE + "/../.."
ENGINES = {"sa": "sa-serve", "hf-fp32": "transformers, fp32", "hf-bf16": "transformers, bf16", "llama.cpp": "llama.cpp, bf16",
           "llama-server": "llama-cpp-python's server, bf16", "tokenizers": "HF tokenizers"}
SINGLE = ["sa", "hf-fp32", "hf-bf16", "llama.cpp"]
MANY = ["sa", "hf-bf16", "llama-server"]
THREADS = os.environ.get("BENCH_THREADS", "2")
REPEATS = int(os.environ.get("REPEATS", 3))


def say(text):
    print("bench: " + text, file=sys.stderr, flush=True)


def load():
    return os.getloadavg()[0]


# ---- measuring ----

class Bench:
    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.python = os.environ.get("BENCH_PYTHON") or next((p for p in [self.build + "/bench-venv-infer/bin/python"] if os.path.exists(p)), sys.executable)
        self.models = os.environ.get("BENCH_MODELS") or self.build + "/bench-models"
        self.alone = shlex.split(os.environ.get("BENCH_ALONE", ""))
        self.only = re.compile(os.environ.get("BENCH_ONLY", ""))
        self.env = dict(os.environ, PATH=self.build + ":" + os.environ["PATH"], HF_HUB_OFFLINE="1", BENCH_THREADS=THREADS, OMP_NUM_THREADS=THREADS)
        self.results, self.failed = [], set()
        self.version = {e: self.engine("have", e, show=False) for e in ENGINES}

    def engine(self, *args, show=True, prefix=()):
        p = subprocess.run([*prefix, self.python, HERE + "/engines.py", *args], env=self.env, capture_output=True, text=True)
        if p.returncode and show:
            say(f"{' '.join(args)}: {(p.stderr.strip() or 'failed').splitlines()[-1]}")
        return None if p.returncode else p.stdout.strip().splitlines()[-1]

    def prepare(self):
        for e in ENGINES:
            if not self.version[e]:
                say(e + ": not installed, left out")
        os.makedirs(self.models, exist_ok=True)
        subprocess.run([self.python, HERE + "/mkmodel.py", *SHAPES, self.models], env=self.env)
        self.names = [n for n in SHAPES if os.path.exists(f"{self.models}/{n}/tokenizer.json")]

    def keep(self, line, **more):
        self.results.append(dict(json.loads(line), **more))
        with open(self.build + "/bench-infer.ndjson", "a") as f:
            f.write(json.dumps(self.results[-1]) + "\n")

    def roof(self):
        p = subprocess.run([*self.alone, self.build + "/bench-roof", THREADS], capture_output=True, text=True, check=True)
        self.keep(p.stdout, engine="roof", load=load())

    def measure(self, name, engine, work):
        cell = (name, engine, work)
        if not self.version[engine] or cell in self.failed or not self.only.search(" ".join(cell)):
            return
        say(" ".join(cell))
        before, line = load(), self.engine("measure", engine, work, name, self.models, prefix=self.alone)
        if line:
            self.keep(line, model=name, engine=engine, work=work, load=max(before, load()))
        else:
            self.failed.add(cell)

    def encode(self):
        """The pages and the conversations of this repository, some times over, by the bundled tokenizer, on one thread."""
        files = sorted([*glob.glob(ROOT + "/man/*"), *glob.glob(ROOT + "/tests/goldens/template/*.jsonl"), ROOT + "/README.md"])
        text, ids = self.build + "/bench-text", [self.build + "/bench-ids", self.build + "/bench-ids-peer"]
        with open(text, "wb") as out:
            for _ in range(10):
                for path in files:
                    with open(path, "rb") as f:
                        out.write(f.read())
        args = [ROOT + "/pipelines/nano/teacher", text]
        own = subprocess.run([*self.alone, self.build + "/bench-encode", *args, ids[0]], capture_output=True, text=True, check=True)
        self.keep(own.stdout, engine="encode")
        theirs = self.engine("encode", *args, ids[1], prefix=self.alone) if self.version["tokenizers"] else None
        if theirs:
            self.keep(theirs, engine="encode-peer", equal=filecmp.cmp(*ids, shallow=False))
        for path in [text, *ids]:
            if os.path.exists(path):
                os.unlink(path)

    def run(self):
        open(self.build + "/bench-infer.ndjson", "w").close()
        for r in range(REPEATS):
            self.roof()
            self.encode()
            for name in self.names:
                for engine in SINGLE:
                    self.measure(name, engine, "one")
                for work in "8", "32":
                    for engine in MANY:
                        if r == 0 or engine != "llama-server" or name != "m1b":   # minutes each, and one after the other whatever is asked
                            self.measure(name, engine, work)


# ---- the table ----

def figure(x):
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.1f}" if abs(x) >= 10 else f"{x:.2f}"


def median_of(rows, key):
    values = [r[key] for r in rows if r.get(key) is not None]
    return statistics.median(values) if values else None


def spread(rows, key):
    values = [r[key] for r in rows if r.get(key) is not None]
    return f"{figure(statistics.median(values))} ({figure(min(values))} .. {figure(max(values))})" if values else "-"


def over(a, b):
    return a / b if a is not None and b else None


def percent(x):
    return "-" if x is None else f"{100 * x:.0f}%"


def row(*cells):
    return "| " + " | ".join(cells) + " |"


def heads(*cells):
    return [row(*cells), row(*["---"] * len(cells))]


class Table:
    def __init__(self, results):
        self.results = results
        roof = self.of(engine="roof")
        self.peak = median_of(roof, "bf16") or median_of(roof, "fp32")
        self.bandwidth = max(median_of(roof, "read"), median_of(roof, "read_huge"))

    def of(self, **what):
        return [r for r in self.results if all(r.get(k) == v for k, v in what.items())]

    def get(self, name, engine, work, key):
        return median_of(self.of(model=name, engine=engine, work=work), key)

    def peak_part(self, name, rate):
        return None if rate is None else rate * 2 * parameters(name) / 1e9 / self.peak

    def bandwidth_part(self, name, rate):
        return None if rate is None else rate * 2 * parameters(name) / 1e9 / self.bandwidth

    def target(self, what, bound, ours, theirs, meets, unit="x"):
        """Ours over theirs (or the other way round, as the caller has it); theirs None: nothing to compare with."""
        ratio = over(ours, theirs)
        return row(what, bound, "-" if ratio is None else percent(ratio) if unit == "%" else figure(ratio) + unit,
                   "not measured" if ratio is None else "yes" if meets(ratio) else "no")

    def targets(self, name="m1b"):
        def one(key, *engines, best=max):
            values = [v for v in (self.get(name, e, "one", key) for e in engines) if v is not None]
            return best(values) if values else None

        def many(engine, n):
            return self.get(name, engine, n, "tokens")
        peers = SINGLE[1:]
        ppl, decode = one("ppl", "sa"), one("decode", "sa")
        yield from heads("target, " + name, "bound", "figure", "met")
        yield self.target("perplexity, tok/s, times the best peer's", "at least 1.2", ppl, one("ppl", *peers), lambda x: x >= 1.2)
        yield self.target("perplexity, part of the product peak", "at least 75%", self.peak_part(name, ppl), 1, lambda x: x >= 0.75, "%")
        yield self.target("decode of one stream, tok/s, times the best peer's", "at least 1.1", decode, one("decode", *peers), lambda x: x >= 1.1)
        yield self.target("decode of one stream, part of bandwidth/bytes", "at least 85%", self.bandwidth_part(name, decode), 1, lambda x: x >= 0.85, "%")
        for n in "8", "32":
            yield self.target(f"{n} requests at once, tok/s, times llama-cpp-python's server's", "at least 3", many("sa", n), many("llama-server", n), lambda x: x >= 3)
            yield self.target(f"{n} requests at once, tok/s, times transformers' batch", "at least 1.5", many("sa", n), many("hf-bf16", n), lambda x: x >= 1.5)
        yield self.target("start to first token, times llama.cpp's", "at most 1", one("start", "sa"), one("start", "llama.cpp"), lambda x: x <= 1)
        yield self.target("peak resident beyond the weights, times llama.cpp's", "at most 1", one("memory", "sa"), one("memory", "llama.cpp"), lambda x: x <= 1)
        nll = one("nll", "sa")
        apart = max((abs(nll - v) for v in (self.get(name, e, "one", "nll") for e in peers) if v is not None), default=None) if nll else None
        own, theirs = self.of(engine="encode"), self.of(engine="encode-peer")
        equal = bool(theirs) and all(r["equal"] for r in theirs)
        yield self.target("tokenizer on one thread, times HF tokenizers', ids " + ("equal" if equal else "not equal" if theirs else "not compared"), "at least 10",
                          median_of(theirs, "seconds"), median_of(own, "seconds"), lambda x: x >= 10 and equal)
        yield row("mean NLL of the fixed 512 tokens, most apart from a peer's", "at most 0.001", "-" if apart is None else f"{apart:.4f}",
                  "not measured" if apart is None else "yes" if apart <= 1e-3 else "no")

    def single(self):
        yield from heads("model", "engine", "perplexity, tok/s", "of the peak", "decode, tok/s", "of the bandwidth", "start, s", "beyond the weights, MiB", "NLL", "load")
        for name in SHAPES:
            for engine in SINGLE:
                rows = self.of(model=name, engine=engine, work="one")
                if rows:
                    parts = (self.peak_part(name, median_of(rows, "ppl")), self.bandwidth_part(name, median_of(rows, "decode")))
                    yield row(name, ENGINES[engine], spread(rows, "ppl"), percent(parts[0]), spread(rows, "decode"), percent(parts[1]), spread(rows, "start"),
                              spread(rows, "memory"), f"{median_of(rows, 'nll'):.4f}", figure(max(r["load"] for r in rows)))

    def many(self):
        yield from heads("model", "requests at once", "engine", "tok/s out", "beyond the weights, MiB", "repeats", "load")
        for name in SHAPES:
            for work in "8", "32":
                for engine in MANY:
                    rows = self.of(model=name, engine=engine, work=work)
                    if rows:
                        yield row(name, work, ENGINES[engine], spread(rows, "tokens"), spread(rows, "memory"), str(len(rows)), figure(max(r["load"] for r in rows)))


def first_line(path, pattern):
    with open(path) as f:
        return next((m[1] for m in map(re.compile(pattern).match, f) if m), "?")


def machine():
    flags = first_line("/proc/cpuinfo", r"flags\s*: (.*)").split()
    memory = int(first_line("/proc/meminfo", r"MemTotal:\s*(\d+)")) / 2**20
    system = first_line("/etc/os-release", r'PRETTY_NAME="(.*)"')
    has = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags]
    return f"{first_line('/proc/cpuinfo', 'model name[^:]*: (.*)')} ({', '.join(has)}), {os.cpu_count()} cores, {memory:.0f} GiB; {system}, Linux {platform.release()}"


def versions(bench):
    git = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    parts = [f"sa {first_line(ROOT + '/lib/err.h', '#define SA_VERSION .(.*).$')}", "commit " + git]
    parts += dict.fromkeys(v for e in ENGINES if e != "sa" and bench.version[e] for v in re.findall(r"\S+ \S+", bench.version[e]))
    return ", ".join(parts)


def document(bench, begun):
    t, roof = Table(bench.results), [r for r in bench.results if r["engine"] == "roof"]
    missing = [ENGINES[e] for e in ENGINES if not bench.version[e]]
    busy = max(r.get("load", 0) for r in bench.results)
    yield from ["# How fast sa-serve is, beside its peers", "",
                f"Made by `make bench-infer` (tests/bench/infer.py) on {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}; not to be edited.", "",
                f"- Machine: {machine()}. Load at the start {begun:.2f}, at the end {load():.2f}, its own included.",
                f"- Measured in the same run, {THREADS} threads: bf16 products {spread(roof, 'bf16')} GFLOP/s, float {spread(roof, 'fp32')} GFLOP/s; reading 1 GiB "
                f"from pages of 4 KiB {spread(roof, 'read')} GB/s, from huge ones {spread(roof, 'read_huge')} GB/s.",
                f"- Versions: {versions(bench)}."]
    if begun > 0.5:
        yield (f"- The machine was not quiet: other work ran beside the measurements (load up to {busy:.0f}). Compare the engines with each other; no figure is this "
               "machine's best.")
    if bench.only.pattern:
        yield f"- Only what matches BENCH_ONLY='{bench.only.pattern}' was measured."
    if missing:
        yield f"- Left out, as not installed: {', '.join(missing)}."
    if bench.failed:
        yield f"- Failed: {'; '.join(' '.join(c) for c in sorted(bench.failed))}."
    yield from [f"- Each figure is the median of {REPEATS} processes, with the least and the most; the repeats of all engines are interleaved.",
                "- Random weights of Llama shapes in bf16: m1b (Llama-3.2-1B's), m60m, m5m (mkmodel.py).", "", "## Targets", "", *t.targets(), "",
                "## One request at a time", "",
                "What is done is in tests/bench/engines.py. sa-serve over HTTP, the others inside their process. The peak is of bf16 products where the CPU has them, else of float ones;",
                "the bandwidth is the better of the two; both count the weights that a token is multiplied with, and nothing else.", "", *t.single(), "",
                "## Several at once", "", "128 tokens in and 128 out of each, all prompts different; tokens out a second from the first request to the last reply.", "", *t.many()]


def run_all(bench, document, out):
    """All that the bench measures, then its document; ended early, of what there is."""
    begun = load()
    if begun > 0.5:
        say(f"warning: the machine is not quiet (load {begun:.2f})")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    bench.prepare()
    try:
        bench.run()
    finally:
        if bench.results:
            text = "\n".join(document(bench, begun)) + "\n"
            with open(out, "w") as f:
                f.write(text)
            say("written: " + out)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    run_all(Bench(sys.argv[1]), document, sys.argv[2])
