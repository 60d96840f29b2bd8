"""mneme-cache's DynamoDB store at the other end of a pipe: a call as JSON a line in, its
result out."""

import dataclasses
import json
import sys

import numpy
from mneme import StoredEntry
from mneme._store_dynamodb import DynamoDBStore

store = None


def given(fields):
    vector = numpy.array(fields["embedding"], dtype="<f4")
    return StoredEntry(**dict(fields, embedding=vector.tobytes()))


def shown(value):
    if isinstance(value, StoredEntry):
        fields = dataclasses.asdict(value)
        fields["embedding"] = numpy.frombuffer(value.embedding, dtype="<f4").tolist()
        return fields
    if isinstance(value, list) or hasattr(value, "__next__"):
        return [shown(one) for one in value]
    return value


def call(name, args):
    global store
    if name == "open":
        table, endpoint, fingerprint, dim = args
        store = DynamoDBStore(
            table, region_name="eu-north-1", endpoint_url=endpoint, create_table=True
        )
        return store.open(fingerprint, dim)
    if name == "insert":
        args = [given(args[0])]
    if name == "insert_patiently":
        # It gives up where another writer was faster; its callers try again.
        for _ in range(1000):
            try:
                return store.insert(given(args[0]))
            except Exception as error:
                last = error
        raise last
    return shown(getattr(store, name)(*args))


for line in sys.stdin:
    name, args = json.loads(line)
    try:
        outcome = {"ok": call(name, args)}
    except Exception as error:
        outcome = {"error": type(error).__name__, "message": str(error)}
    print("child>" + json.dumps(outcome), flush=True)
