"""A peer of mneme-bench: one call as JSON a line in, its result as JSON a line out.

Vectors are rows of a file of float32 that this process maps. Entry n is `question(n)`
with "answer number n" and the vector of row n. Times are nanoseconds of this process.
"""

import importlib.metadata
import json
import os
import platform
import sys
import time

clock = time.perf_counter_ns
# Look-ups that precede those that count, for a process that has just been woken.
WARM = 10


def name(row):
    """A word for a row, as in `ours.rs`."""
    word = ""
    for _ in range(4):
        word += "bdfgklmnprstvz"[row % 14] + "aeiou"[row // 14 % 5]
        row //= 70
    return word


def question(row):
    """The stored question of a row."""
    return f"what is known about {name(row)}"


class Given:
    fingerprint = "bench-1"

    def __init__(self, dim):
        self.dim = dim

    def embed(self, text):
        raise RuntimeError("no embedding was given")


def anonymous_memory():
    """Bytes of this process that no file backs, so without the mapped vectors; Linux only."""
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


class Peer:
    """What every peer has: the vectors, and what it grew by."""

    packages = ()

    def __init__(self, vectors, dim, path, dtype):
        import numpy

        self.numpy, self.dim, self.path, self.dtype = numpy, dim, path, dtype
        self.vectors = numpy.memmap(vectors, dtype="<f4", mode="r").reshape(-1, dim)
        self.load()
        self.before = anonymous_memory()

    def versions(self):
        found = {name: importlib.metadata.version(name) for name in ("numpy", *self.packages)}
        return {"python": platform.python_version(), **found}

    def grown(self):
        after = anonymous_memory()
        return None if after is None else max(after - self.before, 0)

    def vector(self, row):
        return self.numpy.array(self.vectors[row])


class Cache(Peer):
    """mneme-cache, its entries in a SQLite file."""

    packages = ("mneme-cache",)
    backend = "numpy"

    def load(self):
        from mneme import SemanticCache

        self.make = SemanticCache
        self.embedder = Given(self.dim)

    def connect(self, backend, dtype):
        return self.make(
            path=self.path, embedder=self.embedder, index_backend=backend, vector_dtype=dtype
        )

    @staticmethod
    def namespace(n, namespaces):
        return "default" if namespaces is None else f"tenant-{n % namespaces}"

    def fill(self, entries, namespaces):
        # NumPy's index is the quickest to fill; it is gone with this instance.
        self.cache = self.connect("numpy", "float32")
        for n in range(entries):
            self.cache.put(
                question(n),
                f"answer number {n}",
                embedding=self.vectors[n],
                namespace=self.namespace(n, namespaces),
            )
        self.cache.close()
        del self.cache
        self.before = anonymous_memory()

    def open(self, exact, row, namespaces, tenant):
        """Opens, and answers one exact and one semantic look-up."""
        vector, query = self.vector(row), question(exact)
        own, other = self.namespace(exact, namespaces), self.namespace(tenant, namespaces)
        start = clock()
        self.cache = self.connect(self.backend, self.dtype)
        opened = clock()
        assert self.cache.get(query, namespace=own) is not None, query
        answered = clock()
        self.cache.get("the first in other words", embedding=vector, namespace=other)
        done = clock()
        return {"open": opened - start, "exact": answered - opened, "semantic": done - answered}

    def close(self):
        self.cache.close()
        del self.cache

    def put(self, first, count):
        times = []
        for n in range(first, first + count):
            query, response, vector = question(n), f"answer number {n}", self.vector(n)
            start = clock()
            self.cache.put(query, response, embedding=vector)
            times.append(clock() - start)
        return times

    def exact(self, rows):
        times, warm = [], min(WARM, len(rows))
        for n in rows[:warm] + rows:
            query = question(n)
            start = clock()
            hit = self.cache.get(query)
            times.append(clock() - start)
            assert hit.response == f"answer number {n}", (n, hit)
        return times[warm:]

    def semantic(self, rows, namespaces, tenant):
        times, found, warm = [], [], min(WARM, len(rows))
        namespace = self.namespace(tenant, namespaces)
        for row in rows[:warm] + rows:
            query, vector = f"what do people say of {name(row)}", self.vector(row)
            start = clock()
            hit = self.cache.get(query, embedding=vector, namespace=namespace)
            times.append(clock() - start)
            found.append(None if hit is None else int(hit.response.rsplit(" ", 1)[1]))
        return {"times": times[warm:], "found": found[warm:]}

    def dump(self, archive):
        start = clock()
        self.cache.dumps(archive)
        return clock() - start

    def restore(self, archive, path, exact):
        query = question(exact)
        start = clock()
        cache = self.make.loads(archive, path=path, embedder=self.embedder)
        hit = cache.get(query)
        took = clock() - start
        assert hit is not None, query
        cache.close()
        return took


class HnswCache(Cache):
    """mneme-cache with the index of its extra `hnsw`, which holds float32 only."""

    packages = ("mneme-cache", "hnswlib")
    backend = "hnsw"

    def load(self):
        import hnswlib  # noqa: F401, so that its lack shows at once

        super().load()
        self.dtype = "float32"


class Hnswlib(Peer):
    """hnswlib alone, with the parameters of its examples and README."""

    packages = ("hnswlib",)

    def load(self):
        import hnswlib

        self.index = hnswlib.Index(space="cosine", dim=self.dim)

    def build(self, entries):
        start = clock()
        self.index.init_index(max_elements=entries, ef_construction=200, M=16)
        for first in range(0, entries, 10_000):
            last = min(first + 10_000, entries)
            self.index.add_items(self.vectors[first:last], self.numpy.arange(first, last))
        took = clock() - start
        self.index.set_num_threads(1)
        return took

    def beam(self, ef):
        self.index.set_ef(ef)

    def search(self, rows):
        times, found, warm = [], [], min(WARM, len(rows))
        for row in rows[:warm] + rows:
            vector = self.vector(row)
            start = clock()
            labels, _ = self.index.knn_query(vector, k=1)
            times.append(clock() - start)
            found.append(int(labels[0][0]))
        return {"times": times[warm:], "found": found[warm:]}


class Usearch(Peer):
    """usearch alone, with its default parameters; rows in the dtype asked for."""

    packages = ("usearch",)

    def load(self):
        from usearch.index import Index

        dtype = {"float32": "f32", "float16": "f16", "int8": "i8"}[self.dtype]
        self.index = Index(ndim=self.dim, metric="cos", dtype=dtype)

    def build(self, entries):
        start = clock()
        for first in range(0, entries, 10_000):
            last = min(first + 10_000, entries)
            self.index.add(self.numpy.arange(first, last), self.vectors[first:last])
        return clock() - start

    def beam(self, ef):
        self.index.expansion_search = ef

    def search(self, rows):
        times, found, warm = [], [], min(WARM, len(rows))
        for row in rows[:warm] + rows:
            vector = self.vector(row)
            start = clock()
            matches = self.index.search(vector, 1, threads=1)
            times.append(clock() - start)
            found.append(int(matches.keys[0]))
        return {"times": times[warm:], "found": found[warm:]}


class Onnxruntime:
    """A sentence model of a folder under onnxruntime."""

    def __init__(self, model, threads):
        import numpy
        import onnxruntime
        import tokenizers

        self.numpy = numpy
        self.tokenizer = tokenizers.Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        found = [os.path.join(model, name) for name in ("onnx/model.onnx", "model.onnx")]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        path = next(path for path in found if os.path.exists(path))
        self.session = onnxruntime.InferenceSession(path, options)
        self.inputs = [given.name for given in self.session.get_inputs()]
        pooling = os.path.join(model, "1_Pooling", "config.json")
        self.is_cls = False
        if os.path.exists(pooling):
            with open(pooling) as config:
                self.is_cls = json.load(config).get("pooling_mode_cls_token", False)

    def versions(self):
        names = ("numpy", "onnxruntime", "tokenizers")
        found = {name: importlib.metadata.version(name) for name in names}
        return {"python": platform.python_version(), **found}

    def vectors(self, texts):
        numpy = self.numpy
        encoded = [self.tokenizer.encode(text).ids for text in texts]
        longest = max(map(len, encoded))
        ids = numpy.zeros((len(texts), longest), dtype=numpy.int64)
        mask = numpy.zeros_like(ids)
        for row, tokens in enumerate(encoded):
            ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
        fill = {"input_ids": ids, "attention_mask": mask}
        given = {name: fill.get(name, numpy.zeros_like(ids)) for name in self.inputs}
        # Some exports give what they were asked for too.
        tokens = next(output for output in self.session.run(None, given) if output.dtype.kind == "f")
        if tokens.ndim == 3 and self.is_cls:
            tokens = tokens[:, 0]
        elif tokens.ndim == 3:
            tokens = (tokens * mask[:, :, None]).sum(1)
        return tokens / numpy.linalg.norm(tokens, axis=1, keepdims=True)

    def embed(self, texts, batch):
        times, first = [], None
        for start in range(0, len(texts), batch):
            part = texts[start : start + batch]
            began = clock()
            vectors = self.vectors(part)
            times.append(clock() - began)
            if first is None:
                first = vectors[0].tolist()
        return {"times": times, "first": first}


KINDS = {"onnxruntime": Onnxruntime, "mneme-cache": Cache, "mneme-cache-hnsw": HnswCache, "hnswlib": Hnswlib, "usearch": Usearch}


def main():
    # What libraries print is not for the other end.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer = None
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            if name == "start":
                peer = KINDS[arguments.pop("kind")](**arguments)
                answer = peer.versions()
            else:
                answer = getattr(peer, name)(**arguments)
            outcome = {"answer": answer}
        except Exception as error:  # told to the other end, which decides
            outcome = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(outcome) + "\n")
        answers.flush()


main()
