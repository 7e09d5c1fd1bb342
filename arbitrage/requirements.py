"""What a strategy needs and what the models of a run offer, compared before the first token."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from arbitrage.errors import CapabilityError, VocabularyMismatchError
from arbitrage.interfaces import LanguageModel, Models, Strategy, TextCodec
from arbitrage.types import Role

_compared: WeakKeyDictionary[TextCodec, WeakKeyDictionary[TextCodec, bool]] = WeakKeyDictionary()


def check_requirements(strategy: Strategy, models: Models) -> None:
    """Check, before the first token, that `models` offers what `strategy` needs.

    Raises:
        CapabilityError: a role is empty or a model lacks a capability.
        VocabularyMismatchError: the strategy exchanges token ids between draft and target, and they do not share a
            tokenizer.
    """
    roles = {need for need in strategy.requires if isinstance(need, Role)}
    missing = roles - models.roles()
    if missing:
        flags = ", ".join(f"--{role} BACKEND:PATH" for role in sorted(missing))
        raise CapabilityError(f"strategy {strategy.name!r} needs {', '.join(sorted(missing))}; name it with {flags}")
    capabilities = strategy.requires - roles
    for role in (Role.DRAFT, Role.TARGET):
        if role in roles:
            model = models.language(role)
            lacking = sorted(capabilities - model.capabilities)
            if lacking:
                raise CapabilityError(
                    f"strategy {strategy.name!r} needs {', '.join(lacking)} but the {role} {model.name!r} does not "
                    f"offer it (it offers: {', '.join(sorted(model.capabilities)) or 'nothing'})"
                )
    if {Role.DRAFT, Role.TARGET} <= roles and not strategy.mixes_tokenizers:
        try:
            check_vocabularies(models.language(Role.DRAFT), models.language(Role.TARGET))
        except VocabularyMismatchError as error:
            raise VocabularyMismatchError(
                f"{error} Strategy {strategy.name!r} exchanges token ids between draft and target. With this pair use "
                "a step strategy (rsd, arbitrage-router, arbitrage-oracle, random-route), which exchanges text, or "
                "speculate without a draft model: token-sd:proposer=ngram"
            ) from None


def shares_tokenizer(draft: LanguageModel, target: LanguageModel) -> bool:
    """Whether token ids mean the same to both models. The answer is remembered with the codecs."""
    known = _compared.setdefault(draft.codec, WeakKeyDictionary())
    if target.codec not in known:
        try:
            check_vocabularies(draft, target)
            known[target.codec] = True
        except VocabularyMismatchError:
            known[target.codec] = False
    return known[target.codec]


def check_vocabularies(draft: LanguageModel, target: LanguageModel) -> None:
    """Check that draft and target share token ids. Sizes that differ only by padding are fine.

    Raises:
        VocabularyMismatchError: some token has different ids, or stands in one vocabulary only.
    """
    if draft.codec is target.codec:
        return
    ours, theirs = _tokens(draft.codec), _tokens(target.codec)
    if ours == theirs and draft.codec.eos_ids & target.codec.eos_ids:
        return
    different = sorted(
        (token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token)),
        key=lambda token: (ours.get(token, theirs.get(token, 0)), token),
    )
    if different:
        token = different[0]
        raise VocabularyMismatchError(
            f"draft {draft.name!r} and target {target.name!r} disagree on {len(different)} tokens, first on "
            f"{token!r}: {ours.get(token, 'absent')} vs {theirs.get(token, 'absent')}. Use models that share a "
            "tokenizer; sizes that differ only by padding are fine."
        )
    raise VocabularyMismatchError(
        f"draft {draft.name!r} and target {target.name!r} have no end-of-sequence token in common: "
        f"{sorted(draft.codec.eos_ids)} vs {sorted(target.codec.eos_ids)}"
    )


def _tokens(codec: TextCodec) -> dict[str, int]:
    """The vocabulary without places that converters filled up, named after their own number."""
    return {token: i for token, i in codec.vocabulary().items() if token != f"[PAD{i}]"}
