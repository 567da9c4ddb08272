#!/usr/bin/env python3
"""train.py BUILD OUT.md - how fast sa-train is beside torch and transformers, as a table in OUT.md (`make bench-train`)

What is measured: steps of full fine-tuning (forward, backward, clipping, AdamW), four samples of 512 tokens each, all tokens supervised, the same weights
and the same samples for all, so that the losses of the steps must be the same too. Every measurement is a process of its own, the repeats of all
interleaved. torch is taken as its users run it: transformers' model, fused AdamW; fp32, autocast (fp32 weights, products in bf16), and all in bf16
(weights, gradients and moments; what lr 6e-7 does not train at all). Without torch and transformers (tests/bench/setup.sh) sa-train is measured alone,
and the table says so. About 15 minutes and 4 GiB of memory; the machine should be quiet. Each measurement is left in BUILD/bench-train.ndjson.

    BENCH_PYTHON=PYTHON    with the peers (default: the one that setup.sh made, else this one)
    BENCH_MODELS=DIR       where the models are or are made (default: BUILD/bench-models)
    BENCH_BIG=1            also m1b, Llama-3.2-1B's shape: two steps of one sample of 2,048 tokens, torch in bf16 alone (in fp32 it needs more than 24 GiB);
                           22 GiB of memory, once
    BENCH_ONLY=REGEX       only the measurements "MODEL ENGINE" that match, such as 'm60m (sa|torch)-bf16'
    BENCH_THREADS=2        threads of each engine
    BENCH_ALONE=COMMAND    put before each measurement: what keeps the machine quiet meanwhile
    REPEATS=3              of each measurement; the table shows the median, the least and the most
"""
import json
import os
import random
import re
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

from infer import ROOT, figure, first_line, heads, load, machine, median_of, over, percent, row, run_all, say, spread
from mkmodel import SHAPES, parameters

HERE = os.path.dirname(os.path.abspath(__file__))
ENGINES = {"sa-f32": "sa-train, f32", "sa-bf16": "sa-train, bf16", "torch-fp32": "torch, fp32", "torch-amp": "torch, autocast bf16", "torch-bf16": "torch, bf16"}
# Samples, their tokens, steps of which the first is not counted.
WORK = {"m5m": (4, 512, 9), "m60m": (4, 512, 5), "m1b": (1, 2048, 2)}
LEARNING_RATE = 1e-4
THREADS = int(os.environ.get("BENCH_THREADS", 2))
REPEATS = int(os.environ.get("REPEATS", 3))


def texts(n):
    r = random.Random(1)
    return ["".join(r.choice("etaoinshrdlcumwfgyp     ") for _ in range(20000)) for _ in range(n)]


# ---- one measurement ----

def peak_mib(who):
    return resource.getrusage(who).ru_maxrss / 1024


def sa(model, name, compute):
    samples, length, steps = WORK[name]
    with tempfile.TemporaryDirectory() as to:
        with open(to + "/data.jsonl", "w") as f:
            f.writelines(json.dumps(dict(text=t)) + "\n" for t in texts(samples))
        # An epoch is one step over all samples: their order does not matter.
        command = ["sa-train", "--model", model, "--data", to + "/data.jsonl", "--out", to + "/out", "--batch", samples, "--accum", 1, "--cutoff", length,
                   "--epochs", steps, "--lr", LEARNING_RATE, "--schedule", "constant", "--warmup-ratio", 0, "--threads", THREADS, "--compute", compute]
        p = subprocess.run(map(str, command), capture_output=True, text=True)
        if p.returncode:
            sys.exit(p.stderr)
        with open(to + "/out/log.jsonl") as f:
            log = [json.loads(line) for line in f]
    return [s["seconds"] for s in log], [s["loss"] for s in log], peak_mib(resource.RUSAGE_CHILDREN)


def torch(model, name, kind):
    import torch as t
    import transformers

    samples, length, steps = WORK[name]
    t.set_num_threads(THREADS)
    tok = transformers.AutoTokenizer.from_pretrained(model)
    ids = t.tensor([tok.encode(x)[:length] for x in texts(samples)])
    m = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=t.bfloat16 if kind == "bf16" else t.float32)
    m.train()
    m.config.use_cache = False
    opt = t.optim.AdamW(m.parameters(), lr=LEARNING_RATE, weight_decay=0, fused=True)
    seconds, losses = [], []
    for _ in range(steps):
        begun = time.perf_counter()
        with t.autocast("cpu", t.bfloat16, enabled=kind == "amp"):
            loss = m(input_ids=ids, labels=ids).loss
        loss.backward()
        t.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        losses.append(loss.item())
        seconds.append(time.perf_counter() - begun)
    return seconds, losses, peak_mib(resource.RUSAGE_SELF)


def measure(engine, name, models):
    """One JSON line: tokens a second (the median of the steps but the first), peak resident MiB, the losses of the first step and of the last."""
    program, kind = engine.split("-")
    seconds, losses, memory = (sa if program == "sa" else torch)(f"{models}/{name}", name, kind)
    samples, length, _ = WORK[name]
    print(json.dumps(dict(tokens=samples * length / statistics.median(seconds[1:]), memory=memory, first=losses[0], last=losses[-1])))


# ---- all of them ----

class Bench:
    def __init__(self, build):
        self.build = os.path.abspath(build)
        made = self.build + "/bench-venv-infer/bin/python"
        self.python = os.environ.get("BENCH_PYTHON") or (made if os.path.exists(made) else sys.executable)
        self.models = os.environ.get("BENCH_MODELS") or self.build + "/bench-models"
        self.alone = shlex.split(os.environ.get("BENCH_ALONE", ""))
        self.only = re.compile(os.environ.get("BENCH_ONLY", ""))
        self.env = dict(os.environ, PATH=self.build + ":" + os.environ["PATH"], HF_HUB_OFFLINE="1", BENCH_THREADS=str(THREADS), OMP_NUM_THREADS=str(THREADS))
        self.names = ["m5m", "m60m"] + ["m1b"] * bool(os.environ.get("BENCH_BIG"))
        self.results, self.failed = [], set()
        p = subprocess.run([self.python, "-c", "import torch, transformers; print('torch', torch.__version__ + ', transformers', transformers.__version__)"],
                           capture_output=True, text=True)
        self.peers = None if p.returncode else p.stdout.strip()

    def prepare(self):
        os.makedirs(self.models, exist_ok=True)
        if self.peers:
            subprocess.run([self.python, HERE + "/mkmodel.py", *self.names, self.models], env=self.env, stderr=subprocess.DEVNULL)
        else:
            say("torch and transformers: not installed, left out")
        missing = [n for n in self.names if not os.path.exists(f"{self.models}/{n}/tokenizer.json")]
        if missing:
            sys.exit(f"bench: {self.models}: there is no {', '.join(missing)}, and torch, by which they are made, is not here")

    def keep(self, line, **more):
        self.results.append(dict(json.loads(line), **more))
        with open(self.build + "/bench-train.ndjson", "a") as f:
            f.write(json.dumps(self.results[-1]) + "\n")

    def roof(self):
        p = subprocess.run([*self.alone, self.build + "/bench-roof", str(THREADS)], capture_output=True, text=True, check=True)
        self.keep(p.stdout, engine="roof", load=load())

    def one(self, name, engine):
        cell = f"{name} {engine}"
        if cell in self.failed or not self.only.search(cell) or (engine.startswith("torch") and not self.peers):
            return
        if name == "m1b" and engine in ("torch-fp32", "torch-amp"):
            return
        say(cell)
        before = load()
        p = subprocess.run([*self.alone, self.python, __file__, "measure", engine, name, self.models], env=self.env, capture_output=True, text=True)
        if p.returncode:
            say(f"{cell}: {(p.stderr.strip() or 'failed').splitlines()[-1]}")
            self.failed.add(cell)
        else:
            self.keep(p.stdout.strip().splitlines()[-1], model=name, engine=engine, load=max(before, load()))

    def run(self):
        open(self.build + "/bench-train.ndjson", "w").close()
        for r in range(REPEATS):
            self.roof()
            for name in self.names:
                for engine in ENGINES:
                    if r == 0 or name != "m1b":
                        self.one(name, engine)


# ---- the table ----

class Table:
    def __init__(self, results):
        self.results = results
        roof = self.of(engine="roof")
        self.peak = dict(bf16=median_of(roof, "bf16"), f32=median_of(roof, "fp32"))

    def of(self, **what):
        return [r for r in self.results if all(r.get(k) == v for k, v in what.items())]

    def best(self, name, program, key, least=min):
        """Of a program's kinds the one with the most tokens a second; or `least` of its figures."""
        rates = {e: median_of(self.of(model=name, engine=e), "tokens") for e in ENGINES if e.startswith(program)}
        rates = {e: x for e, x in rates.items() if x is not None}
        if not rates:
            return None
        if key == "tokens":
            return max(rates.values())
        return least(median_of(self.of(model=name, engine=e), key) for e in rates)

    def names(self):
        return [n for n in WORK if self.of(model=n)]

    def targets(self):
        yield from heads("target", "bound", "figure", "met")
        for name in self.names():
            faster = over(self.best(name, "sa", "tokens"), self.best(name, "torch", "tokens"))
            yield row(f"{name}: tokens/s, times the best of torch's", "at least 1.5", "-" if faster is None else figure(faster) + "x",
                      "not measured" if faster is None else "yes" if faster >= 1.5 else "no")
            # The memory of the kind that is the fastest of ours, over the least of torch's.
            fastest = max((e for e in ENGINES if e.startswith("sa") and self.of(model=name, engine=e)), default=None,
                          key=lambda e: median_of(self.of(model=name, engine=e), "tokens"))
            less = over(median_of(self.of(model=name, engine=fastest), "memory") if fastest else None, self.best(name, "torch", "memory"))
            yield row(f"{name}: peak resident, times the least of torch's", "at most 0.7", "-" if less is None else figure(less) + "x",
                      "not measured" if less is None else "yes" if less <= 0.7 else "no")

    def part(self, name, engine, rate):
        """Of the peak of the products' kind: 6 operations a weight that a token is multiplied with, attention left out."""
        peak = self.peak.get("f32" if engine.endswith("32") else "bf16") or self.peak["f32"]
        return rate * 6 * parameters(name) / 1e9 / peak if peak else None

    def rows(self):
        yield from heads("model", "engine", "tokens/s", "of the peak", "peak resident, MiB", "first loss", "last loss", "load")
        for name in self.names():
            for engine in ENGINES:
                r = self.of(model=name, engine=engine)
                if r:
                    yield row(name, ENGINES[engine], spread(r, "tokens"), percent(self.part(name, engine, median_of(r, "tokens"))), spread(r, "memory"),
                              f"{median_of(r, 'first'):.4f}", f"{median_of(r, 'last'):.4f}", figure(max(x["load"] for x in r)))


def document(bench, begun):
    t = Table(bench.results)
    roof, busy = t.of(engine="roof"), max(r.get("load", 0) for r in bench.results)
    git = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    yield from ["# How fast sa-train is on a CPU, beside torch", "",
                f"Made by `make bench-train` (tests/bench/train.py) on {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}; not to be edited.", "",
                f"- Machine: {machine()}. Load at the start {begun:.2f}, at the end {load():.2f}, its own included.",
                f"- Measured in the same run, {THREADS} threads: bf16 products {spread(roof, 'bf16')} GFLOP/s, float {spread(roof, 'fp32')} GFLOP/s.",
                f"- Versions: sa {first_line(ROOT + '/lib/err.h', '#define SA_VERSION .(.*).$')}, commit {git}, {bench.peers or 'torch and transformers not installed'}."]
    if busy > THREADS + 0.7:
        yield f"- The machine was not quiet: other work ran beside the measurements (load up to {figure(busy)}). Compare the engines with each other; no figure is this machine's best."
    if bench.failed:
        yield f"- Failed: {', '.join(sorted(bench.failed))}."
    if bench.only.pattern:
        yield f"- Only what matches BENCH_ONLY='{bench.only.pattern}' was measured."
    yield from [f"- Each figure is the median of {REPEATS} processes{', of one of m1b' if 'm1b' in bench.names else ''}, with the least and the most; the repeats of all engines are interleaved.",
                "- Random weights of Llama shapes (mkmodel.py). m5m and m60m: four samples of 512 tokens a step." + (" m1b: one of 2,048." if "m1b" in bench.names else ""),
                "", "## Targets", "", *t.targets(), "", "## Figures", "",
                "What a step is: tests/bench/train.py. The peak is of float products for float ones, else of bf16 products; counted are 6 operations a weight and token, and nothing",
                "else. Peak resident memory is the process's, its program and libraries included. f32 and fp32, bf16 and autocast mean the same; \"torch, bf16\" has weights,",
                "gradients and moments in bf16 too: 8 bytes a weight and not 16, and no alternative at small learning rates.", "", *t.rows()]


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] == "measure":
        measure(*sys.argv[2:])
    elif len(sys.argv) == 3:
        run_all(Bench(sys.argv[1]), document, sys.argv[2])
    else:
        sys.exit(__doc__)
