"""Data sets: where problems come from, and proof of which ones were run.

Files and, where installed, the `datasets` package; nothing is fetched otherwise. Knows no models and no grading.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final, overload

from arbitrage.errors import DatasetAbsentError, DatasetError
from arbitrage.harness import dataset_rows
from arbitrage.harness.dataset_rows import RowError, RowReader
from arbitrage.types import Problem

DATA_FOLDER = "ARBITRAGE_DATA"
"""Environment variable that names the folder with `<data set>.jsonl` files."""

_TRAINING_SIZE = 2000

ROUTER_PROBLEMS = 2800
"""First generated problems of the router split: the bundled router was fitted to 2400 of them and judged by 400, which
PRM and draft were calibrated on."""

_SPARE = 16
"""Problems kept outside the measured set, for warming up."""


@final
@dataclass(frozen=True, slots=True)
class Dataset(Sequence[Problem]):
    """Problems in their order, and where they are from.

    Raises:
        DatasetError: there are no problems, or two have the same id.
    """

    name: str
    problems: tuple[Problem, ...] = field(repr=False)
    source: str = "memory"
    """File, hub id or generator the problems came from."""
    limited_to: int | None = None
    """How many problems a limit left over; None when nothing was cut."""
    available: int = 0
    """How many there were before the limit."""
    file_sha256: str | None = None
    """Hash of the file as it lies on disk, when there is one."""
    spare: tuple[Problem, ...] = field(default=(), repr=False)
    """Problems of the same kind that are not part of this data set."""
    sha256: str = field(init=False)
    """Hash of ids, statements, answers and rules of exactly these problems, whatever they were read from."""

    def __post_init__(self) -> None:
        if not self.problems:
            raise DatasetError(f"data set {self.name!r} ({self.source}) has no problems")
        seen: set[str] = set()
        for problem in self.problems:
            if problem.id in seen:
                raise DatasetError(f"data set {self.name!r} ({self.source}) has two problems with id {problem.id!r}")
            seen.add(problem.id)
        object.__setattr__(self, "sha256", _content_hash(self.problems))
        object.__setattr__(self, "available", max(self.available, len(self.problems)))

    @overload
    def __getitem__(self, index: int) -> Problem: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Problem, ...]: ...
    def __getitem__(self, index: int | slice) -> Problem | tuple[Problem, ...]:
        return self.problems[index]

    def __len__(self) -> int:
        return len(self.problems)

    def limited(self, limit: int | None) -> Dataset:
        """The first `limit` problems; the same data set when nothing is cut.

        Raises:
            DatasetError: `limit` is below 1.
        """
        if limit is not None and limit < 1:
            raise DatasetError(f"limit must be at least 1, not {limit}")
        if limit is None or limit >= len(self):
            return self
        spare = self.spare or self.problems[limit : limit + _SPARE]
        return Dataset(self.name, self.problems[:limit], self.source, limit, len(self), self.file_sha256, spare)


def load_dataset(
    name_or_path: str | os.PathLike[str],
    path: str | os.PathLike[str] | None = None,
    limit: int | None = None,
) -> Dataset:
    """Load a data set.

    Args:
        name_or_path: `bundled`, `math500`, `olympiadbench`, `olympiadbench-674`, `gsm8k`, a name that a plugin
            registered, or the path of a JSONL file (`problem`, `answer`; see `dataset_rows.plain`).
        path: file (or folder with `<name>.jsonl`) to read a named data set from; None looks in the folder that the
            environment variable ARBITRAGE_DATA names, then asks the `datasets` package if it is installed.
        limit: take only the first problems.

    Raises:
        DatasetError: absent, empty or malformed; the message says what to do, or names file and line.
        UnknownNameError: neither a known name nor a file.
    """
    name = os.fspath(name_or_path)
    if name in _BUILTIN:
        return _BUILTIN[name](path=path, limit=limit)
    if path is None and (isinstance(name_or_path, os.PathLike) or not is_name(name)):
        return jsonl(name, limit=limit)
    from arbitrage.registry import registry

    loaded = registry().dataset(name)(path=path, limit=limit)
    return loaded if isinstance(loaded, Dataset) else Dataset(name, tuple(loaded), "plugin").limited(limit)


def bundled(path: str | os.PathLike[str] | None = None, limit: int | None = None) -> Dataset:
    """The fixed test split of the generated problems that ship with the package.

    Raises:
        DatasetError: a path is given; these problems have no file.
    """
    if path is not None:
        raise DatasetError("the bundled data set has no file: leave path (--data) out, or name the file as data set")
    from arbitrage.harness import synthetic

    spare = tuple(itertools.islice(synthetic.generate(synthetic.Split.HELD_OUT), _SPARE))
    return Dataset("bundled", synthetic.benchmark_split(), "arbitrage.harness.synthetic", spare=spare).limited(limit)


def bundled_train(path: str | os.PathLike[str] | None = None, limit: int | None = None) -> Dataset:
    """Generated problems to train routers on: as many as `limit` says, 2000 without it, none of them in `bundled`.

    They begin behind the `ROUTER_PROBLEMS` that the bundled router has seen, so that it can be judged on any of these.

    Raises:
        DatasetError: a path is given; these problems have no file.
    """
    if path is not None:
        raise DatasetError("the bundled-train data set has no file: leave path (--data) out")
    from arbitrage.harness import synthetic

    count = _TRAINING_SIZE if limit is None else max(limit, 1)
    stream = itertools.islice(synthetic.generate(synthetic.Split.ROUTER), ROUTER_PROBLEMS, ROUTER_PROBLEMS + count)
    problems = tuple(stream)
    return Dataset("bundled-train", problems, "arbitrage.harness.synthetic").limited(limit)


def math500(path: str | os.PathLike[str] | None = None, limit: int | None = None) -> Dataset:
    """MATH-500: 500 problems of MATH, levels 1 to 5, seven subjects."""
    hub = _Hub("HuggingFaceH4/MATH-500", None, "test")
    return _published("math500", ("math500.jsonl",), dataset_rows.math500, hub, path).limited(limit)


def gsm8k(path: str | os.PathLike[str] | None = None, limit: int | None = None) -> Dataset:
    """GSM8K, test split: 1319 grade-school word problems."""
    hub = _Hub("openai/gsm8k", "main", "test")
    return _published("gsm8k", ("gsm8k.jsonl", "gsm8k_test.jsonl"), dataset_rows.gsm8k, hub, path).limited(limit)


def olympiadbench(path: str | os.PathLike[str] | None = None, limit: int | None = None) -> Dataset:
    """OlympiadBench OE_TO_maths_en_COMP as in the file that published numbers were measured on (675 rows).

    The hub holds the later release only; read from there, the data set calls itself `olympiadbench-674`.
    """
    return _published(
        "olympiadbench", ("olympiadbench.jsonl",), dataset_rows.olympiadbench, _OLYMPIAD_HUB, path
    ).limited(limit)


def olympiadbench_674(path: str | os.PathLike[str] | None = None, limit: int | None = None) -> Dataset:
    """The later release of OlympiadBench: 674 rows, relay statements with their T filled in."""
    files = ("olympiadbench-674.jsonl", "olympiadbench.jsonl")
    return _published("olympiadbench-674", files, dataset_rows.olympiadbench_674, _OLYMPIAD_HUB, path).limited(limit)


def jsonl(path: str | os.PathLike[str], limit: int | None = None) -> Dataset:
    """Any JSONL file in the schema of `dataset_rows.plain`.

    Raises:
        DatasetError: the file is absent, empty or malformed.
    """
    file = Path(path)
    return from_file(file.stem, file, dataset_rows.plain).limited(limit)


def read_jsonl(file: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Rows of a JSONL file with their line numbers; blank lines are passed over.

    Raises:
        DatasetError: the file cannot be read, or a line is not a JSON object.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read ({error.strerror or error}); check the path") from error
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode())
        except ValueError as error:
            raise DatasetError(f"{file}:{number}: not a line of JSON in UTF-8: {error}") from error
        except RecursionError as error:
            raise DatasetError(f"{file}:{number}: nested too deeply to be a problem") from error
        if not isinstance(row, dict):
            raise DatasetError(f"{file}:{number}: must be an object with 'problem' and 'answer', not {row!r:.60}")
        yield number, row


@dataclass(frozen=True, slots=True)
class _Hub:
    repository: str
    config: str | None
    split: str


_OLYMPIAD_HUB = _Hub("Hothan/OlympiadBench", "OE_TO_maths_en_COMP", "train")


def _published(
    name: str, files: Sequence[str], reader: RowReader, hub: _Hub, path: str | os.PathLike[str] | None
) -> Dataset:
    """A named data set from `path`, else from the data folder, else from the hub."""
    if path is not None:
        given = Path(path)
        if not given.is_dir():
            return from_file(name, given, reader)
        found = _first_file(given, files)
        if found is None:
            raise DatasetError(f"{given}: no {' or '.join(files)} in this folder; name the file itself")
        return from_file(name, found, reader)
    folder = os.environ.get(DATA_FOLDER)
    found = _first_file(Path(folder), files) if folder else None
    return from_file(name, found, reader) if found else _from_hub(name, files, hub, folder)


def _first_file(folder: Path, files: Iterable[str]) -> Path | None:
    return next((folder / file for file in files if (folder / file).is_file()), None)


def from_file(name: str, file: Path, reader: RowReader) -> Dataset:
    """Problems of a JSONL file whose rows `reader` understands.

    Raises:
        DatasetError: the file is absent, empty or malformed.
    """
    rows = ((f"{file}:{number}", f"{name}/{number}", row) for number, row in read_jsonl(file))
    problems = _read(rows, reader)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Dataset(name, problems, str(file), file_sha256=digest)


def _from_hub(name: str, files: Sequence[str], hub: _Hub, folder: str | None) -> Dataset:
    try:
        hub_package = importlib.import_module("datasets")
    except ImportError as error:
        looked = f" ({DATA_FOLDER}={folder} has no {' or '.join(files)})" if folder else ""
        raise DatasetAbsentError(
            f"data set {name!r} is not on this machine{looked}. Give its JSONL file as path=FILE (--data FILE), or put "
            f"{files[0]} into a folder and set {DATA_FOLDER} to that folder, or `pip install datasets` to fetch "
            f"{hub.repository} from the hub"
        ) from error
    try:
        loaded = hub_package.load_dataset(hub.repository, hub.config, split=hub.split)
        rows = [dict(row) for row in loaded]
    except Exception as error:  # the package raises whatever its network and file layers raise
        raise DatasetAbsentError(
            f"data set {name!r}: the `datasets` package could not load {hub.repository} ({type(error).__name__}: "
            f"{error}). Without a network, give the JSONL file as path=FILE (--data FILE) or set {DATA_FOLDER}"
        ) from error
    revision = hub is _OLYMPIAD_HUB
    reader = dataset_rows.olympiadbench_674 if revision else _READERS[name]
    numbered = ((f"{hub.repository} row {index}", f"{name}/{index}", row) for index, row in enumerate(rows))
    return Dataset("olympiadbench-674" if revision else name, _read(numbered, reader), f"hub:{hub.repository}")


def _read(rows: Iterable[tuple[str, str, Mapping[str, object]]], reader: RowReader) -> tuple[Problem, ...]:
    problems, places = [], dict[str, str]()
    for place, fallback_id, row in rows:
        try:
            problem = reader(row, fallback_id)
        except RowError as error:
            raise DatasetError(f"{place}: {error}") from error
        if problem is None:
            continue
        if problem.id in places:
            raise DatasetError(f"{place}: id {problem.id!r} was already used at {places[problem.id]}")
        places[problem.id] = place
        problems.append(problem)
    return tuple(problems)


def _content_hash(problems: Iterable[Problem]) -> str:
    content = [
        [one.id, one.problem, one.answers, one.rules.multiple, one.rules.tolerance, one.rules.unit] for one in problems
    ]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


def is_name(dataset: str) -> bool:
    """Whether `load_dataset` takes this as a name rather than a file."""
    return dataset in _BUILTIN or not (
        dataset.endswith((".jsonl", ".json")) or os.sep in dataset or Path(dataset).is_file()
    )


_READERS: dict[str, RowReader] = {"math500": dataset_rows.math500, "gsm8k": dataset_rows.gsm8k}

_BUILTIN: dict[str, Callable[..., Dataset]] = {
    "bundled": bundled,
    "bundled-train": bundled_train,
    "math500": math500,
    "olympiadbench": olympiadbench,
    "olympiadbench-674": olympiadbench_674,
    "gsm8k": gsm8k,
}
