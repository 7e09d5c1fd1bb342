// One problem: its statement, and one or two solutions step by step.

const AUTHORS = { draft: { letter: 'D', name: 'draft' }, target: { letter: 'T', name: 'target' } };
const VERDICTS = {
  correct: ['✓', 'correct'],
  incorrect: ['✗', 'incorrect'],
  unparsed: ['?', 'no answer found'],
  timeout: ['⏱', 'grading timed out'],
  unscored: ['?', 'not graded'],
  error: ['!', 'error'],
};
const ENDS = {
  eos: 'ended by itself',
  answer: 'stopped at its answer',
  max_tokens: 'cut by the token limit',
  max_steps: 'cut by the step limit',
  stalled: 'stopped after empty steps',
};

/** The whole article. `panes` are { run, strategy, chunk, choose }: where the choice of another solution goes. */
function problemView(listed, chunk, place, count, go, panes) {
  const position = make('span', { class: 'quiet' }, `${place + 1} of ${count}`);
  const about = [listed.level === null ? null : `level ${listed.level}`, listed.subject].filter((one) => one !== null);
  return [
    make(
      'header',
      { class: 'problem-head' },
      make('h3', {}, listed.id),
      make('span', { class: 'quiet' }, about.join(' · ')),
      make('span', { class: 'turn' }, button({ title: 'previous problem (k or ←)', 'aria-label': 'previous problem' }, () => go(-1), '‹'), position, button({ title: 'next problem (j or →)', 'aria-label': 'next problem' }, () => go(1), '›')),
    ),
    statement(chunk),
    make('div', { class: panes.length > 1 ? 'panes two' : 'panes' }, panes.map(paneView)),
  ];
}

function statement({ problem, answers, rules, rows }) {
  const reference = answers ?? [rows[0].reference];
  return make(
    'div',
    { class: 'statement' },
    problem === null ? make('p', { class: 'empty' }, 'This run does not hold the statements of its problems.') : prose(problem),
    make(
      'p',
      { class: 'reference' },
      make('span', { class: 'term' }, 'reference'),
      reference.flatMap((one, n) => [n ? ', ' : '', answer(one)]),
      (rules ?? []).map((rule) => make('span', { class: 'tag' }, rule)),
    ),
  );
}

function paneView(pane, index) {
  const head = make('div', { class: 'pane-head' }, choice(index ? 'beside' : 'strategy', pane.options, pane.value, pane.choose), pane.extra);
  if (pane.missing) return make('section', { class: 'pane' }, head, make('p', { class: 'empty' }, pane.missing));
  const { strategy, row } = pane;
  return make(
    'section',
    { class: 'pane', 'aria-label': strategy.label },
    head,
    repeats(pane),
    verdict(row),
    totals(row),
    solution(row, strategy),
  );
}

/** Buttons for the repeats, when there are several. */
function repeats({ rows, row, repeat }) {
  if (rows.length < 2) return null;
  const one = (other) =>
    button({ class: 'chip', 'aria-pressed': String(other === row) }, () => repeat(other.repeat), `repeat ${other.repeat + 1} ${VERDICTS[other.status][0]}`);
  return make('div', { class: 'chips', role: 'group', 'aria-label': 'Repeats' }, rows.map(one));
}

function verdict(row) {
  const [sign, words] = VERDICTS[row.status] ?? ['?', row.status];
  const because = [row.method, row.reason].filter(Boolean).join(': ');
  const end = row.end_reason === null ? null : make('span', { class: /^max_/.test(row.end_reason) ? 'tag alarm' : 'tag' }, ENDS[row.end_reason] ?? row.end_reason);
  return make(
    'div',
    { class: `verdict ${row.status}` },
    make('span', { class: 'sign', 'aria-hidden': 'true' }, sign),
    make('div', {}, make('strong', {}, words), end, because && make('div', { class: 'quiet because' }, because)),
    make('dl', {}, make('dt', {}, 'answer'), make('dd', {}, answer(row.answer)), make('dt', {}, 'reference'), make('dd', {}, answer(row.reference))),
  );
}

/** Latency, tokens and who wrote how much. */
function totals(row) {
  const accepted = row.steps.filter(({ author }) => author === 'draft').length;
  const escalated = row.steps.filter((step) => step.escalated).length;
  const saved = row.steps.reduce((sum, step) => sum + (step.saved_s ?? 0), 0);
  const parts = shares(row.time_s);
  const told = [
    [duration(row.latency_s), parts.length ? `(${parts.join(', ')})` : null],
    [plural(row.tokens, 'token'), null],
    [plural(row.steps.length, 'step'), accepted || escalated ? `(${accepted} of the draft, ${escalated} escalated)` : null],
    row.steps.some((step) => step.saved_s !== undefined) && [`${saved < 0 ? 'lost' : 'saved'} ≈ ${duration(Math.abs(saved))}`, 'by accepted steps (estimated)'],
  ];
  return make('p', { class: 'totals' }, told.filter(Boolean).map(([value, rest]) => make('span', {}, make('b', {}, value), rest && ` ${rest}`)));
}

function solution(row, strategy) {
  if (row.error) return make('pre', { class: 'trace' }, row.error);
  if (row.steps.length === 0) return row.text ? prose(row.text) : make('p', { class: 'empty' }, 'No steps.');
  const cards = row.steps.map((step) => stepView(step, strategy));
  return make('div', {}, strip(row.steps, cards), make('ol', { class: 'cards' }, cards));
}

/** The solution at a glance: a block for each step, as wide as its text is long. */
function strip(steps, cards) {
  const blocks = steps.map((step, n) => {
    const author = AUTHORS[step.author];
    const told = `step ${step.index + 1}, ${author.name}${step.escalated ? ' after escalation' : ''}, ${plural(step.tokens, 'token')}`;
    const block = button({ class: `block ${step.author}`, title: told, 'aria-label': told }, () => cards[n].scrollIntoView({ block: 'center' }), steps.length > 40 ? '' : author.letter);
    block.style.flexGrow = String(Math.max(step.tokens, 1));
    return block;
  });
  return make('div', { class: 'strip', role: 'group', 'aria-label': 'Steps at a glance' }, blocks);
}

function stepView(step, strategy) {
  const author = AUTHORS[step.author];
  const badge = make('span', { class: `badge ${step.author}`, title: `written by the ${author.name}` }, author.letter);
  const head = make('div', { class: 'step-head' }, badge, make('span', { class: 'number' }, `step ${step.index + 1}`), judgement(step, strategy), outcome(step));
  return make('li', { class: `card ${step.author}` }, head, versions(step), make('p', { class: 'cost' }, costs(step)));
}

/** What the judges said; the threshold stands by the number that was compared with it. */
function judgement(step, strategy) {
  const { draft_reward: ours, target_reward: theirs, router_score: router, score } = step;
  const told = [['reward D', ours], ['reward T', theirs], ['router', router]].filter(([, value]) => value !== undefined);
  if (score !== undefined && !told.some(([, value]) => value === score)) told.push(['score', score]);
  const compared = told.findLast(([, value]) => value === score);
  return told.map((one) => {
    const [term, value] = one;
    const limit = one === compared && strategy.threshold !== null ? ` ${relation(score, strategy.threshold)} τ ${strategy.threshold}` : '';
    return make('span', { class: 'judged' }, make('span', { class: 'term' }, term), value.toFixed(3), limit);
  });
}

const relation = (one, other) => (one < other ? '<' : one > other ? '>' : '=');

/** What the decision brought: a difference of rewards, or seconds. */
function outcome(step) {
  const { draft_reward: ours, target_reward: theirs } = step;
  const told = [];
  if (ours !== undefined && theirs !== undefined) {
    const difference = step.escalated ? theirs - ours : ours - theirs;
    if (step.escalated && difference <= 0) told.push(make('span', { class: 'tag alarm', title: 'the target’s version was rewarded no better' }, 'wasted'));
    if (difference !== 0) told.push(make('span', { class: 'gain', title: 'reward of the kept version minus the other’s' }, `${signed(difference, 3)} reward`));
  }
  if (step.saved_s !== undefined) {
    const words = step.saved_s < 0 ? 'lost' : 'saved';
    const title = 'tokens × target-only’s seconds per token − seconds of draft and decision';
    told.push(make('span', { class: 'gain', title }, `${words} ≈ ${duration(Math.abs(step.saved_s))} (estimated)`));
  }
  return make('span', { class: 'outcome' }, told);
}

/** The kept text, and the other model's beside it where there is one. */
function versions(step) {
  const other = step.rejected_text ?? step.unused_target_text;
  if (other === undefined) return prose(step.text);
  const [kept, left] = step.author === 'draft' ? ['draft', 'target'] : ['target', 'draft'];
  if (other === step.text) return make('div', {}, prose(step.text), make('p', { class: 'quiet same' }, `The ${left} wrote the same text.`));
  const sides = [[kept, 'kept', step.text, true], [left, step.author === 'draft' ? 'not used' : 'discarded', other, false]];
  return two(...(kept === 'draft' ? sides : sides.reverse()));
}

const two = (...sides) =>
  make('div', { class: 'versions' }, sides.map(([author, fate, text, kept]) =>
    make('div', { class: `version ${author} ${kept ? 'kept' : 'dropped'}` }, make('div', { class: 'fate' }, `${author} · ${fate}`), prose(text))));

/** Seconds by component, without components that did nothing. */
const shares = (time) => Object.entries(time ?? {}).filter(([, seconds]) => seconds > 0).map(([name, seconds]) => `${name} ${duration(seconds)}`);

/** Seconds by component, and tokens written. */
function costs(step) {
  const parts = shares(step.time_s);
  const wrote = [['draft', step.draft_tokens], ['target', step.target_tokens]].filter(([, tokens]) => tokens);
  const told = [
    `${duration(step.latency_s)}${parts.length ? ` (${parts.join(', ')})` : ''}`,
    wrote.length ? `wrote ${wrote.map(([name, tokens]) => `${plural(tokens, 'token')} (${name})`).join(' + ')}` : plural(step.tokens, 'token'),
    step.ahead_tokens ? `${plural(step.ahead_tokens, 'token')} written ahead in vain` : null,
    step.drafted ? `${step.drafted_accepted} of ${step.drafted} drafted tokens kept` : null,
  ];
  return told.filter(Boolean).join(' · ');
}
