"""A process reward model behind HTTP: `--prm 'http-prm:http://HOST:PORT?family=qwen-prm'`.

The stream of token ids is that of the family (`arbitrage.backends.hf.families`), made here with the model's tokenizer;
the server (vLLM, SGLang, or what speaks like them) runs the model over the whole stream for every score.
Discarding, committing and truncation are those of local scorers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from arbitrage.backends.hf import Family, HFCodec
from arbitrage.backends.hf.families import by_name, named
from arbitrage.backends.hf.loading import LoadOptions, Source, load_tokenizer
from arbitrage.backends.hf.readout import RowReadout, TokenPair
from arbitrage.backends.hf.scorer import StreamFormat, StreamScorer
from arbitrage.backends.server.answers import Probabilities, Row, pooled_row, sign_row
from arbitrage.backends.server.http import Client
from arbitrage.errors import ModelLoadError, ServerError
from arbitrage.text import unescaped

_APIS = ("pooling", "embeddings", "classify", "completions")
_LIKELIEST = 20
"""Tokens whose log-probabilities are asked for; servers allow no more by default."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What stands behind the question mark of the URL, or comes as an option of a run."""

    family: str | None = None
    """How the model reads and is read; None: from the model's name."""
    separator: str | None = None
    """Text that ends each step, in families that leave the choice; None: the family's own."""
    model: str | None = None
    """Name of the model on the server; None: the first that it lists."""
    tokenizer: str | None = None
    """Directory or hub id of the model's tokenizer; None: the model's name."""
    api: str | None = None
    """`pooling` (vLLM), `embeddings` (older vLLM), `classify` (SGLang), or `completions` for families that answer by
    a sign. None: `completions` for those, else `pooling`."""
    scores: str | None = None
    """Whether the server answers `probabilities` or `logits`. None: logits from `classify`, else probabilities."""
    context_length: int | None = None
    """Most tokens of a stream; None: as the server says."""
    timeout_s: float = 60.0
    """Seconds to wait for a connection, and for an answer."""
    retries: int = 4
    """Further attempts when the server is busy, fails or cannot be reached."""
    key_env: str = "ARBITRAGE_PRM_KEY"
    """Environment variable that holds the server's key, if it wants one."""

    @classmethod
    def of(cls, told: Mapping[str, object]) -> ServerOptions:
        """From texts or values.

        Raises:
            ModelLoadError: an option is unknown, or its value makes no sense.
        """
        known = {field.name: field for field in fields(cls)}
        if unknown := sorted(told.keys() - known):
            raise ModelLoadError(f"http-prm does not know {', '.join(unknown)}; it knows {', '.join(known)}")
        numbers: dict[str, Callable[[Any], Any]] = {"context_length": int, "timeout_s": float, "retries": int}
        try:
            made = cls(**{name: numbers.get(name, str)(value) for name, value in told.items()})
        except ValueError as error:
            raise ModelLoadError(f"an option of http-prm is not a number: {error}") from error
        if made.api not in (None, *_APIS) or made.scores not in (None, "probabilities", "logits"):
            raise ModelLoadError(f"api is one of {', '.join(_APIS)}; scores is probabilities or logits")
        if made.timeout_s <= 0 or made.retries < 0:
            raise ModelLoadError("timeout_s must be above 0 and retries at least 0")
        if made.separator == "":
            raise ModelLoadError(r"separator is empty; in a URL write \n for a newline")
        return made


class ServerPrm(StreamScorer):
    """A scorer whose model runs elsewhere."""

    network: ServerNetwork

    def __init__(self, source: str, device: str | None = None, **options: object) -> None:
        """Ask the server what it has, and load the tokenizer.

        Args:
            source: the server's URL; behind a question mark the fields of `ServerOptions`.
            device: not used; the server has its own.
            options: fields of `ServerOptions`; what only local models need (`dtype`, `threads`, …) is passed over.

        Raises:
            ModelLoadError: the server cannot be used, or the tokenizer cannot be loaded.
        """
        parts = urlsplit(source)
        own = {field.name: options[field.name] for field in fields(ServerOptions) if field.name in options}
        how = ServerOptions.of({**_queried(parts.query), **own})
        address = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        client = Client(address, how.key_env, how.timeout_s, how.retries)
        model, context_length = _served(client, how)
        told_by = "the option family" if how.family else "its name"
        family = named(how.family or by_name(model))
        if how.separator is not None and not family.separated:
            raise ModelLoadError(f"steps of the family {family.name} end as they must; leave out separator")
        separator, tokenizer = how.separator or family.separator, how.tokenizer or model
        codec = HFCodec(load_tokenizer(Source(tokenizer), LoadOptions()))
        api = how.api or ("completions" if family.labels is None else "pooling")
        if (api == "completions") != (family.labels is None):
            raise ModelLoadError(f"the family {family.name} is not read over {api}; leave out api")
        if family.labels == 1 and how.scores is None and api != "classify":
            raise ModelLoadError(
                f"one number a step of {family.name} over {api} may be a probability or, as from Skywork's own plugin, "
                "a logit, and looks the same: say scores=probabilities or scores=logits"
            )
        scores = how.scores or ("logits" if api == "classify" else "probabilities")
        if family.labels is None:
            readout: RowReadout = TokenPair(good=0, bad=1)
        else:
            readout = Probabilities() if scores == "probabilities" else family.readout(codec)
        super().__init__(
            name=model.rstrip("/").rsplit("/", 1)[-1],
            # A completion has to have room for the token that is asked for.
            network=ServerNetwork(
                _asking(client, api, model, family, codec), context_length - (api == "completions"), api
            ),
            encoder=family.encoder(codec, StreamFormat(separator=separator)),
            readout=readout,
            thresholds={},
            facts={
                "backend": "http-prm",
                "source": client.url,
                "model": model,
                "family": family.name,
                "family_by": told_by,
                "tokenizer": tokenizer,
                "context_length": context_length,
                **({"separator": separator} if family.separated else {}),
                **({} if family.labels is None else {"scores": scores}),
            },
        )


class ServerNetwork:
    """The model on the server, as sessions see it."""

    def __init__(self, ask: Callable[[list[int]], Row], context_length: int, api: str) -> None:
        """`ask` gives the row at the last of some ids."""
        self.ask, self.context_length = ask, context_length
        self.forward_kind = f"server, {api}"

    def new_cache(self) -> ServerCache:
        """An empty sequence."""
        return ServerCache(self)


class ServerCache:
    """The ids of one sequence; what is encoded of them is the server's business. A `KVCache`."""

    def __init__(self, network: ServerNetwork) -> None:
        self._network = network
        self._ids: list[int] = []

    @property
    def length(self) -> int:
        """Positions held."""
        return len(self._ids)

    def forward(self, ids: Sequence[int], keep: int) -> Row:
        """See `KVCache.forward`; only the last row can be had.

        Raises:
            ServerError: the server does not give it.
        """
        if keep != 1:
            raise ValueError(f"a server gives the last row only, not {keep}")
        row = self._network.ask([*self._ids, *ids])
        self._ids += ids
        return row[None]

    def truncate(self, length: int) -> None:
        """See `KVCache.truncate`."""
        del self._ids[length:]

    def close(self) -> None:
        """There is nothing to free."""


def _queried(query: str) -> dict[str, str]:
    """The options behind a URL's question mark."""
    told = dict(parse_qsl(query, keep_blank_values=True))
    return {name: unescaped(value) if name == "separator" else value for name, value in told.items()}


def _served(client: Client, how: ServerOptions) -> tuple[str, int]:
    """Name and context of the model; the server is asked for what the options leave open.

    Raises:
        ModelLoadError: the server does not say.
    """
    if how.model is not None and how.context_length is not None:
        return how.model, how.context_length
    try:
        models = client.get("/v1/models")["data"]
        found = next(one for one in models if how.model in (None, one["id"]))
        model, longest = str(found["id"]), found.get("max_model_len")
    except (KeyError, TypeError, AttributeError, StopIteration):
        wanted = "no model" if how.model is None else f"no model named {how.model!r}"
        raise ModelLoadError(f"{client.url} lists {wanted}; give model=NAME and context_length=N") from None
    except ServerError as error:
        raise ModelLoadError(f"{error}; give model=NAME and context_length=N if it does not list models") from error
    if how.context_length is None and (not isinstance(longest, int) or longest < 1):
        raise ModelLoadError(f"{client.url} does not say how long a stream of {model} may be; give context_length=N")
    return model, how.context_length or int(longest)


def _asking(client: Client, api: str, model: str, family: Family, codec: HFCodec) -> Callable[[list[int]], Row]:
    """How the row at the last of some ids is got from the server."""
    if family.labels is None:
        signs = family.readout(codec)
        assert isinstance(signs, TokenPair)
        more = {"max_tokens": 1, "temperature": 0, "logprobs": _LIKELIEST, "return_tokens_as_token_ids": True}
        return lambda ids: sign_row(
            client.post("/v1/completions", {"model": model, "prompt": ids, **more}), signs.good, signs.bad
        )
    path, name = {
        "pooling": ("/pooling", "input"),
        "embeddings": ("/v1/embeddings", "input"),
        "classify": ("/classify", "input_ids"),
    }[api]
    outputs = family.labels
    return lambda ids: pooled_row(client.post(path, {"model": model, name: ids}), outputs)
