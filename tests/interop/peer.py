"""mneme-cache at the other end of a pipe: a call as JSON a line in, its result out. Calls named
store.NAME go to its store itself."""

import dataclasses
import json
import logging
import sys

import numpy
from mneme import SemanticCache, StoredEntry
from mneme._store_dynamodb import DynamoDBStore
from mneme._store_postgres import PostgresStore
from mneme._store_redis import RedisStore
from mneme._store_sqlite import SQLiteStore


class Given:
    """Names the vectors; every call brings its own."""

    def __init__(self, fingerprint, dim):
        self.fingerprint = fingerprint
        self.dim = dim

    def embed(self, text):
        raise RuntimeError("no embedding was given")


STORES = {
    "sqlite": SQLiteStore,
    "redis": RedisStore,
    "postgres": PostgresStore,
    "dynamodb": DynamoDBStore,
}

logging.disable()  # an embedder that fails is part of the test
cache = store = None


def vector(values):
    return numpy.array(values, dtype="<f4")


def plain(value):
    if isinstance(value, StoredEntry):
        fields = dataclasses.asdict(value)
        fields["embedding"] = numpy.frombuffer(value.embedding, dtype="<f4").tolist()
        return fields
    if dataclasses.is_dataclass(value):
        return dataclasses.asdict(value)
    if isinstance(value, list) or hasattr(value, "__next__"):
        return [plain(one) for one in value]
    return value


def call(name, args):
    global cache, store
    if name in ("open", "loads"):
        embedder = Given(args.pop("fingerprint"), args.pop("dim"))
        if name == "loads":
            cache = SemanticCache.loads(args.pop("archive"), embedder=embedder, **args)
            return None
        kind, place = args.pop("place")
        store = STORES[kind](**place)
        cache = SemanticCache(store=store, embedder=embedder, **args)
        return None
    if name == "store.insert":
        args["embedding"] = vector(args["embedding"]).tobytes()
        return store.insert(StoredEntry(**args))
    if args.get("embedding") is not None:
        args["embedding"] = vector(args["embedding"])
    target, name = (store, name[6:]) if name.startswith("store.") else (cache, name)
    return plain(getattr(target, name)(**args))


for line in sys.stdin:
    name, args = json.loads(line)
    try:
        outcome = {"ok": call(name, args)}
    except Exception as error:
        outcome = {"error": type(error).__name__, "message": str(error)}
    print("child>" + json.dumps(outcome), flush=True)
