"""Makes `expected.json`: vectors of the bundled model, computed by torch from the same file.

    pip install torch transformers tokenizers safetensors
    python make.py

Made with torch 2.15, transformers 5.24.
"""

import json
import os

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = os.path.join(HERE, "..", "..", "src", "bundled")
GROUP = 32
MAX_TOKENS = 128
TEXTS = [
    "How do I reset my password?",
    "I forgot my password, how can I reset it?",
    "where is my order",
    "What is the capital of France?",
    "a",
    "Cancel my subscription, please!",
    "Über Städte & naïve café owners",
    "numbers 1 2 3 4.5 and symbols <>&%$",
    "The quick brown fox jumps over the lazy dog. " * 3,
    "how many words does a model read before it stops reading " * 20,
]


def unpacked(tensors):
    """Weights of four bits, two a byte, the low one first, with a scale a group."""
    weights = {}
    for name, tensor in tensors.items():
        if name.endswith(".q4"):
            scales = tensors[name.removesuffix("q4") + "scales"].float()
            pairs = tensor.flatten()
            values = torch.stack([pairs & 15, pairs >> 4], 1).flatten().float() - 8
            weights[name.removesuffix(".q4")] = (values.view(-1, GROUP) * scales.view(-1, 1)).flatten()
        elif not name.endswith(".scales"):
            weights[name] = tensor.float().flatten()
    return weights


if __name__ == "__main__":
    with open(os.path.join(FILES, "config.json")) as file:
        model = BertModel(BertConfig(**json.load(file)), add_pooling_layer=False).eval()
    weights = unpacked(load_file(os.path.join(FILES, "model.safetensors")))
    for name, values in model.named_parameters():
        values.data = weights.pop(name).view(values.shape)
    assert set(weights) <= {"pooler.dense.weight", "pooler.dense.bias"}, list(weights)
    tokenizer = Tokenizer.from_file(os.path.join(FILES, "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    vectors = []
    for text in TEXTS:
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.no_grad():
            vector = model(ids, torch.ones_like(ids)).last_hidden_state[0].mean(0)
        vectors.append([round(value, 7) for value in (vector / vector.norm()).tolist()])
    with open(os.path.join(HERE, "expected.json"), "w") as file:
        json.dump({"texts": TEXTS, "vectors": vectors}, file)
