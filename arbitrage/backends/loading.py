"""From names and specs to the models of a run.

A spec is `BACKEND:SOURCE[@DEVICE]`, e.g. `hf:Qwen/Qwen2.5-1.5B-Instruct@cuda:1`, `gguf:draft-q4_k_m.gguf`, or
`bundled:NAME[@PRECISION][@DEVICE]`, e.g. `bundled:target@q3_k`. For PRM and router the name of a registered scorer may
stand in the place of the backend.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from arbitrage.backends.threads import AUTO, choose_threads
from arbitrage.errors import ModelLoadError
from arbitrage.interfaces import Backend, LanguageModel, Models, Settings, StepScorer
from arbitrage.types import Role

_DEVICE = re.compile(r"@(cpu|cuda|mps|cuda:\d+)$")
_VARIANT_BACKENDS = {"gguf": re.compile(r"i?q\d\w*|t?f16|bf16|f32", re.IGNORECASE), "gptq": re.compile(r"gptq\d\w*")}
"""Which backend has the bundled models in a precision of this spelling."""
BUNDLED = "bundled"
_SCORERS = (Role.PRM, Role.ROUTER)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model as named by the user."""

    backend: str
    source: str
    device: str | None = None
    variant: str | None = None
    """Precision of a bundled model."""


def parse_spec(text: str, default_backend: str) -> ModelSpec:
    """Read `[BACKEND:]SOURCE[@DEVICE]`; `bundled:NAME` is the bundled model in the default backend's format.

    `bundled:NAME@PRECISION` is the bundled model in the format that has this precision.

    Args:
        text: what the user typed.
        default_backend: used when the spec names none.

    Raises:
        ModelLoadError: the source is empty, or no backend has bundled models in this precision.
    """
    device = None
    if match := _DEVICE.search(text):
        device, text = match[1], text[: match.start()]
    backend, colon, source = text.partition(":")
    if not colon or len(backend) == 1 or "/" in backend:  # a plain path; one letter is a Windows drive
        backend, source = default_backend, text
    if not source:
        raise ModelLoadError(f"{text!r} names no model; write BACKEND:PATH, e.g. hf:models/draft")
    if backend != BUNDLED:
        return ModelSpec(backend, source, device)
    source, _, variant = source.partition("@")
    if not variant:
        return ModelSpec(backend, source, device)
    if any(spelling.fullmatch(variant) for spelling in _VARIANT_BACKENDS.values()):
        return ModelSpec(backend, source, device, variant)
    raise ModelLoadError(f"{text!r}: {variant!r} is neither a device nor a precision such as q8_0, q3_k or gptq4")


def load_models(
    backend: str = "hf",
    *,
    roles: Iterable[Role] = tuple(Role),
    draft: str | LanguageModel | None = None,
    target: str | LanguageModel | None = None,
    prm: str | StepScorer | None = None,
    router: str | StepScorer | None = None,
    settings: Settings | None = None,
    threads: int | str | Mapping[str, int] | None = None,
    prm_family: str | None = None,
    prm_separator: str | None = None,
    **options: object,
) -> Models:
    """Load the models of a run. A role without a spec takes the bundled model in `backend`'s format.

    When draft or target is somebody else's, the other models are loaded only if they are named too: the bundled ones
    know nothing of other models' steps. The bundled models in any precision count as the bundled family.

    Args:
        backend: name of the default backend.
        roles: roles to fill.
        draft: spec or object.
        target: spec or object.
        prm: spec or object.
        router: spec or object.
        settings: the run's settings.
        threads: CPU threads of each backend; None leaves the choice to it, 'auto' tries which are fastest (see
            `arbitrage.backends.threads`). A mapping gives roles their own; those that it leaves out are as with None.
        prm_family: how the PRM reads and is read, e.g. 'skywork'; None leaves it to the checkpoint.
        prm_separator: the text that ends each step for the PRM, in families that leave the choice.
        options: passed on to the backends that know them, e.g. `dtype`; None values are left out.

    Raises:
        ModelLoadError: a model cannot be loaded, or no backend of this run knows an option.
        UnknownNameError: a backend is not registered.
    """
    from arbitrage.registry import registry

    given: dict[Role, str | LanguageModel | StepScorer | None] = {
        Role.DRAFT: draft,
        Role.TARGET: target,
        Role.PRM: prm,
        Role.ROUTER: router,
    }
    own_pair = any(model is not None and not _is_bundled(model) for model in (draft, target))
    if isinstance(threads, str) and threads != AUTO:
        raise ModelLoadError(f"threads is a number or {AUTO!r}, not {threads!r}")
    of_all = {key: value for key, value in options.items() if value is not None}
    of_prm = {"family": prm_family, "separator": prm_separator}
    of_prm = {key: value for key, value in of_prm.items() if value is not None}
    backends: dict[str, Backend] = {}
    loaded: dict[str, LanguageModel | StepScorer] = {}
    understood: set[str] = {"threads", "sessions"}  # backends that have nothing to set for them go without
    for role in set(roles):
        wanted = given[role]
        count = threads.get(role.value) if isinstance(threads, Mapping) else threads if threads != AUTO else None
        kept = of_all if count is None else {**of_all, "threads": count}
        if wanted is not None and not isinstance(wanted, str):
            loaded[role.value] = wanted
            continue
        if wanted is None:
            if own_pair:
                continue
            wanted = f"{BUNDLED}:{role.value}"
        spec = parse_spec(wanted, backend)
        name = _backend_of(spec, backend)
        also = of_prm if role is Role.PRM else {}
        if role in _SCORERS and name in registry().names("scorer"):
            loaded[role.value] = registry().scorer(name)(spec.source, device=spec.device, **kept, **also)
            understood |= kept.keys()
            continue
        if name not in backends:
            backends[name] = registry().backend(name)
        used = backends[name]
        own = {key: value for key, value in kept.items() if used.options is None or key in used.options}
        understood |= own.keys()
        load = used.language_model if role in (Role.DRAFT, Role.TARGET) else used.scorer
        loaded[role.value] = load(_source(spec, used), spec.device, **own, **also)
    if unknown := sorted(of_all.keys() - understood):
        known = sorted({key for used in backends.values() for key in used.options or ()})
        raise ModelLoadError(
            f"no backend of this run ({', '.join(sorted(backends)) or 'none'}) knows {', '.join(unknown)}; they know: "
            f"{', '.join(known)}"
        )
    models = Models(**loaded, settings=settings or Settings())  # type: ignore[arg-type]
    return choose_threads(models) if threads == AUTO else models


def _is_bundled(model: str | LanguageModel | StepScorer) -> bool:
    return isinstance(model, str) and model.startswith(f"{BUNDLED}:")


def _backend_of(spec: ModelSpec, default: str) -> str:
    """Name of the backend that loads `spec`."""
    if spec.backend != BUNDLED:
        return spec.backend
    if spec.variant is not None:
        return next(name for name, spelling in _VARIANT_BACKENDS.items() if spelling.fullmatch(spec.variant))
    return default


def _source(spec: ModelSpec, backend: Backend) -> str:
    """Where `backend` finds the model."""
    if spec.backend != BUNDLED:
        return spec.source
    try:
        role = Role(spec.source)
    except ValueError:
        raise ModelLoadError(f"no bundled model named {spec.source!r}; there are: {', '.join(Role)}") from None
    # Backends that ship one precision only need not know of others.
    return backend.bundled(role) if spec.variant is None else backend.bundled(role, spec.variant)
