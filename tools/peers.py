"""Other people's models for `attnbook benchmark --peers`: how each is built, fed and trained.

    make benchmark                                     # in an environment of its own
    attnbook benchmark --peers tools/peers.py          # where the packages are installed already

A peer is used as its package gives it, through the calls its own training loop makes. Beside it
stands the same model built from this package, with the same weights. Whatever the two would not
agree on by themselves is set on our side, and told in the peer's notes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attnbook.attention import Attention
from attnbook.batches import Batch
from attnbook.benchmark.attention import AttentionPeer
from attnbook.benchmark.peers import Peer, Sizes
from attnbook.decoders import LuongDecoder, final_state
from attnbook.encoder import Encoder, EncoderOutput, RecurrentState
from attnbook.scores import AdditiveScore, DotScore, GeneralScore, ScaledDotScore, Score
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig
from attnbook.vocabulary import EOS, PAD, SOS, UNK


def luong(sizes: Sizes, score: Score, *, input_feeding: bool, encoder: Encoder) -> Translator:
    """This package's half of a pair: Luong's decoder, its attentional state as wide as a state."""
    config = RecurrentConfig(
        embedding_dim=sizes.embedding, hidden_dim=sizes.hidden, bidirectional=True, dropout=0.0
    )
    translator = Translator.from_config(config, sizes.source, sizes.target)
    translator.encoder = encoder
    translator.decoder = LuongDecoder(
        Attention(score),
        len(sizes.target),
        sizes.embedding,
        sizes.hidden,
        input_feeding=input_feeding,
        readout_dim=sizes.hidden,
        tied=False,
    )
    for parameter in translator.parameters():
        nn.init.uniform_(parameter, -0.1, 0.1)
    for embedding in (translator.encoder.embedding, translator.decoder.embedding):
        nn.init.normal_(embedding.weight, std=0.3)  # learns sooner
    return translator


def copy(pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Each second tensor gets the values of the first."""
    with torch.no_grad():
        for ours, theirs in pairs:
            theirs.copy_(ours.view_as(theirs))


def recurrent_weights(ours: nn.RNNBase, theirs: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """All weights of two recurrent layers, in torch's order."""
    return list(zip(ours.parameters(), theirs.parameters(), strict=True))


# --- JoeyNMT ----------------------------------------------------------------------------------


class Bridged(Encoder):
    """JoeyNMT's bridge: the decoder's state and cell both start from ``tanh(W h_n + b)``."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.bridge = nn.Linear(*2 * [args[2]])

    def forward(self, source: Tensor, lengths: Tensor) -> EncoderOutput:
        """The encoder's states, and the bridge's in place of the last."""
        encoded = super().forward(source, lengths)
        first = torch.tanh(self.bridge(final_state(encoded).hidden))
        return encoded._replace(final_state=RecurrentState(first, first))


def _vocabulary(kind: Any, words: Sequence[str]) -> Any:
    """JoeyNMT's vocabulary with our numbers; its constructor would put `<unk>` before `<pad>`."""
    made = kind.__new__(kind)
    made.specials, made.lang_tags = list(words[:4]), []
    made._itos, made._stoi = list(words), {word: number for number, word in enumerate(words)}
    made.pad_index, made.unk_index, made.bos_index, made.eos_index = PAD, UNK, SOS, EOS
    made.sep_index = None
    return made


class Joey(Peer):
    """JoeyNMT's recurrent model (Kreutzer et al. 2019), its weights copied from ours."""

    package = "joeynmt"
    translates = True
    notes = (
        "JoeyNMT has Luong's decoder for both scores: the query is the state after the update, "
        "and the attentional state, as wide as a state, is fed to the next step unless switched "
        "off. Our half is this decoder, with JoeyNMT's bridge. Its output layer has no bias, ours "
        "starts from zero; it counts right words in every step, we do not."
    )

    def __init__(self, sizes: Sizes, attention: str, *, input_feeding: bool = True) -> None:
        from joeynmt.model import build_model
        from joeynmt.vocabulary import Vocabulary

        self.translates = input_feeding  # unless switched off

        widths = (sizes.hidden, sizes.hidden)
        score = GeneralScore(*widths) if attention == "luong" else AdditiveScore(*widths, widths[0])
        encoder = Bridged(len(sizes.source), sizes.embedding, sizes.hidden, bidirectional=True)
        self.ours = luong(sizes, score, input_feeding=input_feeding, encoder=encoder)
        words = [_vocabulary(Vocabulary, one.words) for one in (sizes.source, sizes.target)]
        logging.getLogger("joeynmt").setLevel(logging.WARNING)
        self.theirs: Any = build_model(
            {
                "encoder": {
                    "type": "recurrent",
                    "rnn_type": "lstm",
                    "embeddings": {"embedding_dim": sizes.embedding, "dropout": 0.0},
                    "hidden_size": sizes.hidden // 2,
                    "bidirectional": True,
                    "dropout": 0.0,
                },
                "decoder": {
                    "type": "recurrent",
                    "rnn_type": "lstm",
                    "embeddings": {"embedding_dim": sizes.embedding, "dropout": 0.0},
                    "hidden_size": sizes.hidden,
                    "dropout": 0.0,
                    "hidden_dropout": 0.0,
                    "attention": attention,
                    "init_hidden": "bridge",
                    "input_feeding": input_feeding,
                },
            },
            *words,
        )
        self.theirs.loss_function = ("crossentropy", 0.0)
        self.copy_weights()

    def copy_weights(self) -> None:
        """Ours into theirs."""
        ours: Any = self.ours
        theirs: Any = self.theirs
        decoder, score = ours.decoder, ours.decoder.attention.score
        nn.init.zeros_(decoder.output.bias)
        pairs = [
            (ours.encoder.embedding.weight, theirs.src_embed.lut.weight),
            (decoder.embedding.weight, theirs.trg_embed.lut.weight),
            *recurrent_weights(ours.encoder.recurrent, theirs.encoder.rnn),
            *recurrent_weights(decoder.recurrent, theirs.decoder.rnn),
            (ours.encoder.bridge.weight, theirs.decoder.bridge_layer.weight),
            (ours.encoder.bridge.bias, theirs.decoder.bridge_layer.bias),
            # We read [context; state], JoeyNMT [state; context].
            (
                torch.cat(decoder.combine.weight.chunk(2, dim=1)[::-1], dim=1),
                theirs.decoder.att_vector_layer.weight,
            ),
            (decoder.combine.bias, theirs.decoder.att_vector_layer.bias),
            (decoder.output.weight, theirs.decoder.output_layer.weight),
            (score.key.weight, theirs.decoder.attention.key_layer.weight),
        ]
        if isinstance(score, AdditiveScore):
            pairs += [
                (score.query.weight, theirs.decoder.attention.query_layer.weight),
                (score.v, theirs.decoder.attention.energy_layer.weight),
            ]
        copy(pairs)

    def batch(self, batch: Batch) -> Any:
        """As its data loader makes it, and as its training step sorts it."""
        from joeynmt.batch import Batch as Theirs

        start = torch.full_like(batch.target_out[:, :1], SOS)
        made = Theirs(
            src=batch.source,
            src_length=batch.source_lengths,
            src_prompt_mask=None,
            trg=torch.cat([start, batch.target_out], dim=1),
            trg_prompt_mask=None,
            indices=torch.arange(len(batch), device=batch.source.device),
            device=batch.source.device,
            pad_index=PAD,
            eos_index=EOS,
        )
        return made, made.sort_by_src_length()

    def loss(self, batch: Any) -> Tensor:
        """Cross-entropy per token, by `TrainManager._train_step` with `normalization: tokens`."""
        total, *_ = self.theirs(return_type="loss", **vars(batch[0]))
        loss: Tensor = total / batch[0].ntokens
        return loss

    def optimizer(self) -> torch.optim.Optimizer:
        """`optimizer: adam`."""
        from joeynmt.builders import build_optimizer

        made: torch.optim.Optimizer = build_optimizer(
            {"optimizer": "adam", "learning_rate": 1e-3}, self.theirs.parameters()
        )
        return made

    def search(self, batch: Any, beam_size: int, limit: int) -> list[list[int]]:
        """`joeynmt.search.search`, its rows in the order that they were given in."""
        from joeynmt.search import search

        found, *_ = search(
            self.theirs, batch[0], max_output_length=limit, beam_size=beam_size, beam_alpha=1.0
        )
        rows = [[int(word) for word in row] for row in found]
        cut = [row[: row.index(EOS) + 1] if EOS in row else row for row in rows]
        return [cut[place] for place in batch[1]]


PEERS: dict[str, Callable[[Sizes], Peer]] = {
    "joeynmt-bahdanau": lambda sizes: Joey(sizes, "bahdanau"),
    "joeynmt-luong": lambda sizes: Joey(sizes, "luong"),
    "joeynmt-bahdanau-unfed": lambda sizes: Joey(sizes, "bahdanau", input_feeding=False),
    "joeynmt-luong-unfed": lambda sizes: Joey(sizes, "luong", input_feeding=False),
}


# --- attention alone --------------------------------------------------------------------------


def eole(score: str) -> Callable[[int], AttentionPeer]:
    """Eole's GlobalAttention, the successor of OpenNMT-py's, without its output layer."""

    def build(width: int) -> AttentionPeer:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about kernels for GPUs
            from eole.modules.global_attention import GlobalAttention

        module = GlobalAttention(width, attn_type=score)
        if score == "mlp":
            ours: Any = AdditiveScore(width, width, width)
            nn.init.zeros_(module.linear_query.bias)
            copy(
                [
                    (ours.query.weight, module.linear_query.weight),
                    (ours.key.weight, module.linear_context.weight),
                    (ours.v, module.v.weight),
                ]
            )
        elif score == "general":
            ours = GeneralScore(width, width)
            copy([(ours.key.weight.T.contiguous(), module.linear_in.weight)])
        else:
            ours = DotScore()
        attention = Attention(ours)

        def theirs(queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
            scores = module.score(queries, keys).masked_fill_(~mask, -torch.inf)
            weights = module._normalize_attention(scores, *scores.shape)
            return torch.bmm(weights, keys)

        return AttentionPeer(
            lambda queries, keys, mask: attention(queries, keys, keys, mask).context,
            theirs,
            package="eole",
            notes="the lines of its forward method up to the context; its general score "
            "multiplies the queries, ours the keys",
        )

    return build


def x_transformers(width: int) -> AttentionPeer:
    """The Attend module of x-transformers with one head, against scaled dot."""
    from x_transformers.attend import Attend

    module, attention = Attend(heads=1, flash=False), Attention(ScaledDotScore())

    def theirs(queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        one = keys.unsqueeze(1)
        found: Tensor = module(queries.unsqueeze(1), one, one, mask=mask.unsqueeze(1))[0]
        return found[:, 0]

    return AttentionPeer(
        lambda queries, keys, mask: attention(queries, keys, keys, mask).context,
        theirs,
        package="x-transformers",
        notes="one head",
    )


def hugging_face(width: int) -> AttentionPeer:
    """The eager attention that BERT and others of Transformers share, with one head."""
    from transformers.models.bert.modeling_bert import eager_attention_forward

    module, attention = nn.Module(), Attention(ScaledDotScore())
    module.eval()

    def theirs(queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        one = keys.unsqueeze(1)
        added = keys.new_zeros(mask.shape).masked_fill(~mask, -torch.inf).unsqueeze(1)
        found = eager_attention_forward(
            module, queries.unsqueeze(1), one, one, added, scaling=width**-0.5, dropout=0.0
        )
        context: Tensor = found[0][:, :, 0]
        return context

    return AttentionPeer(
        lambda queries, keys, mask: attention(queries, keys, keys, mask).context,
        theirs,
        package="transformers",
        notes="one head; its mask is a float that is added",
    )


ATTENTION_PEERS: dict[str, Callable[[int], AttentionPeer]] = {
    "eole-dot": eole("dot"),
    "eole-general": eole("general"),
    "eole-mlp": eole("mlp"),
    "x-transformers": x_transformers,
    "transformers-bert": hugging_face,
}
