"""How quick the browser is over a study of 131,072 features with 20 excerpts each, and over its live bench.

    python benchmarks/browser.py [--features N] [--rounds N] [--study FOLDER] [--json] [--record]

A made-up study (benchmarks/synthetic_study.py), unless --study gives one; a real server (`saes browse`), asked as a browser
asks it. start_s: from the command to the first page. table_ms, feature_ms: medians over pages of the features table
(filters, sorts, searches, pages, each asked once: nothing is answered from memory because it was asked before) and over
features drawn at random, half of them labelled. memory_mb: the server's largest resident memory. first_token_ratio: on the
bundled model, seconds until the bench's first token (two rows, a clamp, levels of every label) over those of plain
generation, in turn, median.
"""

import argparse
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pyarrow.parquet as pq
from record import record
from synthetic_study import EXCERPTS, FEATURES, TOKENS, synthetic_study

from commands.places import find_study

PROMPT = "Lena closed the door of the old shop and walked home along the river, and when she came to the bridge she"
SORTS = ("latent", "-density", "density", "-peak", "-auroc", "effect", "-lexical", "concept", "status")
FILTERS: tuple[dict[str, str], ...] = (
    {},
    {"density_from": "0.001"},
    {"density_from": "0.002", "density_to": "0.01"},
    {"status": "validated"},
    {"status": "no label"},
    {"family": "fear"},
    {"concept": "afraid"},
    {"auroc_from": "0.85"},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=FEATURES)
    parser.add_argument("--rounds", type=int, default=40, help="features opened, pages of the table, and texts begun")
    parser.add_argument("--study", metavar="FOLDER", help="one that is there already")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = Path(arguments.study or synthetic_study(Path(folder) / "study", arguments.features, EXCERPTS, TOKENS))
        figures = served(study, arguments.rounds)
    figures["first_token_ratio"] = round(first_token(arguments.rounds), 3)
    if arguments.record:
        record("browser", figures)
    print(json.dumps(figures) if arguments.json else json.dumps(figures, indent=2))


def served(study: Path, rounds: int) -> dict[str, float]:
    """Start, table, feature pages and memory of a server over this study."""
    latents, words = pages_to_open(study, rounds), words_to_search(study)
    started = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-m", "commands", "browse", str(study), "--no-open", "--json", "--port", "0"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())["address"]
        visitor = Visitor(address, server.pid)
        visitor.get("/")
        start = time.perf_counter() - started
        print(f"start: {processor_ms(server.pid):.0f} ms of the processor", file=sys.stderr)
        table = visitor.all("table", [f"/features?{urlencode(query)}" for query in queries(words, rounds)])
        feature = visitor.all("feature", [f"/features/{latent}" for latent in latents])
        memory = peak_memory(server.pid)
    finally:
        server.terminate()
        server.wait(30)
    return {
        "start_s": round(start, 3),
        "table_ms": round(statistics.median(table), 1),
        "feature_ms": round(statistics.median(feature), 1),
        "memory_mb": round(memory),
    }


class Visitor:
    """One browser: a connection that stays open."""

    def __init__(self, address: str, server: int):
        self.server, parts = server, urlsplit(address)
        self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)

    def get(self, path: str) -> float:
        """Milliseconds to the last byte."""
        started = time.perf_counter()
        self.connection.request("GET", path, headers={"Accept": "text/html"})
        answer = self.connection.getresponse()
        body = answer.read()
        took = 1e3 * (time.perf_counter() - started)
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {body[:300]!r}")
        return took

    def all(self, name: str, paths: list[str]) -> list[float]:
        before, took = processor_ms(self.server), []
        for path in paths:
            own = processor_ms(self.server)
            took.append(self.get(path))
            print(
                f"{took[-1]:8.1f} ms, {processor_ms(self.server) - own:6.0f} of the processor  {path}", file=sys.stderr
            )
        each = (processor_ms(self.server) - before) / len(paths)
        print(f"{name}: {each:.0f} ms of the processor on average, n = {len(paths)}", file=sys.stderr)
        return took


def queries(words: list[str], rounds: int) -> list[dict[str, str]]:
    """Each of the table's pages once: sorts, filters, searches and pages, mixed."""
    dice = random.Random(0)
    mixed = [{**given, "sort": sort} for given in FILTERS for sort in SORTS]
    mixed += [{"q": word} for word in words]
    mixed += [{"sort": sort, "page": str(page)} for sort in SORTS[:4] for page in (2, 40, 900)]
    dice.shuffle(mixed)
    return mixed[:rounds]


def words_to_search(study: Path) -> list[str]:
    """Some tokens of the study, a concept, a latent's number, and what stands nowhere."""
    promoted = pq.ParquetFile(study / "cards.parquet").read_row_group(0, columns=["promoted"])["promoted"].to_pylist()
    return [*(tokens[0].strip() for tokens in promoted[:200:25] if tokens), "afraid", "4711", "nowhere-to-be-found"]


def pages_to_open(study: Path, rounds: int) -> list[int]:
    dice = random.Random(1)
    known = pq.read_table(study / "cards.parquet", columns=["latent"])["latent"].to_pylist()
    chosen = pq.read_table(study / "labels.parquet", columns=["latents", "chosen"]).to_pylist()
    labelled = sorted({latent for one in chosen if one["chosen"] for latent in one["latents"]} & set(known))
    some = dice.sample(labelled, min(rounds // 2, len(labelled)))
    return [*some, *dice.sample(known, min(rounds - len(some), len(known)))]


def peak_memory(process: int) -> float:
    """Its largest resident memory, MB."""
    line = next(line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def processor_ms(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return 1e3 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def first_token(rounds: int) -> float:
    """Median seconds to the bench's first token over plain generation's; of processor time, which other work leaves alone."""
    from analysis.browser.live.asked import Asked
    from analysis.browser.live.bench import bench_work
    from analysis.browser.live.engine import Engine, Event
    from analysis.latent_units import statistics_of
    from analysis.study import Study

    study = Study.open(find_study("storyteller-sae"))
    label = next(one for one in study.labels() if one.status == "validated")
    engine, known = Engine(study), statistics_of(study)
    asked = Asked(prompt=PROMPT, clamp=[f"{label.concept}=+1"], tokens=4)
    work = bench_work(asked, known, engine.limits)

    def clamped() -> float:
        first: list[float] = []
        over = threading.Event()

        def told(event: Event) -> None:
            if event.kind == "new" and not first:
                first.append(time.process_time())
            if event.kind == "error":
                first.append(float("nan"))
                print(event.data["message"], file=sys.stderr)
            if event.last:
                over.set()

        started = time.process_time()
        engine.submit(work, told)
        over.wait()
        return first[0] - started

    clamped()  # opens the model
    assert engine.subject is not None
    model = engine.subject.model

    def plain() -> float:
        first: list[float] = []

        def told(fresh: list[int | None]) -> bool:
            if not first:
                first.append(time.process_time())
            return False

        started = time.process_time()
        model.generate([PROMPT], asked.tokens, asked.temperature, asked.top_p, seed=0, told=told)
        return first[0] - started

    ways = {"clamped": clamped, "plain": plain}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 2):
        for name, way in ways.items():
            took = way()
            if number >= 2:  # the first rounds warm up
                seconds[name].append(took)
    engine.close()
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    told = ", ".join(f"{name} {1e3 * median:.1f} ms" for name, median in medians.items())
    print(f"first token: {told} of the processor, n = {rounds}", file=sys.stderr)
    return medians["clamped"] / medians["plain"]


if __name__ == "__main__":
    main()
