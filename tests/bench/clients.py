"""The peers of the filters: Python clients of an OpenAI-compatible server, each as short as its users would write it.

    clients.py have CLIENT                  status 0 when what CLIENT needs is installed; prints the version
    clients.py ask CLIENT BODY N C URL      N requests, C in flight, with the messages of the request in the file BODY; one line of JSON
    clients.py pass json|orjson             records from standard input to standard output, parsed and written again

"ask" prints {"rate","cpu","rss","errors"}: requests a second, CPU microseconds (user and system, children included) a request, peak resident
KiB of the largest process, and requests without a reply. Kept in the clients' favour: importing and building the client is not counted, nor do
they read or write records. distilabel and curator are counted from the start of the pipeline, as its user pays for it.
"""
import asyncio
import json
import os
import resource
import sys
import time
from importlib import metadata

PARAMS = {"temperature": 0, "max_tokens": 64}
NEEDS = {  # client: the packages it takes
    "aiohttp": ["aiohttp"], "openai": ["openai"], "openai-aiohttp": ["openai", "aiohttp"], "litellm": ["litellm"],
    "distilabel": ["distilabel", "openai"], "curator": ["bespokelabs-curator"], "orjson": ["orjson"], "json": [],
}
QUIET = {  # no telemetry, no look-ups outside, no caches
    "LITELLM_LOCAL_MODEL_COST_MAP": "True", "TELEMETRY_ENABLED": "false", "ANONYMIZED_TELEMETRY": "false", "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1", "CURATOR_DISABLE_CACHE": "true", "DISTILABEL_LOG_LEVEL": "WARNING", "OPENAI_API_KEY": "none",
}


def cpu():
    use = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in use)


async def drive(call, n, c):
    """Call n times, c at once: seconds, CPU seconds and how many failed."""
    todo, failed = iter(range(n)), 0

    async def worker():
        nonlocal failed
        for _ in todo:
            try:
                if not await call():
                    failed += 1
            except Exception as e:
                failed += 1
                if failed < 3:
                    print(repr(e)[:300], file=sys.stderr)

    wall, used = time.perf_counter(), cpu()
    await asyncio.gather(*(worker() for _ in range(c)))
    return time.perf_counter() - wall, cpu() - used, failed


async def ask_aiohttp(body, n, c, url):
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=c)) as session:
        async def call():
            async with session.post(url + "/chat/completions", json=body) as r:
                return (await r.json())["choices"][0]["message"]["content"]
        return await drive(call, n, c)


async def ask_openai(body, n, c, url, http_client=None):
    import openai

    async with openai.AsyncOpenAI(base_url=url, api_key="none", http_client=http_client) as client:
        async def call():
            return (await client.chat.completions.create(**body)).choices[0].message.content
        return await drive(call, n, c)


async def ask_openai_aiohttp(*args):
    import openai

    return await ask_openai(*args, openai.DefaultAioHttpClient())


async def ask_litellm(body, n, c, url):
    import litellm

    litellm.suppress_debug_info = True
    body = dict(body, model="openai/" + body["model"])

    async def call():
        return (await litellm.acompletion(api_base=url, api_key="none", **body)).choices[0].message.content
    return await drive(call, n, c)


def ask_distilabel(body, n, c, url):
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    system, user = (m["content"] for m in body["messages"])
    with Pipeline(name="bench", cache_dir=os.environ["BENCH_TMP"] + "/distilabel") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": user, "system_prompt": system}] * n, batch_size=c)
        llm = OpenAILLM(model=body["model"], base_url=url, api_key="none", generation_kwargs={"temperature": 0, "max_new_tokens": 64})
        load >> TextGeneration(llm=llm, input_batch_size=c)
    wall, used = time.perf_counter(), cpu()
    got = pipeline.run(use_cache=False)["default"]["train"]["generation"]
    return time.perf_counter() - wall, cpu() - used, n - sum(text is not None for text in got)


def ask_curator(body, n, c, url):
    import tiktoken

    class Tokens:  # its vocabularies are downloaded at run time; four characters count as a token instead, which flatters
        def encode(self, text, *args, **kw):
            return [0] * (len(text) // 4 + 1)
        encode_ordinary = encode

    tiktoken.get_encoding = tiktoken.encoding_for_model = lambda *args, **kw: Tokens()
    os.environ["CURATOR_CACHE_DIR"] = os.environ["BENCH_TMP"] + "/curator"
    from bespokelabs import curator
    from datasets import Dataset

    class Ask(curator.LLM):
        def prompt(self, row):
            return body["messages"]

        def parse(self, row, reply):
            return {"text": reply}

    limits = {"max_requests_per_minute": 10**8, "max_tokens_per_minute": 10**11, "max_concurrent_requests": c}
    ask = Ask(model_name="gpt-4o-mini", backend="openai", backend_params=dict(limits, base_url=url, in_mtok_cost=0, out_mtok_cost=0),
              generation_params=PARAMS)
    wall, used = time.perf_counter(), cpu()
    got = ask(Dataset.from_list([{"i": i} for i in range(n)]))
    return time.perf_counter() - wall, cpu() - used, n - len(getattr(got, "dataset", got))


def ask(client, path, n, c, url):
    os.environ.update(QUIET)
    with open(path) as f:
        body = dict(PARAMS, model="bench", messages=json.load(f)["messages"])
    result = globals()["ask_" + client.replace("-", "_")](body, n, c, url)
    wall, used, failed = asyncio.run(result) if asyncio.iscoroutine(result) else result
    rss = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"rate": n / wall, "cpu": used / n * 1e6, "rss": rss, "errors": failed}))


def through(loads, dumps):
    write = sys.stdout.buffer.write
    for line in sys.stdin.buffer:
        write(dumps(loads(line)) + b"\n")


def main(what, client, *args):
    if what == "have":
        try:
            versions = [f"{name} {metadata.version(name)}" for name in NEEDS[client]]
            print(versions[0] if versions else "python " + sys.version.split()[0])
        except metadata.PackageNotFoundError:
            sys.exit(1)
    elif what == "ask":
        ask(client, args[0], int(args[1]), int(args[2]), args[3])
    elif client == "orjson":
        import orjson
        through(orjson.loads, orjson.dumps)
    else:
        through(json.loads, lambda x: json.dumps(x, ensure_ascii=False, separators=(",", ":")).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
