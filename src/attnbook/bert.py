"""BERT: the Transformer's encoder, read from both sides, trained to fill in what was hidden.

Devlin et al. (2019). A text is cut into pieces of words (WordPiece), ``[CLS]`` is set before it
and ``[SEP]`` behind each of its one or two parts. Every position sees every other, so a model that
had to predict the next piece could look it up; it has to predict pieces that were hidden instead.

:class:`Bert` is the encoder, :class:`Pretraining` has the two heads it is trained with, and
:class:`Classifier` the one that it is fine-tuned with. :func:`load` reads published weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from jaxtyping import Bool, Float, Int
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import WordPieceTrainer
from torch import Tensor, nn
from torch.nn import functional

from attnbook.encoder import check_ids
from attnbook.masks import padding_mask
from attnbook.self_attention import LearnedPositions, MultiHeadOutput
from attnbook.transformer import EncoderLayer

__all__ = [
    "IGNORE_INDEX",
    "SPECIALS",
    "Bert",
    "BertConfig",
    "BertOutput",
    "Classifier",
    "Masked",
    "Pretraining",
    "Texts",
    "hide",
    "load",
    "load_encoder",
    "read_texts",
    "train_wordpiece",
]

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# A target that asks for nothing; what torch's cross-entropy leaves out by default.
IGNORE_INDEX = -100


# --- pieces of words --------------------------------------------------------------------------


def train_wordpiece(texts: Iterable[str], size: int, *, lowercase: bool = True) -> Tokenizer:
    """Learn a vocabulary of pieces from texts (Schuster & Nakajima 2012, by ``tokenizers``).

    Frequent words become pieces of their own, rare ones are cut: *umbrellas* may be read as
    *umbrella ##s*. A piece that goes on a word begins with ``##``.

    Args:
        texts: to learn from.
        size: pieces at most, the five special ones included.
        lowercase: also drop accents, as BERT's uncased models do.

    The same texts give the same pieces with the same numbers: special ones, letters, then those
    that were joined, the most frequent pair first.

    Raises:
        ValueError: no room for the special pieces and the letters.
    """
    texts = list(texts)
    tokenizer = _tokenizer(WordPiece(unk_token="[UNK]"), lowercase)
    letters = _letters(tokenizer, texts)
    least = len(SPECIALS) + len(letters)
    if size < least:
        raise ValueError(
            f"size must be at least {least}, for {len(SPECIALS)} special pieces and {len(letters)} "
            f"letters; got {size}"
        )
    # The trainer numbers letters in another order each time, unless they are handed to it as
    # special; so a second tokenizer takes its vocabulary, for which a letter is nothing special.
    trainer = WordPieceTrainer(
        vocab_size=size, special_tokens=[*SPECIALS, *letters], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _framed(_tokenizer(WordPiece(tokenizer.get_vocab(), unk_token="[UNK]"), lowercase))


def _letters(tokenizer: Tokenizer, texts: Iterable[str]) -> list[str]:
    """All letters and, after ``##``, those with which words go on, in alphabetical order."""
    found = set()
    for text in texts:
        clean = tokenizer.normalizer.normalize_str(text)
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(clean):
            found |= {*word, *(f"##{letter}" for letter in word[1:])}
    return sorted(found, key=lambda piece: (len(piece), piece))


def _tokenizer(
    model: WordPiece, lowercase: bool, *, strip_accents: bool | None = None, chinese: bool = True
) -> Tokenizer:
    """As BERT's own: accents go where letters are lowered, unless it is said otherwise."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = BertNormalizer(
        lowercase=lowercase, strip_accents=strip_accents, handle_chinese_chars=chinese
    )
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.decoder = WordPieceDecoder()
    return tokenizer


def _framed(tokenizer: Tokenizer) -> Tokenizer:
    """``[CLS] one [SEP]`` and ``[CLS] one [SEP] other [SEP]``, the second part of type 1.

    A special piece that is written out in a text is read as this piece and not cut.
    """
    tokenizer.add_special_tokens(
        [one for one in SPECIALS if tokenizer.token_to_id(one) is not None]
    )
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(one, _number(tokenizer, one)) for one in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def _number(tokenizer: Tokenizer, piece: str) -> int:
    number: int | None = tokenizer.token_to_id(piece)
    if number is None:
        raise ValueError(f"this tokenizer has no {piece}, and BERT needs one")
    return number


class Texts(NamedTuple):
    """A batch of texts as ids.

    Attributes:
        ids: pieces, padded at the right.
        token_type_ids: 0 in the first part of a text, 1 in the second.
        mask: True at real pieces.
        special: True at ``[CLS]`` and ``[SEP]``, and on padding.
    """

    ids: Int[Tensor, "batch length"]
    token_type_ids: Int[Tensor, "batch length"]
    mask: Bool[Tensor, "batch length"]
    special: Bool[Tensor, "batch length"]

    def to(self, device: torch.device | str) -> Texts:
        """The same on another device."""
        return Texts(*(tensor.to(device) for tensor in self))


def read_texts(
    tokenizer: Tokenizer, texts: Sequence[str | tuple[str, str]], max_length: int | None = None
) -> Texts:
    """Texts, or pairs of texts, as one padded batch.

    Args:
        tokenizer: from :func:`train_wordpiece` or :func:`load`.
        texts: at least one.
        max_length: cut every text to so many pieces, the special ones included.

    Raises:
        ValueError: no text, or no room for one.
    """
    if not texts:
        raise ValueError("there is no text; give at least one")
    pairs = any(isinstance(text, tuple) for text in texts)
    least = 4 if pairs else 3
    if max_length is not None and max_length < least:
        raise ValueError(
            f"max_length must be at least {least}, for {'both texts' if pairs else 'a text'} and "
            f"the special pieces; got {max_length}"
        )
    # The caller's tokenizer is left as it is.
    before = tokenizer.truncation
    try:
        if max_length is None:
            tokenizer.no_truncation()
        else:
            tokenizer.enable_truncation(max_length)
        found = tokenizer.encode_batch(list(texts))
    finally:
        tokenizer.no_truncation()
        if before is not None:
            tokenizer.enable_truncation(**before)
    lengths = torch.tensor([len(one.ids) for one in found])
    size = int(lengths.max())

    def padded(rows: Iterable[list[int]], value: int) -> Tensor:
        return torch.tensor([row + [value] * (size - len(row)) for row in rows])

    return Texts(
        padded((one.ids for one in found), _number(tokenizer, "[PAD]")),
        padded((one.type_ids for one in found), 0),
        padding_mask(lengths, size),
        padded((one.special_tokens_mask for one in found), 1).bool(),
    )


class Masked(NamedTuple):
    """A text with some pieces hidden, and what they were.

    Attributes:
        ids: what the model reads.
        targets: the right piece where it is asked for, :data:`IGNORE_INDEX` elsewhere.
    """

    ids: Int[Tensor, "batch length"]
    targets: Int[Tensor, "batch length"]


def hide(
    texts: Texts, tokenizer: Tokenizer, *, share: float = 0.15, generator: torch.Generator
) -> Masked:
    """Hide pieces for a model to find (Devlin et al. 2019, section 3.1, task 1).

    Of the pieces that are no special ones each is chosen with probability ``share``. A chosen piece
    is replaced by ``[MASK]`` in 80 % of the cases, by a random piece in 10 %, and left as it is in
    10 %: at use there is no ``[MASK]``, and so the model can never be sure that a piece that it
    sees is right. In every text at least one piece is chosen, if it has any.

    Raises:
        ValueError: a share that is no probability above 0.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share}")
    ids, free = texts.ids, ~texts.special

    def chance() -> Tensor:
        drawn = torch.rand(ids.shape, generator=generator, device=generator.device)
        return drawn.to(ids.device)

    drawn = chance().masked_fill(~free, 2.0)
    smallest = drawn == drawn.amin(dim=1, keepdim=True)
    chosen = ((drawn < share) | smallest) & free
    targets = ids.masked_fill(~chosen, IGNORE_INDEX)
    how = chance()
    # Wherever the special pieces stand in a vocabulary (in published ones at 0 and from 100 on).
    special = {tokenizer.token_to_id(piece) for piece in SPECIALS}
    pieces = torch.tensor([n for n in range(tokenizer.get_vocab_size()) if n not in special])
    drawn = torch.randint(len(pieces), ids.shape, generator=generator, device=generator.device)
    words = pieces.to(generator.device)[drawn].to(ids.device)
    read = torch.where(chosen & (how < 0.8), _number(tokenizer, "[MASK]"), ids)
    read = torch.where(chosen & (how >= 0.9), words, read)
    return Masked(read, targets)


# --- the model --------------------------------------------------------------------------------


@dataclass(frozen=True)
class BertConfig:
    """Everything that decides the shape of a BERT; the default is the paper's base model.

    Attributes:
        vocabulary_size: pieces.
        model_dim: width of a state.
        num_heads: of each layer.
        layers: how many are stacked.
        feedforward_dim: width of the networks' hidden layers.
        max_positions: of the longest text, in pieces.
        token_types: parts that a text may have.
        dropout: of hidden layers and of what is added.
        attention_dropout: of weights, where it differs.
        epsilon: of the norms.
    """

    vocabulary_size: int = 30_522
    model_dim: int = 768
    num_heads: int = 12
    layers: int = 12
    feedforward_dim: int = 3072
    max_positions: int = 512
    token_types: int = 2
    dropout: float = 0.1
    attention_dropout: float | None = None
    epsilon: float = 1e-12


class BertOutput(NamedTuple):
    """What BERT makes of a batch of texts.

    Attributes:
        states: of the top layer.
        pooled: ``tanh(W s + b)`` of the state at ``[CLS]``.
        hidden_states: the word vectors, then the states after each layer, the top one included.
        attentions: what the heads of each layer gave, weights included; empty where they were
            not asked for.
    """

    states: Float[Tensor, "batch length model_dim"]
    pooled: Float[Tensor, "batch model_dim"]
    hidden_states: tuple[Float[Tensor, "batch length model_dim"], ...]
    attentions: tuple[MultiHeadOutput, ...]


class Bert(nn.Module):
    """The encoder of the Transformer, normalised after each sum (Devlin et al. 2019, section 3).

    A piece's vector is the sum of three learned ones: of the piece, of its position and of the
    part of the text it stands in.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Embedding(config.vocabulary_size, config.model_dim, padding_idx=0)
        self.positions = LearnedPositions(config.max_positions, config.model_dim)
        self.token_types = nn.Embedding(config.token_types, config.model_dim)
        self.norm = nn.LayerNorm(config.model_dim, eps=config.epsilon)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(
                config.model_dim,
                config.num_heads,
                config.feedforward_dim,
                dropout=config.dropout,
                attention_dropout=config.attention_dropout,
                norm="post",
                activation="gelu",
                epsilon=config.epsilon,
            )
            for _ in range(config.layers)
        )
        self.pool = nn.Linear(config.model_dim, config.model_dim)
        self.apply(_initialise)

    def forward(
        self,
        ids: Int[Tensor, "batch length"],
        token_type_ids: Int[Tensor, "batch length"] | None = None,
        mask: Bool[Tensor, "batch length"] | None = None,
        *,
        need_weights: bool = False,
    ) -> BertOutput:
        """Read texts.

        Args:
            ids: pieces.
            token_type_ids: parts; None is 0 everywhere.
            mask: True at real pieces; None has no padding.
            need_weights: also give what the heads gave, weights included.

        Raises:
            ValueError: an id outside the vocabulary, or a text that is too long.
        """
        check_ids(ids, self.config.vocabulary_size, "ids")
        if ids.shape[1] > self.config.max_positions:
            raise ValueError(
                f"a text of {ids.shape[1]} pieces; this model reads {self.config.max_positions}: "
                "cut it, for instance with read_texts(…, max_length=…)"
            )
        token_type_ids = torch.zeros_like(ids) if token_type_ids is None else token_type_ids
        vectors = self.words(ids) + self.positions(ids.shape[1])
        vectors = vectors + self.token_types(token_type_ids)
        states = self.dropout(self.norm(vectors))
        seen = None if mask is None else mask.unsqueeze(1)
        hidden_states = [states]
        attentions: list[MultiHeadOutput] = []
        for layer in self.layers:
            states, heads = layer(states, seen, need_weights=need_weights)
            attentions.append(heads)
            hidden_states.append(states)
        pooled = torch.tanh(self.pool(states[:, 0]))
        return BertOutput(
            states, pooled, tuple(hidden_states), tuple(attentions) if need_weights else ()
        )


class Pretraining(nn.Module):
    """BERT with the two heads of its training (Devlin et al. 2019, section 3.1).

    The *masked-language-model* head says which piece was hidden: a layer and a norm, then the
    word vectors as output matrix. The *next-sentence* head says from the state at ``[CLS]``
    whether the second part follows the first in the text (class 0) or not (class 1).
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.bert = Bert(config)
        self.transform = nn.Linear(config.model_dim, config.model_dim)
        self.norm = nn.LayerNorm(config.model_dim, eps=config.epsilon)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary_size))
        self.next_sentence = nn.Linear(config.model_dim, 2)
        for layer in (self.transform, self.next_sentence):
            _initialise(layer)

    def piece_logits(self, states: Float[Tensor, "... model_dim"]) -> Float[Tensor, "... words"]:
        """Which piece stands at each state."""
        hidden = self.norm(functional.gelu(self.transform(states)))
        return functional.linear(hidden, self.bert.words.weight, self.bias)

    def next_logits(self, pooled: Float[Tensor, "batch model_dim"]) -> Float[Tensor, "batch 2"]:
        """Whether the second part follows the first."""
        logits: Tensor = self.next_sentence(pooled)
        return logits

    def loss(
        self, texts: Texts, masked: Masked, next_sentence: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, ""]:
        """The sum of both cross-entropies, each a mean, in nats; logits where they are needed.

        Args:
            texts: as they were.
            masked: what the model reads of them, and what is asked for.
            next_sentence: 0 where the second part follows the first, else 1; None asks for pieces
                only.
        """
        output: BertOutput = self.bert(masked.ids, texts.token_type_ids, texts.mask)
        asked = masked.targets != IGNORE_INDEX
        loss = functional.cross_entropy(
            self.piece_logits(output.states[asked]), masked.targets[asked]
        )
        if next_sentence is None:
            return loss
        return loss + functional.cross_entropy(self.next_logits(output.pooled), next_sentence)


class Classifier(nn.Module):
    """A trained BERT and one new layer above the state at ``[CLS]`` (section 4.1).

    Args:
        bert: pre-trained; fine-tuning changes it.
        classes: how many.
    """

    def __init__(self, bert: Bert, classes: int) -> None:
        super().__init__()
        if classes < 2:
            raise ValueError(f"classes must be at least 2, got {classes}")
        self.bert = bert
        self.dropout = nn.Dropout(bert.config.dropout)
        self.output = nn.Linear(bert.config.model_dim, classes)
        _initialise(self.output)

    def forward(self, texts: Texts) -> Float[Tensor, "batch classes"]:
        """Unnormalised log-probabilities of the classes."""
        output: BertOutput = self.bert(texts.ids, texts.token_type_ids, texts.mask)
        logits: Tensor = self.output(self.dropout(output.pooled))
        return logits


def _initialise(module: nn.Module) -> None:
    """Normal numbers of standard deviation 0.02, as in the paper's code."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        nn.init.zeros_(module.weight[module.padding_idx])


# --- published weights ------------------------------------------------------------------------

# Settings of Hugging Face's that change what a BERT computes, and the one value that is known here.
READABLE = {
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}
FILES = ("config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors")


def load(
    folder_or_name: str | Path, *, revision: str | None = None
) -> tuple[Pretraining, Tokenizer]:
    """A published BERT with its two heads, ready to read (dropout off), and its tokenizer.

    Args:
        folder_or_name: a folder with ``config.json``, ``vocab.txt`` and ``model.safetensors`` (or
            ``pytorch_model.bin``) as Hugging Face keeps them, or the name of a model on their hub,
            for instance ``"google-bert/bert-base-uncased"``.
        revision: of a model on the hub; a branch, a tag or a commit.

    Raises:
        FileNotFoundError: the folder lacks a file.
        ValueError: not a BERT, weights that do not fit its settings, or a model that was kept
            without its heads (:func:`load_encoder` reads it).
        ConnectionError: the hub could not be reached and the model has not been downloaded before.
    """
    folder = _folder(folder_or_name, revision)
    config, weights = _config(folder), _weights(folder)
    if "cls.predictions.bias" not in weights or "cls.seq_relationship.weight" not in weights:
        raise ValueError(f"{folder} holds a BERT without its heads; load_encoder reads it")
    model = Pretraining(config)
    _fill(model, _encoder_weights(weights, config, "bert.") | _head_weights(weights), folder)
    return model.eval(), _read_tokenizer(folder)


def load_encoder(
    folder_or_name: str | Path, *, revision: str | None = None
) -> tuple[Bert, Tokenizer]:
    """As :func:`load`, without the heads; also of models that were kept without them."""
    folder = _folder(folder_or_name, revision)
    config, weights = _config(folder), _weights(folder)
    model = Bert(config)
    _fill(model, _encoder_weights(weights, config, ""), folder)
    return model.eval(), _read_tokenizer(folder)


def _fill(model: nn.Module, weights: dict[str, Tensor], folder: Path) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{folder}: its weights do not fit its settings: {error}") from error


def _read_tokenizer(folder: Path) -> Tokenizer:
    options = folder / "tokenizer_config.json"
    kept = json.loads(options.read_text(encoding="utf-8")) if options.exists() else {}
    pieces = WordPiece.from_file(str(folder / "vocab.txt"), unk_token="[UNK]")
    tokenizer = _tokenizer(
        pieces,
        kept.get("do_lower_case", True),
        strip_accents=kept.get("strip_accents"),
        chinese=kept.get("tokenize_chinese_chars", True),
    )
    tokenizer.add_special_tokens(list(SPECIALS))
    return _framed(tokenizer)


def _folder(folder_or_name: str | Path, revision: str | None) -> Path:
    folder = Path(folder_or_name)
    if not folder.is_dir():
        try:
            folder = Path(
                snapshot_download(
                    str(folder_or_name),
                    revision=revision,
                    allow_patterns=[*FILES, "pytorch_model.bin"],
                )
            )
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            raise ConnectionError(
                f"{folder_or_name}: no such folder, and it could not be downloaded ({error})"
            ) from error
    for name in ("config.json", "vocab.txt"):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} has no {name}; a BERT is kept with {', '.join(FILES)}"
            )
    return folder


def _config(folder: Path) -> BertConfig:
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if (kind := settings.get("model_type", "bert")) != "bert":
        raise ValueError(f"{folder} holds a {kind}, and only BERT can be read")
    for name, usual in READABLE.items():
        if (value := settings.get(name, usual)) != usual:
            raise ValueError(f"{folder}: {name} is {value}, and only {usual} can be read")
    try:
        return BertConfig(
            vocabulary_size=settings["vocab_size"],
            model_dim=settings["hidden_size"],
            num_heads=settings["num_attention_heads"],
            layers=settings["num_hidden_layers"],
            feedforward_dim=settings["intermediate_size"],
            max_positions=settings["max_position_embeddings"],
            token_types=settings["type_vocab_size"],
            dropout=settings.get("hidden_dropout_prob", 0.1),
            attention_dropout=settings.get("attention_probs_dropout_prob", 0.1),
            epsilon=settings.get("layer_norm_eps", 1e-12),
        )
    except KeyError as error:
        raise ValueError(f"{folder}: config.json does not say {error.args[0]}") from error


def _weights(folder: Path) -> dict[str, Tensor]:
    """All tensors by the names of today; the first checkpoints had TensorFlow's for the norms."""
    if (folder / "model.safetensors").is_file():
        found = load_file(folder / "model.safetensors")
    elif (folder / "pytorch_model.bin").is_file():
        found = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    else:
        raise FileNotFoundError(f"{folder} has neither model.safetensors nor pytorch_model.bin")
    return {_today(name): tensor for name, tensor in found.items()}


def _today(name: str) -> str:
    name = name.removeprefix("bert.").replace("LayerNorm.gamma", "LayerNorm.weight")
    return name.replace("LayerNorm.beta", "LayerNorm.bias")


# Hugging Face's names and ours.
ENCODER = {
    "embeddings.word_embeddings.weight": "words.weight",
    "embeddings.position_embeddings.weight": "positions.vectors.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm": "norm",
    "pooler.dense": "pool",
}
LAYER = {
    "attention.self.query": "attention.q_proj",
    "attention.self.key": "attention.k_proj",
    "attention.self.value": "attention.v_proj",
    "attention.output.dense": "attention.out_proj",
    "attention.output.LayerNorm": "around_attention.norm",
    "intermediate.dense": "feedforward.linear1",
    "output.dense": "feedforward.linear2",
    "output.LayerNorm": "around_feedforward.norm",
}
HEADS = {
    "cls.predictions.transform.dense": "transform",
    "cls.predictions.transform.LayerNorm": "norm",
    "cls.predictions.bias": "bias",
    "cls.seq_relationship": "next_sentence",
}


def _encoder_weights(
    theirs: dict[str, Tensor], config: BertConfig, prefix: str
) -> dict[str, Tensor]:
    ours = _renamed(theirs, ENCODER, "", prefix)
    for number in range(config.layers):
        name, mine = f"encoder.layer.{number}.", f"{prefix}layers.{number}."
        ours |= _renamed(theirs, LAYER, name, mine)
    return ours


def _head_weights(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    return _renamed(theirs, HEADS, "", "")


def _renamed(
    theirs: dict[str, Tensor], names: dict[str, str], before: str, prefix: str
) -> dict[str, Tensor]:
    """What there is of the named tensors; what is missing is missed when the model is filled."""
    return {
        prefix + mine + part: theirs[before + name + part]
        for name, mine in names.items()
        for part in ("", ".weight", ".bias")
        if before + name + part in theirs
    }
