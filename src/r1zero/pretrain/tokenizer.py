"""A small tokenizer: bytes, and one token for each constant piece of prompt and answer.

A published prompt has hundreds of characters that are the same in every problem. Each constant
piece is one token here, so that a mini model reads the same text as a large one in about twenty
tokens, most of them digits. Any other text is encoded as bytes and decoded without loss.
"""

from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, END = "<|pad|>", "<|im_end|>"


def build_tokenizer(pieces: Sequence[str]) -> PreTrainedTokenizerFast:
    """Make a tokenizer of the 256 bytes, padding, end of text, and `pieces`.

    Pieces are ordinary tokens, not special ones: decoding keeps them even if special tokens are
    skipped, so that rewards see the tags. Do not save it with a model of type `qwen2`: for that
    type `AutoTokenizer` builds Qwen2's own tokenizer whatever the files say.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={byte: i for i, byte in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(PAD, special=True), AddedToken(END, special=True)])
    tokenizer.add_tokens(
        [AddedToken(piece, special=False, normalized=False) for piece in dict.fromkeys(pieces)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
