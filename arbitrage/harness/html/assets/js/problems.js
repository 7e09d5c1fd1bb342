// The list of problems: search, filters, and as many lines in the document as can be seen.

const FLAGS = { gained: 1, lost: 2, wrong: 4, wasted: 8, truncated: 16, error: 32 };
const KINDS = [
  ['all', 'All', 0, 'every problem'],
  ['flipped', 'Flipped', FLAGS.gained | FLAGS.lost, 'solved by the baseline or by this strategy, not by both'],
  ['gained', 'Gained', FLAGS.gained, 'solved here and not by the baseline'],
  ['lost', 'Lost', FLAGS.lost, 'solved by the baseline and not here'],
  ['wrong', 'Wrong', FLAGS.wrong, 'not solved'],
  ['wasted', 'Wasted', FLAGS.wasted, 'an escalation whose target version was rewarded no better than the draft’s'],
  ['truncated', 'Truncated', FLAGS.truncated, 'cut by the token or step limit'],
  ['error', 'Error', FLAGS.error, 'the strategy raised an exception'],
];
const LINE = 54;

/** A list of one run's problems that calls `open(place)` for the chosen one. */
class ProblemList {
  constructor(run, open) {
    this.run = run;
    this.open = open;
    this.kind = 'all';
    this.strategy = -1;
    this.level = '';
    this.words = '';
    this.chosen = -1;
    this.found = run.problems.map((_, place) => place);
    this.texts = run.problems.map(({ id, subject, text }) => `${id}\n${subject ?? ''}\n${text}`.toLowerCase());
    this.build();
    this.filter();
  }

  build() {
    this.chips = new Map(KINDS.map(([kind, name, , about]) => [kind, this.chip(kind, name, about)]));
    this.count = make('p', { class: 'quiet count', role: 'status' });
    this.lines = make('div', { class: 'lines', role: 'presentation' });
    this.box = make('div', { class: 'box', role: 'listbox', tabindex: 0, 'aria-label': 'Problems; j and k go to the next and the previous one' }, this.lines);
    this.box.addEventListener('scroll', () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.box);
    byId('list').replaceChildren(
      this.search(),
      make('div', { class: 'chips', role: 'group', 'aria-label': 'Show' }, ...this.chips.values()),
      make('div', { class: 'fields' }, this.strategies(), this.levels()),
      this.count,
      this.box,
    );
  }

  search() {
    const input = make('input', { type: 'search', placeholder: 'Search statement, id, subject', 'aria-label': 'Search problems' });
    input.addEventListener('input', () => this.filter({ words: input.value.trim().toLowerCase() }));
    return input;
  }

  chip(kind, name, about) {
    return button({ class: 'chip', title: about, 'data-kind': kind }, () => this.filter({ kind }), name, make('span', { class: 'n' }));
  }

  strategies() {
    const options = [[-1, 'any strategy'], ...this.run.strategies.map(({ label }, place) => [place, label])];
    return choice('in', options, this.strategy, (value) => this.filter({ strategy: Number(value) }));
  }

  levels() {
    const found = [...new Set(this.run.problems.map(({ level }) => level).filter((level) => level !== null))].sort((a, b) => a - b);
    if (found.length < 2) return null;
    return choice('level', [['', 'all'], ...found.map((level) => [level, level])], '', (level) => this.filter({ level }));
  }

  /** Chooses by the settings, counts what each kind would give, and shows what is left. */
  filter(settings = {}) {
    Object.assign(this, settings);
    const others = this.run.problems.map((_, place) => place).filter((place) => this.matches(place));
    const bits = others.map((place) => this.bits(place));
    for (const [kind, , mask] of KINDS) this.mark(kind, mask ? bits.filter((bit) => bit & mask).length : others.length);
    const mask = KINDS.find(([kind]) => kind === this.kind)[2];
    this.found = mask ? others.filter((_, n) => bits[n] & mask) : others;
    this.count.textContent = this.found.length ? plural(this.found.length, 'problem') : 'Nothing matches these filters.';
    this.lines.style.height = `${LINE * this.found.length}px`;
    this.box.scrollTop = 0;
    this.reveal();
    this.draw();
  }

  mark(kind, count) {
    const chip = this.chips.get(kind);
    chip.lastChild.textContent = String(count);
    chip.setAttribute('aria-pressed', String(kind === this.kind));
    chip.classList.toggle('zero', count === 0);
  }

  matches(place) {
    const { level } = this.run.problems[place];
    return (this.level === '' || String(level) === this.level) && this.texts[place].includes(this.words);
  }

  /** Flags of the chosen strategy, or of all together. */
  bits(place) {
    const { flags } = this.run.problems[place];
    return this.strategy < 0 ? flags.reduce((all, one) => all | one, 0) : flags[this.strategy];
  }

  /** Puts the lines that can be seen into the document. */
  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / LINE) - 4);
    const last = Math.min(this.found.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / LINE) + 4);
    const lines = [];
    for (let row = first; row < last; row += 1) lines.push(this.line(row));
    this.lines.replaceChildren(...lines);
    const active = this.found.indexOf(this.chosen);
    if (active >= first && active < last) this.box.setAttribute('aria-activedescendant', `problem-${active}`);
    else this.box.removeAttribute('aria-activedescendant');
  }

  line(row) {
    const place = this.found[row];
    const problem = this.run.problems[place];
    const chosen = place === this.chosen;
    const head = make('div', { class: 'line-head' }, make('span', { class: 'id' }, problem.id), outcomes(this.run, problem));
    const about = [problem.level === null ? null : `level ${problem.level}`, problem.text || problem.subject].filter(Boolean).join(' · ');
    const line = make(
      'div',
      { class: 'line', role: 'option', id: `problem-${row}`, 'aria-selected': String(chosen), 'aria-setsize': this.found.length, 'aria-posinset': row + 1 },
      head,
      make('div', { class: 'about' }, about.slice(0, 120)),
    );
    line.style.top = `${LINE * row}px`;
    line.addEventListener('click', () => this.open(place));
    return line;
  }

  /** Marks a problem as the open one, and scrolls to it. */
  choose(place) {
    this.chosen = place;
    this.reveal();
    this.draw();
  }

  reveal() {
    const row = this.found.indexOf(this.chosen);
    if (row < 0) return;
    const top = LINE * row;
    const seen = this.box.clientHeight - LINE;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top > this.box.scrollTop + seen) this.box.scrollTop = top - seen;
  }

  /** The problem `by` lines further; the first one when none of the list is open. */
  neighbour(by) {
    const row = this.found.indexOf(this.chosen);
    return row < 0 ? this.found[0] : this.found[row + by];
  }
}

/** One sign a strategy: solved, not solved, sometimes, missing. */
function outcomes(run, problem) {
  const signs = run.strategies.map((_, place) => sign(problem, place));
  const told = run.strategies.map(({ label }, place) => `${label}: ${SIGNS[signs[place]]}`).join('\n');
  return make('span', { class: 'outcomes', title: visible(told), role: 'img', 'aria-label': visible(told) }, signs.join(''));
}

const SIGNS = { '●': 'solved', '○': 'not solved', '◐': 'solved in some repeats', '×': 'error', '·': 'no row' };

function sign({ solved, repeats, flags }, place) {
  if (repeats[place] === 0) return '·';
  if (solved[place] === repeats[place]) return '●';
  if (solved[place] > 0) return '◐';
  return flags[place] & FLAGS.error ? '×' : '○';
}
