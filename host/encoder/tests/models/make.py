"""Makes the models beside this file: one of each kind, tiny, with random weights.

    pip install torch transformers onnx onnxruntime onnxscript
    python make.py

Each is exported to ONNX. `expected.json` holds the vectors of onnxruntime, which agree with those of
torch. The test compares ours with them. Made with torch 2.15, transformers 5.24, onnxruntime 1.32.
"""

import json
import os
import shutil

import numpy as np
import onnxruntime
import torch
import transformers as hf
from onnxruntime.quantization import quantize_dynamic
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
TEXTS = [
    "how do i reset my password?",
    "I forgot my Password",
    "das ist ein kurzer Satz über Städte",
    "a",
    " ".join("the quick brown fox jumps over the lazy dog and sleeps in the sun".split() * 5),
]
CORPUS = TEXTS + [
    "where is my order",
    "cancel the subscription please",
    "wie setze ich mein passwort zurück",
    "the weather in paris is nice today",
    "numbers 1 2 3 4 5 6 7 8 9 0",
]
DIM = 16
SIZES = {
    "hidden_size": DIM,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 300,
}


def word_pieces(first, last, unknown, padding):
    tokenizer = Tokenizer(models.WordPiece(unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = [first, padding, last, unknown] if first == "<s>" else [padding, unknown, first, last]
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=special)
    return trained(tokenizer, trainer, first, last)


def unigrams():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=special, unk_token="<unk>")
    return trained(tokenizer, trainer, "<s>", "</s>")


def byte_pairs(first, last, special):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=280, special_tokens=special, initial_alphabet=letters)
    return trained(tokenizer, trainer, first, last)


def trained(tokenizer, trainer, first, last):
    tokenizer.train_from_iterator(CORPUS, trainer)
    special = [(token, tokenizer.token_to_id(token)) for token in (first, last)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", pair=f"{first} $A {last} $B {last}", special_tokens=special
    )
    return tokenizer


ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def kinds():
    """Name, tokenizer, model and pooling of each."""
    tokenizer = word_pieces("[CLS]", "[SEP]", "[UNK]", "[PAD]")
    words = tokenizer.get_vocab_size()
    yield "bert", tokenizer, hf.BertModel(hf.BertConfig(vocab_size=words, **SIZES)), "cls"
    sizes = {"dim": DIM, "n_layers": 2, "n_heads": 2, "hidden_dim": 24}
    config = hf.DistilBertConfig(vocab_size=words, max_position_embeddings=300, **sizes)
    yield "distilbert", tokenizer, hf.DistilBertModel(config), "mean"
    tokenizer = word_pieces("<s>", "</s>", "[UNK]", "<pad>")
    config = hf.MPNetConfig(vocab_size=tokenizer.get_vocab_size(), **SIZES)
    yield "mpnet", tokenizer, hf.MPNetModel(config), "mean"
    like = {"type_vocab_size": 1, "pad_token_id": 1, **SIZES}
    tokenizer = byte_pairs("<s>", "</s>", ROBERTA)
    config = hf.RobertaConfig(vocab_size=tokenizer.get_vocab_size(), **like)
    yield "roberta", tokenizer, hf.RobertaModel(config), "mean"
    tokenizer = unigrams()
    config = hf.XLMRobertaConfig(vocab_size=tokenizer.get_vocab_size(), **like)
    yield "xlm-roberta", tokenizer, hf.XLMRobertaModel(config), "mean"
    tokenizer = byte_pairs("[CLS]", "[SEP]", BERT)
    config = hf.ModernBertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        **{**SIZES, "num_hidden_layers": 3},
        pad_token_id=0,
        cls_token_id=2,
        sep_token_id=3,
        bos_token_id=2,
        eos_token_id=3,
        local_attention=8,
        global_attn_every_n_layers=2,
        attn_implementation="eager",
    )
    yield "modernbert", tokenizer, hf.ModernBertModel(config), "mean"
    tokenizer = unigrams()
    config = hf.CamembertConfig(vocab_size=tokenizer.get_vocab_size(), **like)
    yield "camembert", tokenizer, hf.CamembertModel(config), "mean"


class Encoder(torch.nn.Module):
    def __init__(self, model, names):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs):
        return self.model(**dict(zip(self.names, inputs))).last_hidden_state


def vectors(tokenizer, pooling, run):
    found = []
    for text in TEXTS:
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
        tokens = run(ids)[0]
        vector = tokens[0] if pooling == "cls" else tokens.mean(0)
        found.append(vector / np.linalg.norm(vector))
    return np.array(found)


def onnx_vectors(path, tokenizer, pooling):
    session = onnxruntime.InferenceSession(path)
    fill = {"input_ids": lambda ids: ids, "attention_mask": np.ones_like}
    names = [given.name for given in session.get_inputs()]
    given = lambda ids: {name: fill.get(name, np.zeros_like)(ids) for name in names}
    return vectors(tokenizer, pooling, lambda ids: session.run(None, given(ids))[0])


def make(name, tokenizer, model, pooling):
    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    model.eval()
    model.config._attn_implementation = "eager"
    with torch.no_grad():
        # So large that attention and norms matter.
        for key, values in model.named_parameters():
            if values.dim() > 1:
                values.mul_(6)
            elif "bias" in key:
                values.normal_(0, 0.1)
    model.save_pretrained(folder)
    if name == "modernbert":
        os.remove(os.path.join(folder, "model.safetensors"))
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    modes = {"pooling_mode_cls_token": pooling == "cls", "pooling_mode_mean_tokens": pooling == "mean"}
    os.makedirs(os.path.join(folder, "1_Pooling"))
    with open(os.path.join(folder, "1_Pooling", "config.json"), "w") as file:
        json.dump({"word_embedding_dimension": DIM, **modes}, file)
    names = ["input_ids", "attention_mask"] + ["token_type_ids"] * (name == "bert")
    ids = torch.tensor([tokenizer.encode(TEXTS[0]).ids])
    given = [ids, torch.ones_like(ids), torch.zeros_like(ids)][: len(names)]
    path = os.path.join(folder, "model.onnx")
    free = {name: {0: "batch", 1: "sequence"} for name in [*names, "last_hidden_state"]}
    torch.onnx.export(
        Encoder(model, names).eval(),
        tuple(given),
        path,
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes=free,
        opset_version=17,
        dynamo=False,
    )
    with torch.no_grad():
        run = lambda ids: model(torch.tensor(ids), torch.ones(ids.shape)).last_hidden_state.numpy()
        torch_vectors = vectors(tokenizer, pooling, run)
    expected = {"texts": TEXTS, "vectors": onnx_vectors(path, tokenizer, pooling)}
    difference = np.abs(expected["vectors"] - torch_vectors).max()
    assert difference < 1e-5, difference
    if name == "bert":
        int8 = os.path.join(folder, "model_int8.onnx")
        quantize_dynamic(path, int8)
        expected["int8"] = onnx_vectors(int8, tokenizer, pooling)
    with open(os.path.join(folder, "expected.json"), "w") as file:
        json.dump(expected, file, default=lambda array: np.round(array, 7).tolist())


if __name__ == "__main__":
    torch.manual_seed(5)
    for kind in kinds():
        make(*kind)
        print(kind[0])
