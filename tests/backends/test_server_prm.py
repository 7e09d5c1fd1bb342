"""A PRM behind HTTP scores as the same checkpoint does at hand, and says what is wrong with its server."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("urllib3")

from arbitrage.backends.loading import load_models  # noqa: E402
from arbitrage.backends.server import http  # noqa: E402
from arbitrage.backends.server.answers import pooled_row, sign_row  # noqa: E402
from arbitrage.errors import ModelLoadError, ServerError  # noqa: E402
from arbitrage.types import Role  # noqa: E402
from tests.backends.prm_checkpoints import NAMES, SAVE  # noqa: E402
from tests.backends.prm_references import REFERENCES, _final_states, skywork  # noqa: E402
from tests.backends.test_prm_families import PROBLEM, STEPS  # noqa: E402

KEY = "sk-very-secret"


class Server(ThreadingHTTPServer):
    """Answers as vLLM and SGLang do, by plain transformers; `faults` are given before the first true answers."""

    daemon_threads = True

    def __init__(self, directory, family: str, limit: int = 512) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.directory, self.family, self.limit = directory, family, limit
        self.faults: list[tuple[int, bytes, dict[str, str]]] = []
        self.asked: list[tuple[str, dict[str, object], str | None]] = []
        self.silent = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, path: str, told) -> object:
        if path == "/v1/models":
            return {"object": "list", "data": [{"id": self.directory.name, "max_model_len": self.limit}]}
        ids = told.get("input") or told.get("input_ids") or told["prompt"]
        hidden, states = _final_states(self.directory, ids)
        if path == "/v1/completions":
            logprobs = (states["lm_head.weight"] @ hidden[-1]).log_softmax(-1)
            named = {f"token_id:{token}": value for token, value in enumerate(logprobs.tolist())}
            return {"choices": [{"logprobs": {"top_logprobs": [named]}}]}
        if self.family == "skywork":
            rows = hidden @ states["v_head.summary.weight"].T + states["v_head.summary.bias"]
        elif self.family == "qwen-prm":
            inner = (hidden @ states["score.0.weight"].T + states["score.0.bias"]).relu()
            rows = inner @ states["score.2.weight"].T + states["score.2.bias"]
        else:
            rows = hidden @ states["score.weight"].T + states["score.bias"]
        if path == "/classify":
            return [{"embedding": rows[-1].tolist(), "meta_info": {}}]
        if path == "/v1/embeddings":
            return {"data": [{"index": 0, "embedding": rows[:, 0].tolist()}]}
        assert path == "/pooling"
        chances = rows.sigmoid() if rows.shape[1] == 1 else rows.softmax(-1)
        return {"data": [{"index": 0, "object": "pooling", "data": chances.tolist()}]}


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _serve(self, told) -> None:
        self.server.asked.append((self.path, told, self.headers.get("Authorization")))
        if self.server.silent.is_set():
            self.close_connection = True
            threading.Event().wait(5)
            return
        if self.server.faults:
            status, body, headers = self.server.faults.pop(0)
        else:
            status, body, headers = 200, json.dumps(self.server.answer(self.path, told)).encode(), {}
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Tests are quiet."""


@contextlib.contextmanager
def serving(directory, family: str, **more: int) -> Iterator[Server]:
    server = Server(directory, family, **more)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    made = {}

    def of(family: str):
        if family not in made:
            made[family] = SAVE[family](tmp_path_factory.mktemp("served") / NAMES[family], "safetensors")
        return made[family]

    return of


@pytest.fixture
def naps(monkeypatch) -> list[float]:
    """Waits before retries, which tests do not wait."""
    slept: list[float] = []
    monkeypatch.setattr(http, "sleep", slept.append)
    return slept


@pytest.fixture
def server(checkpoints, naps) -> Iterator[Server]:
    with serving(checkpoints("qwen-prm"), "qwen-prm") as running:
        yield running


def load(server: Server, query: str = "", **options: object):
    spec = f"http-prm:{server.url}?tokenizer={server.directory}{query}"
    prm = load_models("hf", roles=[Role.PRM], prm=spec, **options).prm
    assert prm is not None
    return prm


CASES = [
    ("qwen-prm", ""),
    ("qwen-prm", "&api=classify"),
    ("skywork", "&scores=probabilities"),
    ("skywork", "&api=classify"),
    ("skywork", "&api=embeddings&scores=logits"),
    ("token-classification", "&family=token-classification"),
    ("math-shepherd", ""),
    ("rlhflow", "&family=rlhflow"),
]


@pytest.mark.parametrize(("family", "query"), CASES)
def test_scores_over_http_are_those_of_the_published_format(family, query, checkpoints):
    """Scored, discarded, committed, appended: each endpoint's numbers lead to the score of the whole solution."""
    directory = checkpoints(family)
    with serving(directory, family) as server:
        prm = load(server, query, dtype="float32", threads=1)
        with prm.open(PROBLEM) as session:
            assert session.score("a wrong step", "draft") == pytest.approx(
                REFERENCES[family](directory, PROBLEM, ["a wrong step"]), abs=1e-5
            )
            session.discard()
            session.append(STEPS[0], "target")
            for number in (1, 2):
                wanted = REFERENCES[family](directory, PROBLEM, STEPS[: number + 1])
                assert session.score(STEPS[number], "draft") == pytest.approx(wanted, abs=1e-5)
                session.commit()
            assert session.usage.calls == 3
    facts = prm.describe()
    assert (facts["family"], facts["backend"], facts["source"]) == (family, "http-prm", server.url)


def test_the_servers_context_bounds_the_stream(checkpoints):
    """The oldest steps are dropped until the rest fits into what the server says."""
    directory = checkpoints("qwen-prm")
    with serving(directory, "qwen-prm", limit=200) as server, load(server).open(PROBLEM) as session:
        for step in [*STEPS, *STEPS]:
            session.append(step, "draft")
        score = session.score("The end.", "draft")
        kept = len(session._steps)
        assert 0 < kept < 12
        assert len(server.asked[-1][1]["input"]) <= 200
        wanted = REFERENCES["qwen-prm"](directory, PROBLEM, [*[*STEPS, *STEPS][-kept:], "The end."])
        assert score == pytest.approx(wanted, abs=1e-5)


def test_a_completion_leaves_room_for_the_token_that_is_asked_for(checkpoints):
    """Servers refuse a prompt as long as their context, which the fake one would have taken."""
    with (
        serving(checkpoints("math-shepherd"), "math-shepherd", limit=120) as server,
        load(server).open(PROBLEM) as session,
    ):
        for step in [*STEPS, *STEPS]:
            session.append(step, "draft")
            session.score("The end.", "draft")
        asked = [body for path, body, _ in server.asked if path.endswith("completions")]
        assert max(len(body["prompt"]) for body in asked) < 120
        assert {(body["max_tokens"], body["temperature"], body["return_tokens_as_token_ids"]) for body in asked} == {
            (1, 0, True)
        }


@pytest.mark.parametrize("typed", ["\\n", "%0A", "\\n\\n"])
def test_a_separator_is_typed_as_in_a_shell(typed, checkpoints):
    r"""`\n` is a newline, not two letters; so it is in the facts, by which runs are told apart."""
    directory, separator = checkpoints("skywork"), {"\\n\\n": "\n\n"}.get(typed, "\n")
    with serving(directory, "skywork") as server:
        prm = load(server, f"&scores=probabilities&separator={typed}")
        assert prm.describe()["separator"] == separator
        with prm.open(PROBLEM) as session:
            session.append(STEPS[0], "draft")
            wanted = skywork(directory, PROBLEM, STEPS[:2], separator)
            assert session.score(STEPS[1], "draft") == pytest.approx(wanted, abs=1e-5)
        by_option = load(server, "&scores=probabilities", prm_separator=separator)
        assert by_option.describe() == prm.describe()


def test_what_changes_rewards_is_in_the_facts(checkpoints, tmp_path):
    """Another separator, another reading of the numbers, tokenizer or context is another PRM; patience is none."""
    directory = checkpoints("skywork")
    other = tmp_path / "tokenizer"
    shutil.copytree(directory, other)
    with serving(directory, "skywork") as server:
        queries = ("", "&separator=\\n", "&scores=logits", f"&tokenizer={other}", "&context_length=300")
        told = [load(server, f"&scores=probabilities{query}").describe() for query in queries]
        assert all(one != two for one, two in itertools.combinations(told, 2))
        assert load(server, "&scores=probabilities&retries=1&timeout_s=9").describe() == told[0]
        server.limit = 200
        assert load(server, "&scores=probabilities").describe()["context_length"] == 200
    assert {name: told[0][name] for name in ("separator", "scores", "tokenizer", "context_length")} == {
        "separator": "\n\n",
        "scores": "probabilities",
        "tokenizer": str(directory),
        "context_length": 512,
    }


def test_a_family_says_only_what_it_reads(checkpoints):
    """No separator where the format has its own, and giving one is an error as for local models; no empty one."""
    with serving(checkpoints("math-shepherd"), "math-shepherd") as server:
        assert not {"separator", "scores"} & load(server).describe().keys()
        with pytest.raises(ModelLoadError, match="leave out separator"):
            load(server, prm_separator="\n")
        with pytest.raises(ModelLoadError, match="separator is empty"):
            load(server, "&separator=")


def test_one_number_a_step_has_to_be_named(checkpoints):
    """A logit of 0.4 was taken for a probability of 0.4; it is 0.599."""
    with serving(checkpoints("skywork"), "skywork") as server, pytest.raises(ModelLoadError, match="scores=logits"):
        load(server, "&api=embeddings")


def test_a_busy_or_failing_server_is_asked_again(server, naps):
    """Waits double, and are at least what the server asks for, but never longer than half a minute."""
    session = load(server).open(PROBLEM)
    wanted = session.score(STEPS[0], "draft")
    session.discard()
    server.faults = [(429, b"slow down", {"Retry-After": "7"}), (503, b"", {}), (500, b"", {"Retry-After": "86400"})]
    assert session.score(STEPS[1], "draft") != wanted
    assert naps == [7.0, 1.0, 30.0]
    assert session.score(STEPS[0], "draft") == wanted


def test_a_failed_score_leaves_the_session_as_it_was(server):
    """After the server is back, scores are those of the solution without the failed candidate."""
    with load(server, "&retries=0").open(PROBLEM) as session:
        session.append(STEPS[0], "draft")
        server.faults = [(503, b"down", {})]
        with pytest.raises(ServerError, match="answered 503: down"):
            session.score(STEPS[2], "draft")
        wanted = REFERENCES["qwen-prm"](server.directory, PROBLEM, STEPS[:2])
        assert session.score(STEPS[1], "draft") == pytest.approx(wanted, abs=1e-5)


FAULTS = [
    (400, b'{"error": "too\x07 long"}', {}, "answered 400.*too long"),
    (302, b"", {"Location": "http://example.invalid/"}, "answered 302"),
    (200, b"<html>", {}, "not JSON: <html>"),
    (200, b"[" * 100_000, {}, "not JSON"),
    (200, b'{"data": []}', {}, "row of 2 numbers, but there is 0 numbers"),
    (200, b'{"data": [{"data": [[0.1, 0.2, 0.7]]}]}', {}, "row of 2 numbers, but there is 3 numbers"),
    (200, b'{"data": [{"data": "x"}]}', {}, "there is nothing of the kind"),
    (200, b"null", {}, "there is nothing of the kind"),
    (200, b'{"data": [{"data": [[NaN, 0.5]]}]}', {}, "not a finite number"),
    (200, b'{"data": [{"data": [["0.5", true]]}]}', {}, "not a finite number"),
    (200, b'{"data": [{"data": [[-3.0, 2.5]]}]}', {}, "add scores=logits"),
    (200, b'{"data": [{"data": [[0.5, 0.9]]}]}', {}, "add scores=logits"),
]


@pytest.mark.parametrize(("status", "body", "headers", "message"), FAULTS)
def test_nonsense_is_an_error_and_never_a_score(status, body, headers, message, server, naps):
    """Refusals are not repeated; redirects are not followed; what is quoted has no control characters."""
    with load(server).open(PROBLEM) as session:
        server.faults = [(status, body, headers)]
        with pytest.raises(ServerError, match=message) as caught:
            session.score(STEPS[0], "draft")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    assert not naps


def test_a_server_that_stays_down_is_given_up_with_the_number_of_attempts(server, naps):
    """Five by default."""
    prm = load(server)
    with prm.open(PROBLEM) as session:
        server.faults = [(503, b"later", {})] * 10
        with pytest.raises(ServerError, match="failed 5 times; the last time: answered 503: later"):
            session.score(STEPS[0], "draft")
    assert naps == [0.5, 1.0, 2.0, 4.0]


def test_a_server_that_says_nothing_is_given_up(server):
    """The timeout is an option."""
    with load(server, "&timeout_s=0.05&retries=1").open(PROBLEM) as session:
        server.silent.set()
        with pytest.raises(ServerError, match=r"failed 2 times.*[Tt]ime"):
            session.score(STEPS[0], "draft")


def test_a_server_that_is_not_there_is_an_error_at_load_time(server, naps):
    """With its address."""
    url = server.url
    server.server_close()
    with pytest.raises(ModelLoadError, match=rf"{url}/v1/models failed 2 times"):
        load_models("hf", roles=[Role.PRM], prm=f"http-prm:{url}?retries=1&timeout_s=1")


def test_the_key_is_sent_and_shown_nowhere(server, monkeypatch):
    """It comes from the environment, and is cut out of what a server repeats."""
    monkeypatch.setenv("ARBITRAGE_PRM_KEY", KEY)
    prm = load(server)
    assert {sent for _, _, sent in server.asked} == {f"Bearer {KEY}"}
    assert KEY not in json.dumps(prm.describe())
    server.faults = [(401, f"no such key: {KEY}".encode(), {})]
    with (
        prm.open(PROBLEM) as session,
        pytest.raises(ServerError, match=r"no such key: \*\*\*.*ARBITRAGE_PRM_KEY") as caught,
    ):
        session.score(STEPS[0], "draft")
    assert KEY not in str(caught.value)


def test_without_a_key_none_is_sent_and_another_variable_can_be_named(server, monkeypatch):
    """Keys of other services stay where they are."""
    monkeypatch.delenv("ARBITRAGE_PRM_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    load(server)
    assert {sent for _, _, sent in server.asked} == {None}
    load(server, "&key_env=OPENAI_API_KEY")
    assert server.asked[-1][2] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("http-prm:ftp://host/", "http://HOST:PORT"),
        ("http-prm:host:80", "http://HOST:PORT"),
        (f"http-prm:http://me:{KEY}@host/", "without user and password"),
        ("http-prm:http://host?timout_s=1", "does not know timout_s; it knows family"),
        ("http-prm:http://host?retries=many", "is not a number"),
        ("http-prm:http://host?retries=-1", "retries at least 0"),
        ("http-prm:http://host?api=soap", "api is one of pooling"),
        ("http-prm:http://host?model=x&context_length=9", "nothing in the name 'x'"),
        ("http-prm:http://host?model=x&context_length=9&family=y", "no family of PRMs named 'y'"),
    ],
)
def test_specs_that_cannot_be_meant_are_errors_before_anything_is_sent(spec, message):
    """The message never holds a password."""
    with pytest.raises(ModelLoadError, match=message) as caught:
        load_models("hf", roles=[Role.PRM], prm=spec)
    assert KEY not in str(caught.value)


def test_a_family_and_an_endpoint_that_do_not_fit_are_an_error(server):
    """A head of labels is not read by completions."""
    with pytest.raises(ModelLoadError, match="not read over completions"):
        load(server, "&api=completions")


@pytest.mark.parametrize(
    ("answer", "outputs", "row"),
    [
        ({"data": [{"data": [[0.9, 0.1], [0.2, 0.8]]}]}, 2, [0.2, 0.8]),
        ({"data": [{"data": [0.2, 0.8]}]}, 2, [0.2, 0.8]),
        ({"data": [{"data": [[0.1], [0.3]]}]}, 1, [0.3]),
        ({"data": [{"embedding": [0.1, 0.2, 0.3]}]}, 1, [0.3]),
        ({"embedding": [0.4]}, 1, [0.4]),
        ([{"embedding": [1.5, -2]}], 2, [1.5, -2]),
        ({"data": [{"probs": [0.25, 0.75], "label": "x"}]}, 2, [0.25, 0.75]),
    ],
)
def test_the_newest_row_is_found_in_every_servers_answer(answer, outputs, row):
    """A row a token, a row a step, the last row only, or one number a token."""
    assert pooled_row(answer, outputs).tolist() == pytest.approx(row)


def _likeliest(**logprobs: float) -> object:
    told = {name.replace("id", "token_id:"): value for name, value in logprobs.items()}
    return {"choices": [{"logprobs": {"top_logprobs": [told]}}]}


def test_a_sign_that_is_not_among_the_likeliest_counts_as_the_last_of_them():
    """It is at most that likely, so that the score errs towards the other sign by no more than that."""
    assert sign_row(_likeliest(id7=-0.1, id8=-4.0, id9=-9.0), 7, 8).tolist() == pytest.approx([-0.1, -4.0])
    assert sign_row(_likeliest(id7=-0.1, id9=-9.0), 7, 8).tolist() == pytest.approx([-0.1, -9.0])
    assert sign_row(_likeliest(id8=-0.1, id9=-9.0), 7, 8).tolist() == pytest.approx([-9.0, -0.1])
    with pytest.raises(ServerError, match="neither of the signs 7 and 8"):
        sign_row(_likeliest(id1=-0.1), 7, 8)


@pytest.mark.parametrize(
    "answer",
    [None, {}, {"choices": []}, {"choices": [{"logprobs": None}]}, {"choices": [{"logprobs": {"top_logprobs": [3]}}]}],
)
def test_completions_without_log_probabilities_are_an_error(answer):
    """Some servers leave them out unless they are told to give them."""
    with pytest.raises(ServerError, match="holds no log-probabilities"):
        sign_row(answer, 7, 8)


@pytest.mark.parametrize("key", ["sk-secret\rmore", "sk-sécret"])
def test_a_key_that_no_header_can_hold_is_refused_without_being_told(key, monkeypatch):
    """A secret file with CRLF had its key quoted in the traceback of whoever refused to send it."""
    from arbitrage.backends.server.http import Client

    monkeypatch.setenv("ARBITRAGE_PRM_KEY", key)
    with pytest.raises(ModelLoadError, match="ARBITRAGE_PRM_KEY") as told:
        Client("http://localhost:1", "ARBITRAGE_PRM_KEY", 1.0, 0)
    assert "secret" not in str(told.value)
    monkeypatch.setenv("ARBITRAGE_PRM_KEY", "sk-plain\r\n")
    Client("http://localhost:1", "ARBITRAGE_PRM_KEY", 1.0, 0)


def test_a_broken_address_is_a_clear_error():
    """What the URL parser raises is not left to the user."""
    from arbitrage.backends.server.http import Client

    with pytest.raises(ModelLoadError, match="no URL"):
        Client("http://[::1", "KEY", 1.0, 0)
