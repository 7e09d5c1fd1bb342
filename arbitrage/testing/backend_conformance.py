"""The suite that every backend passes. Run it on yours.

    import pytest
    from arbitrage.testing.backend_conformance import BackendConformance

    class TestMyBackend(BackendConformance):
        @pytest.fixture(scope="class")
        @classmethod
        def model(cls):
            return MyBackend().language_model("path/to/a/small/model")

Everything is said about the public interface (`LanguageModel`, `Session`, `TextCodec`); nothing depends on what the
model has learnt. A model without a capability skips what needs it. Needs pytest, and a model with at least 128 tokens
of context.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from arbitrage.boundary import StepBoundary
from arbitrage.errors import CapabilityError, ContextOverflowError
from arbitrage.interfaces import Capability, Continuation, LanguageModel, Session, Stop, StopReason
from arbitrage.sampling import Logits, Sampling

GREEDY = Sampling()
SAMPLED = Sampling(temperature=1.0)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class BackendConformance:
    """Give a `model` fixture. `tolerance` is how far logits may move when the same tokens come in other chunks."""

    tolerance: float = 1e-3
    """Largest absolute difference of a logit; 0 for backends that are invariant to chunking bit by bit."""
    text: str = "Add 12 and 30, then take 7.\nThe sum is 42, minus 7 is 35.\n\nSo the answer is 35."
    """Ordinary text that the tokenizer can spell."""

    # What the suite itself uses.

    def _ids(self, model: LanguageModel, count: int) -> list[int]:
        """`count` ordinary tokens."""
        ids = [i for i in model.codec.encode(self.text) if i not in model.codec.eos_ids]
        assert len(ids) >= 8, "the text is too short for this tokenizer; override `text`"
        return (ids * (count // len(ids) + 1))[:count]

    def _rows(self, session: Session, ids: Sequence[int], logits: int) -> Logits:
        rows = session.extend(ids, logits=logits)
        assert rows is not None
        return rows

    def _same(self, ours: Logits, theirs: Logits) -> None:
        assert ours.shape == theirs.shape
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=self.tolerance)

    def _same_or_near_tie(self, model: LanguageModel, prompt: Sequence[int], a: Continuation, b: Continuation) -> None:
        """Equal tokens, or the first difference is between logits that are closer than chunking can move them."""
        if a.ids == b.ids:
            return
        at = next((i for i, (x, y) in enumerate(zip(a.ids, b.ids, strict=False)) if x != y), None)
        assert at is not None, "one text is the other's beginning"
        with model.open(prompt) as session:
            row = self._rows(session, a.ids[:at], 1)[0]
        assert abs(row[a.ids[at]] - row[b.ids[at]]) <= 2 * self.tolerance, f"different from token {at} on"

    def _need(self, model: LanguageModel, *needs: Capability) -> None:
        if lacking := set(needs) - model.capabilities:
            pytest.skip(f"the model does not offer {', '.join(sorted(lacking))}")

    # Logits and the cache.

    def test_logits_do_not_depend_on_chunks(self, model: LanguageModel) -> None:
        """All at once, token by token, and in uneven pieces: the same rows."""
        self._need(model, Capability.LOGITS)
        ids = self._ids(model, 40)
        with model.open(ids[:1]) as session:
            at_once = self._rows(session, ids[1:], 39)
        with model.open(ids[:1]) as session:
            one_by_one = np.concatenate([self._rows(session, [i], 1) for i in ids[1:]])
        self._same(one_by_one, at_once)
        with model.open(ids[:1]) as session:
            pieces = [self._rows(session, ids[a:b], b - a) for a, b in ((1, 3), (3, 14), (14, 15), (15, 40))]
        self._same(np.concatenate(pieces), at_once)

    def test_rows_are_as_asked_for(self, model: LanguageModel) -> None:
        """One row a position, the last positions; none runs nothing; too many is an error."""
        self._need(model, Capability.LOGITS)
        ids = self._ids(model, 12)
        with model.open(ids[:4]) as session:
            assert session.extend(ids[4:8]) is None
            assert session.usage.tokens == 0, "appending without asking must not run the model"
            rows = self._rows(session, ids[8:], 3)
            assert rows.shape[0] == 3
            assert rows.shape[1] > max(ids)
            assert session.usage.tokens == 12
            assert list(session.ids) == ids
            with pytest.raises(ValueError, match="logits"):
                session.extend((), logits=13)
        with model.open(ids) as session:
            self._same(rows, self._rows(session, (), 3))

    def test_catching_up_changes_no_output(self, model: LanguageModel) -> None:
        """What is encoded ahead of time is read once, and gives the same rows as what is not."""
        self._need(model, Capability.LOGITS)
        ids = self._ids(model, 20)
        with model.open(ids[:8]) as session:
            expected = self._rows(session, ids[8:], 1)
        with model.open(ids[:8]) as session:
            session.catch_up()
            session.extend(ids[8:])
            session.catch_up()
            session.catch_up()
            assert list(session.ids) == ids
            assert session.usage.tokens in (0, 20), "either all that waits is encoded, or the model cannot do it"
            self._same(self._rows(session, (), 1), expected)
            assert session.usage.repeated == session.usage.dropped == 0

    def test_rewind_is_exact(self, model: LanguageModel) -> None:
        """Thirty random walks of extend and rewind end with the logits of a fresh session."""
        self._need(model, Capability.LOGITS, Capability.REWIND)
        rng, ids = _rng(1), self._ids(model, 60)
        for _ in range(30):
            kept = ids[: int(rng.integers(1, 20))]
            with model.open(kept) as session:
                for _ in range(4):
                    more = [ids[int(i)] for i in rng.integers(0, len(ids), int(rng.integers(0, 12)))]
                    session.extend(more, logits=int(rng.integers(0, 3)))
                    kept = [*kept, *more]
                    cut = int(rng.integers(1, len(kept) + 1))
                    session.rewind(cut)
                    kept = kept[:cut]
                    assert list(session.ids) == kept
                walked = self._rows(session, (), 1)
            with model.open(kept) as fresh:
                self._same(walked, self._rows(fresh, (), 1))

    def test_rewind_knows_its_bounds(self, model: LanguageModel) -> None:
        """Beyond either end is an error and changes nothing; a model that cannot rewind says so."""
        ids = self._ids(model, 6)
        with model.open(ids) as session:
            for length in (-1, 7):
                with pytest.raises(ValueError, match="rewind"):
                    session.rewind(length)
            session.rewind(6)
            if Capability.REWIND not in model.capabilities:
                with pytest.raises(CapabilityError):
                    session.rewind(3)
            assert list(session.ids) == ids

    # Writing.

    def test_greedy_writing_is_the_argmax_of_the_rows(self, model: LanguageModel) -> None:
        """Token by token what fresh sessions would choose; log-probabilities are those of the rows."""
        self._need(model, Capability.LOGITS)
        prompt = self._ids(model, 10)
        with model.open(prompt) as session:
            written = session.generate(Stop(12, at_separator=False), GREEDY, _rng())
            assert list(session.ids) == [*prompt, *written.ids]
        with model.open(prompt) as session:
            rows = self._rows(session, written.ids, len(written.ids) + 1)
        for i, token in enumerate(written.ids):
            assert rows[i][token] >= rows[i].max() - 2 * self.tolerance
            expected = rows[i][token] - np.logaddexp.reduce(rows[i].astype(np.float64))
            assert written.logprobs[i] == pytest.approx(expected, abs=2 * self.tolerance + 1e-4)

    def test_writing_is_repeatable(self, model: LanguageModel) -> None:
        """The same seed gives the same tokens, sampled or not; other seeds give others."""
        prompt = self._ids(model, 10)

        def write(sampling: Sampling, seed: int) -> Continuation:
            with model.open(prompt) as session:
                return session.generate(Stop(16, at_separator=False), sampling, _rng(seed))

        assert write(GREEDY, 0).ids == write(GREEDY, 1).ids
        assert write(SAMPLED, 3).ids == write(SAMPLED, 3).ids
        assert len({write(SAMPLED, seed).ids for seed in range(6)}) > 1

    def test_writing_stops_where_it_is_told_to(self, model: LanguageModel) -> None:
        """At the limit, at the end of sequence, or with the token that completes a blank line; never later."""
        prompt = self._ids(model, 10)
        seen = set()
        for seed in range(8):
            for limit in (1, 5, 40):
                with model.open(prompt) as session:
                    written = session.generate(Stop(limit), Sampling(temperature=1.5), _rng(seed))
                seen.add(written.reason)
                assert 1 <= len(written.ids) <= limit
                assert len(written.logprobs) == len(written.ids)
                boundary = StepBoundary(model.codec)
                ends = [boundary.push(token) for token in written.ids]
                assert not any(ends[:-1]), "it went on behind a blank line"
                assert not model.codec.eos_ids & set(written.ids[:-1]), "it went on behind the end of sequence"
                if written.reason is StopReason.LENGTH:
                    assert len(written.ids) == limit
                elif written.reason is StopReason.EOS:
                    assert written.ids[-1] in model.codec.eos_ids
                else:
                    assert written.reason is StopReason.SEPARATOR
                    assert ends[-1]
        assert StopReason.LENGTH in seen
        with model.open(prompt) as session, pytest.raises(ValueError, match="max_tokens"):
            session.generate(Stop(0), GREEDY, _rng())

    def test_writing_goes_on_where_it_stopped(self, model: LanguageModel) -> None:
        """Two calls write what one would have written."""
        prompt = self._ids(model, 10)
        with model.open(prompt) as session:
            whole = session.generate(Stop(14, at_separator=False), GREEDY, _rng())
        with model.open(prompt) as session:
            first = session.generate(Stop(min(6, len(whole.ids)), at_separator=False), GREEDY, _rng())
            assert first.ids == whole.ids[: len(first.ids)]
            if len(whole.ids) > len(first.ids):
                rest = session.generate(Stop(len(whole.ids) - len(first.ids), at_separator=False), GREEDY, _rng())
                assert (*first.ids, *rest.ids) == whole.ids

    def test_proposals_change_the_work_and_not_the_text(self, model: LanguageModel) -> None:
        """Right, half right and wrong proposals: the same greedy tokens."""
        self._need(model, Capability.LOGITS, Capability.REWIND)
        prompt = self._ids(model, 10)
        stop = Stop(12, at_separator=False)
        with model.open(prompt) as session:
            plain = session.generate(stop, GREEDY, _rng())
        wrong = self._ids(model, 8)
        for proposal in (plain.ids, (*plain.ids[:4], *wrong), wrong, plain.ids[:1]):
            with model.open(prompt) as session:
                helped = session.generate(stop, GREEDY, _rng(), proposal=proposal)
                self._same_or_near_tie(model, prompt, plain, helped)
                assert list(session.ids) == [*prompt, *helped.ids]
        assert helped.proposal_kept <= 1

    # Ends of the context.

    def test_a_full_context_is_an_end_and_not_a_crash(self, model: LanguageModel) -> None:
        """Writing into the last position ends with the reason CONTEXT; adding more is refused and changes nothing."""
        full = model.context_length
        if full > 8192:
            pytest.skip("the context is too long to be filled in a test")
        prompt = self._ids(model, full - 3)
        with model.open(prompt) as session:
            with pytest.raises(ContextOverflowError):
                session.extend([prompt[0]] * 4)
            assert list(session.ids) == prompt
            written = session.generate(Stop(50, at_separator=False), GREEDY, _rng())
            if written.reason is not StopReason.EOS:
                assert written.reason is StopReason.CONTEXT
                assert len(session.ids) == full
                again = session.generate(Stop(5), GREEDY, _rng())
                assert (again.ids, again.reason) == ((), StopReason.CONTEXT)

    def test_prompts_that_cannot_work_are_refused(self, model: LanguageModel) -> None:
        """An empty one, and one that leaves no room for a single token."""
        with pytest.raises(ValueError, match="prompt"):
            model.open([])
        if model.context_length <= 1 << 20:
            with pytest.raises(ContextOverflowError):
                model.open(self._ids(model, model.context_length))

    def test_long_prompts_are_encoded_whole(self, model: LanguageModel) -> None:
        """A prompt longer than any internal batch gives the rows of the same prompt in small pieces."""
        self._need(model, Capability.LOGITS)
        ids = self._ids(model, min(model.context_length - 1, 700))
        with model.open(ids) as session:
            at_once = self._rows(session, (), 2)
        with model.open(ids[:1]) as session:
            for start in range(1, len(ids) - 2, 97):
                session.extend(ids[start : min(start + 97, len(ids) - 2)], logits=1)
            pieces = self._rows(session, ids[-2:], 2)
        self._same(pieces, at_once)

    # Sessions beside each other.

    def test_sessions_do_not_disturb_each_other(self, model: LanguageModel) -> None:
        """Two interleaved sessions write what each writes alone; so do four in threads."""
        stop = Stop(10, at_separator=False)
        prompts = [self._ids(model, n) for n in (5, 9, 14, 20)]
        alone = []
        for prompt in prompts:
            with model.open(prompt) as session:
                alone.append(session.generate(stop, GREEDY, _rng()))
        with model.open(prompts[0]) as a, model.open(prompts[1]) as b:
            pieces: tuple[list[int], list[int]] = ([], [])
            for _ in range(5):
                for session, piece in ((a, pieces[0]), (b, pieces[1])):
                    if not model.codec.eos_ids & set(piece):
                        piece += session.generate(Stop(2, at_separator=False), GREEDY, _rng()).ids
        for i in range(2):
            joined = Continuation(tuple(pieces[i]), (), StopReason.LENGTH)
            self._same_or_near_tie(model, prompts[i], alone[i], joined)

        found: dict[int, Continuation] = {}

        def write(i: int) -> None:
            with model.open(prompts[i]) as session:
                found[i] = session.generate(stop, GREEDY, _rng())

        threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for i in range(4):
            self._same_or_near_tie(model, prompts[i], alone[i], found[i])

    def test_closing_twice_is_fine_and_using_a_closed_session_is_not(self, model: LanguageModel) -> None:
        """The second close does nothing, and does not free what another session has got meanwhile."""
        ids = self._ids(model, 6)
        session = model.open(ids)
        session.generate(Stop(2, at_separator=False), GREEDY, _rng())
        session.close()
        with model.open(ids) as other:
            first = other.generate(Stop(3, at_separator=False), GREEDY, _rng())
            session.close()
            with pytest.raises(RuntimeError):
                session.generate(Stop(1), GREEDY, _rng())
            other.generate(Stop(3, at_separator=False), GREEDY, _rng())
            assert len(other.ids) >= len(ids) + len(first.ids)

    # Text.

    def test_text_survives_the_tokenizer(self, model: LanguageModel) -> None:
        """Letters, mathematics, emoji that are split over tokens, spaces and blank lines come back unchanged."""
        codec = model.codec
        texts = (self.text, "x² ≤ √2 → {½, π}", "🙂👩‍🔬 数学", "a  b\n\nc\n\n\nd", " leading", "\\frac{1}{2} $x$", "")
        for text in texts:
            assert codec.decode(codec.encode(text)) == text

    def test_special_tokens_in_text_are_text(self, model: LanguageModel) -> None:
        """Nobody can end a sequence by writing the name of its end."""
        codec = model.codec
        names = {i: token for token, i in codec.vocabulary().items() if i in codec.eos_ids}
        for name in names.values():
            ids = codec.encode(f"before {name} after")
            assert not codec.eos_ids & set(ids)

    def test_pieces_show_where_lines_end(self, model: LanguageModel) -> None:
        """The pieces of a text with a blank line complete a boundary exactly once, with the line's last token."""
        ids = model.codec.encode("One step.\n\n")
        boundary = StepBoundary(model.codec)
        ends = [boundary.push(token) for token in ids]
        assert ends[-1]
        assert sum(ends) == 1

    def test_prompts_are_rendered_with_at_most_one_beginning(self, model: LanguageModel) -> None:
        """The statement stands in the prompt, and no special token begins it twice."""
        ids = model.codec.render([{"role": "user", "content": "What is 2+2?"}])
        assert len(ids) >= 4
        assert ids[0] != ids[1]
        assert "2+2" in model.codec.decode(ids)

    def test_the_vocabulary_is_the_codec_s_own(self, model: LanguageModel) -> None:
        """Ids are unique, and every token that text is made of stands in it."""
        vocabulary = model.codec.vocabulary()
        assert len(set(vocabulary.values())) == len(vocabulary)
        assert set(model.codec.encode(self.text)) <= set(vocabulary.values())

    def test_facts_for_the_manifest_are_plain_data(self, model: LanguageModel) -> None:
        """What `describe` tells can be written as JSON and names the model."""
        import json

        assert json.loads(json.dumps(model.describe()))["name"] == model.name
