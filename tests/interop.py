"""mneme-cache at the other end of a pipe: a call as JSON a line in, its result out."""

import dataclasses
import json
import logging
import sys

import numpy
from mneme import SemanticCache


class Given:
    """Names the vectors; every call brings its own."""

    def __init__(self, fingerprint, dim):
        self.fingerprint = fingerprint
        self.dim = dim

    def embed(self, text):
        raise RuntimeError("no embedding was given")


logging.disable()  # an embedder that fails is part of the test
cache = None


def call(name, args):
    global cache
    if name == "open":
        embedder = Given(args.pop("fingerprint"), args.pop("dim"))
        cache = SemanticCache(embedder=embedder, **args)
        return None
    if name == "loads":
        embedder = Given(args.pop("fingerprint"), args.pop("dim"))
        cache = SemanticCache.loads(args.pop("archive"), embedder=embedder, **args)
        return None
    if args.get("embedding") is not None:
        args["embedding"] = numpy.array(args["embedding"], dtype=numpy.float32)
    result = getattr(cache, name)(**args)
    return dataclasses.asdict(result) if dataclasses.is_dataclass(result) else result


for line in sys.stdin:
    name, args = json.loads(line)
    try:
        outcome = {"ok": call(name, args)}
    except Exception as error:
        outcome = {"error": type(error).__name__, "message": str(error)}
    print("child>" + json.dumps(outcome), flush=True)
