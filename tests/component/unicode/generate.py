"""Writes casefold.txt: what Python makes of queries.

    python3 generate.py > casefold.txt

Any CPython 3.11 to 3.13 (Unicode 14.0 to 15.1) writes the same but for the first line.
"""

import hashlib
import json
import random
import re
import sys
import unicodedata


def normalized(text):
    return re.sub(r"\s+", " ", text.strip()).casefold()


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def codes(text):
    return " ".join(f"{ord(c):x}" for c in text)


def mixed(random_number, folding, spaces):
    """A string of letters, letters that fold, white space and anything else."""

    def pick(items):
        return items[int(random_number() * len(items))]

    pools = [
        "abcXYZ019",
        folding,
        spaces,
        spaces,
        "\u0301\u200b\u200d\ufeff\u00ad\u180e\u2060",  # look like nothing, are not space
        "\U0001f600\U00010400\u6f22\u0627\u05d0\x00\x7f",
    ]
    return "".join(pick(pick(pools)) for _ in range(int(random_number() * 40)))


def main():
    scalars = [chr(n) for n in range(0x110000) if not 0xD800 <= n <= 0xDFFF]
    folding = [c for c in scalars if c.casefold() != c]
    spaces = [c for c in scalars if re.fullmatch(r"\s", c)]
    assert spaces == [c for c in scalars if c.isspace() and not c.strip()]
    lines = [
        f"# Unicode {unicodedata.unidata_version}, by generate.py",
        "# white space: a scalar",
        *codes(spaces).split(),
        "# case folding: a scalar, what it becomes",
        *(f"{codes(c)}; {codes(c.casefold())}" for c in folding),
        '# SHA-256 of all scalars, normalised: "a", the scalar and "|", joined',
        sha256(normalized("".join(f"a{c}|" for c in scalars))),
        "# queries: as given, normalised, SHA-256 of that",
    ]
    # random() is the same in every release; choice() is not.
    random_number = random.Random(20).random
    for _ in range(200):
        query = mixed(random_number, folding, spaces)
        text = normalized(query)
        lines.append(json.dumps([query, text, sha256(text)]))
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
