"""From names and specs to the models of a run.

A spec is `BACKEND:SOURCE[@DEVICE]`, e.g. `hf:Qwen/Qwen2.5-1.5B-Instruct@cuda:1`, `hf:models/draft`, `bundled:target`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from arbitrage.errors import ModelLoadError
from arbitrage.interfaces import Backend, LanguageModel, Models, Settings, StepScorer
from arbitrage.types import Role

_DEVICE = re.compile(r"@(cpu|cuda|mps|cuda:\d+)$")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model as named by the user."""

    backend: str
    source: str
    device: str | None = None


def parse_spec(text: str, default_backend: str) -> ModelSpec:
    """Read `[BACKEND:]SOURCE[@DEVICE]`; `bundled:NAME` is the bundled model in the default backend's format.

    Args:
        text: what the user typed.
        default_backend: used when the spec names none.

    Raises:
        ModelLoadError: the source is empty.
    """
    device = None
    if match := _DEVICE.search(text):
        device, text = match[1], text[: match.start()]
    backend, colon, source = text.partition(":")
    if not colon or len(backend) == 1 or "/" in backend:  # a plain path; one letter is a Windows drive
        backend, source = default_backend, text
    if not source:
        raise ModelLoadError(f"{text!r} names no model; write BACKEND:PATH, e.g. hf:models/draft")
    return ModelSpec(backend, source, device)


def load_models(
    backend: str = "hf",
    *,
    roles: Iterable[Role] = tuple(Role),
    draft: str | LanguageModel | None = None,
    target: str | LanguageModel | None = None,
    prm: str | StepScorer | None = None,
    router: str | StepScorer | None = None,
    settings: Settings | None = None,
    threads: int | None = None,
    **options: object,
) -> Models:
    """Load the models of a run. A role without a spec takes the bundled model in `backend`'s format.

    When draft or target is named, PRM and router are loaded only if they are named too: the bundled ones know nothing
    of other models' steps.

    Args:
        backend: name of the default backend.
        roles: roles to fill.
        draft: spec or object.
        target: spec or object.
        prm: spec or object.
        router: spec or object.
        settings: the run's settings.
        threads: CPU threads for torch; None leaves them.
        options: passed on to the backend, e.g. `dtype`; None values are left out.

    Raises:
        ModelLoadError: a model cannot be loaded.
        UnknownNameError: a backend is not registered.
    """
    from arbitrage.registry import registry

    if threads is not None:
        _set_threads(threads)
    given: dict[Role, str | LanguageModel | StepScorer | None] = {
        Role.DRAFT: draft,
        Role.TARGET: target,
        Role.PRM: prm,
        Role.ROUTER: router,
    }
    own_pair = draft is not None or target is not None
    kept = {key: value for key, value in options.items() if value is not None}
    backends: dict[str, Backend] = {}
    loaded: dict[str, LanguageModel | StepScorer] = {}
    for role in set(roles):
        wanted = given[role]
        if wanted is not None and not isinstance(wanted, str):
            loaded[role.value] = wanted
            continue
        if wanted is None:
            if own_pair:
                continue
            wanted = f"bundled:{role.value}"
        spec = parse_spec(wanted, backend)
        name = backend if spec.backend == "bundled" else spec.backend
        used = backends.setdefault(name, registry().backend(name))
        source = used.bundled(_bundled_role(spec.source)) if spec.backend == "bundled" else spec.source
        load = used.language_model if role in (Role.DRAFT, Role.TARGET) else used.scorer
        loaded[role.value] = load(source, spec.device, **kept)
    return Models(**loaded, settings=settings or Settings())  # type: ignore[arg-type]


def _bundled_role(name: str) -> Role:
    try:
        return Role(name)
    except ValueError:
        raise ModelLoadError(f"no bundled model named {name!r}; there are: {', '.join(Role)}") from None


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
