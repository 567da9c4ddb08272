"""The engines that infer.py measures, each as its users would run it. One measurement, one process:

    engines.py have ENGINE                      status 0 when it is there; prints the version
    engines.py measure ENGINE WORK NAME DIR     one JSON line about the model DIR/NAME (DIR/NAME.gguf for llama.cpp)
    engines.py encode DIR FILE IDS              what bench-encode does, by Hugging Face's tokenizers

ENGINE is sa (sa-serve, from $PATH), hf-fp32 or hf-bf16 (transformers), llama.cpp (its library, by llama-cpp-python) or llama-server
(llama-cpp-python's HTTP server). Two threads, or $BENCH_THREADS.

WORK "one" is {"start","nll","ppl","decode","memory"}:
  start   seconds to the first token after a prompt of 32, the checkpoint in the page cache: of sa-serve and llama-server from the start of
          the process, of the libraries from the call that loads (importing is not counted)
  nll     mean -log p of the 512 fixed tokens, each given those before it
  ppl     prompt tokens a second: 512 of them in, the log-probability of each out (the median of three, after one that is not counted)
  decode  tokens a second of one greedy stream, 128 of them after a prompt of 32 (the same)
  memory  peak resident MiB beyond the file of the weights; of the libraries, beyond what the interpreter took before it loaded

WORK "N" (a number) is {"tokens","memory"}: N prompts of 128 tokens at once, 128 tokens out of each, all different; tokens out a second from
the first request to the last reply. HF: one batch through generate(). Servers: N connections.
"""
import array
import http.client
import importlib.util
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib import metadata

from mkmodel import SHAPES

THREADS = int(os.environ.get("BENCH_THREADS", 2))
TIMES = 3
OUT = 128
NEEDS = {"sa": [], "tokenizers": ["tokenizers"], "hf-fp32": ["torch", "transformers"], "hf-bf16": ["torch", "transformers"], "llama.cpp": ["llama_cpp_python"],
         "llama-server": ["llama_cpp_python", "fastapi", "uvicorn"]}


def tokens(name, n, seed):
    r, size = random.Random(seed), SHAPES[name]["vocab_size"]
    return [r.randrange(300, size - 300) for _ in range(n)]


def status_mib(what, pid="self"):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(what)) / 1024


def weights_mib(path):
    if os.path.isdir(path):
        return sum(os.path.getsize(f"{path}/{f}") for f in os.listdir(path) if f.endswith(".safetensors")) / 2**20
    return os.path.getsize(path) / 2**20


def timed(f, *args):
    t = time.perf_counter()
    f(*args)
    return time.perf_counter() - t


def median_rate(n, seconds):
    """n a second, of TIMES+1 runs; the first is not counted."""
    return n / statistics.median([seconds(i) for i in range(TIMES + 1)][1:])


def one(engine, name):
    """What an engine that has logprobs(ids) and greedy(ids, n) does with one request at a time."""
    result = dict(nll=-sum(engine.logprobs(tokens(name, 512, 0))) / 511)
    result["ppl"] = median_rate(512, lambda i: timed(engine.logprobs, tokens(name, 512, i)))
    # The prompt's time is another request's of the same length: nobody gains by remembering it.
    result["decode"] = median_rate(OUT, lambda i: timed(engine.greedy, tokens(name, 32, 2 * i), OUT + 1) - timed(engine.greedy, tokens(name, 32, 2 * i + 1), 1))
    return result


# ---- HTTP: sa-serve and llama-cpp-python's server ----

class Server:
    def __init__(self, command, path, url=None):
        self.weights = weights_mib(path)
        self.log = tempfile.TemporaryFile("w+")
        self.begun = time.perf_counter()
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log)
        self.port = url or self.port_said()

    def port_said(self):
        """sa-serve says on standard error where it is ready."""
        while self.process.poll() is None:
            said = re.search(r"http://127\.0\.0\.1:(\d+)", self.said())
            if said:
                return int(said[1])
            time.sleep(0.005)
        raise RuntimeError(self.said())

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def post(self, **body):
        while True:
            try:
                c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=900)
                c.request("POST", "/v1/completions", json.dumps(dict(model="bench", temperature=0, **body)), {"Content-Type": "application/json"})
                r = c.getresponse()
                reply = json.loads(r.read())
                if r.status != 200:
                    raise RuntimeError(str(reply)[:300])
                return reply
            except ConnectionRefusedError:   # not up yet
                if self.process.poll() is not None:
                    raise RuntimeError(self.said()) from None
                time.sleep(0.02)

    def logprobs(self, ids):
        return self.post(prompt=ids, max_tokens=0, echo=True, logprobs=0)["choices"][0]["logprobs"]["token_logprobs"][1:]

    def greedy(self, ids, n):
        use = self.post(prompt=self.prompt(ids), max_tokens=n, logit_bias=self.bias)["usage"]
        if (use["prompt_tokens"], use["completion_tokens"]) != (len(ids), n):
            raise RuntimeError(f"{use} where {len(ids)} and {n} were wanted")

    def first(self, ids):
        self.greedy(ids, 1)
        return time.perf_counter() - self.begun

    def together(self, prompts):
        threads = [threading.Thread(target=self.greedy, args=(ids, OUT)) for ids in prompts]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def memory(self):
        return status_mib("VmHWM", self.process.pid) - self.weights

    def close(self):
        self.process.terminate()
        self.process.wait()


class Sa(Server):
    bias = None

    @staticmethod
    def prompt(ids):
        return ids

    def __init__(self, name, models):
        path = f"{models}/{name}"
        super().__init__(["sa-serve", path, "--name", "bench", "--template", "llama3", "--port", "0", "--threads", str(THREADS)], path)


class LlamaServer(Server):
    @staticmethod
    def prompt(ids):
        """It takes text only: letters, each one token with the space before it."""
        return "".join(" " + "etaoinshrdlcumwf"[i % 16] for i in ids)

    def __init__(self, name, models):
        path = f"{models}/{name}.gguf"
        self.bias = {str(SHAPES[name]["vocab_size"] - 1): -100}
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        super().__init__([sys.executable, "-m", "llama_cpp.server", "--model", path, "--host", "127.0.0.1", "--port", str(port), "--n_ctx", "2048",
                          "--n_threads", str(THREADS), "--n_threads_batch", str(THREADS), "--verbose", "false"], path, port)


# ---- libraries ----

class Library:
    def start(self, path):
        self.weights, self.before, self.begun = weights_mib(path), status_mib("VmRSS"), time.perf_counter()

    def first(self, ids):
        self.greedy(ids, 1)
        return time.perf_counter() - self.begun

    def memory(self):
        return status_mib("VmHWM") - self.before - self.weights

    def close(self):
        pass


class Hf(Library):
    def __init__(self, name, models, dtype):
        import torch
        import transformers

        self.torch = torch
        torch.set_num_threads(THREADS)
        torch.set_grad_enabled(False)
        transformers.utils.logging.disable_progress_bar()
        self.start(f"{models}/{name}")
        self.model = transformers.AutoModelForCausalLM.from_pretrained(f"{models}/{name}", dtype=getattr(torch, dtype)).eval()

    def logprobs(self, ids):
        ids = self.torch.tensor(ids)
        logits = self.model(ids[None], use_cache=False).logits[0, :-1]
        return (-self.torch.nn.functional.cross_entropy(logits.float(), ids[1:], reduction="none")).tolist()

    def greedy(self, ids, n):
        o = self.model(self.torch.tensor([ids]), use_cache=True, logits_to_keep=1)
        for _ in range(n - 1):
            o = self.model(o.logits[:, -1].argmax(-1, keepdim=True), past_key_values=o.past_key_values, use_cache=True)
        o.logits[:, -1].argmax(-1).item()

    def together(self, prompts):
        ids = self.torch.tensor(prompts)
        self.model.generate(ids, attention_mask=self.torch.ones_like(ids), max_new_tokens=OUT, min_new_tokens=OUT, do_sample=False, pad_token_id=0)


class HfFp32(Hf):
    def __init__(self, name, models):
        super().__init__(name, models, "float32")


class HfBf16(Hf):
    def __init__(self, name, models):
        super().__init__(name, models, "bfloat16")


class Llama(Library):
    def __init__(self, name, models):
        import llama_cpp
        import numpy

        self.lib, self.np, self.size = llama_cpp, numpy, SHAPES[name]["vocab_size"]
        self.quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.quiet, None)
        llama_cpp.llama_backend_init()
        self.start(f"{models}/{name}.gguf")
        self.model = llama_cpp.llama_model_load_from_file(f"{models}/{name}.gguf".encode(), llama_cpp.llama_model_default_params())
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = 1024
        params.n_batch = params.n_ubatch = 512
        params.n_threads = params.n_threads_batch = THREADS
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        self.batch = llama_cpp.llama_batch_init(512, 0, 1)

    def run(self, ids, at, wanted):
        """Logits of the last `wanted` tokens."""
        b = self.batch
        b.n_tokens = len(ids)
        for i, t in enumerate(ids):
            b.token[i], b.pos[i], b.n_seq_id[i], b.seq_id[i][0], b.logits[i] = t, at + i, 1, 0, i >= len(ids) - wanted
        if self.lib.llama_decode(self.context, b) != 0:
            raise RuntimeError("llama_decode")
        return self.np.ctypeslib.as_array(self.lib.llama_get_logits(self.context), shape=(wanted, self.size))

    def clear(self):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)

    def logprobs(self, ids):
        self.clear()
        logits = self.run(ids, 0, len(ids))
        out = []
        for row, target in zip(logits[:-1], ids[1:]):
            top = row.max()
            out.append(float(row[target] - top - self.np.log(self.np.exp(row - top).sum())))
        return out

    def greedy(self, ids, n):
        self.clear()
        at = len(ids)
        token = int(self.run(ids, 0, 1).argmax())
        for i in range(n - 1):
            token = int(self.run([token], at + i, 1).argmax())


ENGINES = {"sa": Sa, "hf-fp32": HfFp32, "hf-bf16": HfBf16, "llama.cpp": Llama, "llama-server": LlamaServer}


def version(engine):
    for name in NEEDS[engine]:
        if not importlib.util.find_spec({"llama_cpp_python": "llama_cpp"}.get(name, name)):
            return None
    return " ".join(f"{name} {metadata.version(name)}" for name in NEEDS[engine]) or "Python " + sys.version.split()[0]


def measure(engine, work, name, models):
    e = ENGINES[engine](name, models)
    try:
        start = e.first(tokens(name, 32, 99))
        if work == "one":
            result = dict(start=start, **one(e, name))
        else:
            n = int(work)
            result = dict(tokens=n * OUT / timed(e.together, [tokens(name, 128, 100 + i) for i in range(n)]))
        return dict(result, memory=e.memory())
    finally:
        e.close()


def encode(path, text, ids):
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from tokenizers import Tokenizer

    t, least = Tokenizer.from_file(path + "/tokenizer.json"), float("inf")
    t.encode_special_tokens = True
    with open(text, newline="") as f:
        text = f.read()
    for _ in range(TIMES):
        begun = time.process_time()
        out = t.encode(text, add_special_tokens=False).ids
        least = min(least, time.process_time() - begun)
    with open(ids, "wb") as f:
        array.array("i", out).tofile(f)
    return dict(bytes=len(text.encode()), ids=len(out), seconds=least)


def main(what, engine, *args):
    if what == "encode":
        print(json.dumps(encode(engine, *args)))
    elif what == "have":
        print(version(engine) or sys.exit(1))
    else:
        print(json.dumps(measure(engine, *args)))


if __name__ == "__main__":
    main(*sys.argv[1:])
