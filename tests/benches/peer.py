"""The peer's side of peer.rs: a phase as JSON a line in, its nanoseconds out."""

import importlib.metadata
import json
import platform
import sys
import time

import numpy
from mneme import SemanticCache

clock = time.perf_counter_ns


class Given:
    fingerprint = "bench-1"

    def __init__(self, dim):
        self.dim = dim

    def embed(self, text):
        raise RuntimeError("no embedding was given")


class Bench:
    def start(self, path, vectors, dim):
        self.path, self.dim = path, dim
        self.vectors = numpy.fromfile(vectors, dtype="<f4").reshape(-1, dim)
        return [
            f"Python {platform.python_version()}",
            f"numpy {numpy.__version__}",
            f"mneme-cache {importlib.metadata.version('mneme-cache')}",
        ]

    def open(self):
        self.cache = SemanticCache(path=self.path, embedder=Given(self.dim))

    def close(self):
        self.cache.close()

    def reopen(self, query):
        start = clock()
        self.open()
        hit = self.cache.get(query)
        took = clock() - start
        assert hit is not None
        return [took]

    def put(self, first, count):
        times = []
        for n in range(first, first + count):
            query, response, vector = f"question number {n}", f"answer number {n}", self.vectors[n]
            start = clock()
            self.cache.put(query, response, embedding=vector)
            times.append(clock() - start)
        return times

    def exact(self, rows):
        times = []
        for n in rows:
            query = f"question number {n}"
            start = clock()
            hit = self.cache.get(query)
            times.append(clock() - start)
            assert hit.response == f"answer number {n}"
        return times

    def semantic(self, rows, hits):
        times = []
        for n in rows:
            query, vector = f"reworded {n}", self.vectors[n]
            start = clock()
            hit = self.cache.get(query, embedding=vector)
            times.append(clock() - start)
            assert (hit is not None) == hits, (n, hit)
        return times

    def dump(self, archive):
        start = clock()
        self.cache.dumps(archive)
        return [clock() - start]

    def load(self, archive, path, query):
        start = clock()
        cache = SemanticCache.loads(archive, path=path, embedder=Given(self.dim))
        hit = cache.get(query)
        took = clock() - start
        assert hit is not None
        cache.close()
        return [took]


bench = Bench()
for line in sys.stdin:
    name, args = json.loads(line)
    print("child>" + json.dumps(getattr(bench, name)(**args)), flush=True)
