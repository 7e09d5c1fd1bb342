// The top of the page: what was run, on what, and the tables.

/** Tables, warnings and facts of a run. */
function showResults(run) {
  byId('overview').replaceChildren(
    make('p', { class: 'lead' }, run.title),
    ...run.warnings.map((warning) => make('p', { class: 'notice', role: 'note' }, make('strong', {}, 'Warning: '), warning)),
    ...run.tables.map((table) => resultTable(run, table)),
    notes(run),
    facts(run),
  );
}

/** A table of strategies, one a line in the order of the run, or any other table. */
function resultTable(run, { caption, titles, rows }) {
  const ofStrategies = titles[0] === 'strategy' && rows.length === run.strategies.length;
  const head = make('tr', {}, titles.map((title) => make('th', { scope: 'col' }, title)));
  const body = rows.map(([first, ...rest], place) => {
    const strategy = ofStrategies ? run.strategies[place] : null;
    const label = make('th', { scope: 'row' }, strategy && swatch(strategy), make('span', {}, first));
    return make('tr', { class: strategy?.baseline ? 'baseline' : null }, label, rest.map(cell));
  });
  const title = make('caption', { class: caption === 'results' ? 'unseen' : null }, caption);
  const table = make('table', { class: ofStrategies ? null : 'texts' }, title, make('thead', {}, head), make('tbody', {}, body));
  return make('div', { class: 'wide', tabindex: 0, role: 'region', 'aria-label': caption }, table);
}

/** A cell with its interval on a line of its own; other lines break between parts, not inside them. */
function cell(text) {
  const [value, interval] = text.split(' [');
  const parts = value.split(/(?<=,) | (?=\()/).flatMap((part, n) => (n ? [' ', nowrap(part)] : [nowrap(part)]));
  return make('td', {}, parts, interval !== undefined && make('span', { class: 'interval' }, `[${interval}`));
}

const nowrap = (text) => make('span', { class: 'nowrap' }, text);

/** A patch of the strategy's colour. */
function swatch(strategy) {
  const patch = make('span', { class: 'swatch', 'aria-hidden': 'true' });
  patch.style.background = strategy.colour;
  return patch;
}

function notes(run) {
  const list = (told) => make('ul', {}, told.map((note) => make('li', {}, note)));
  return make(
    'div',
    { class: 'notes' },
    run.notes.length > 0 && list(run.notes),
    make('details', { open: true }, make('summary', {}, 'Definitions'), list(run.definitions)),
  );
}

function facts(run) {
  const pairs = run.facts.flatMap(([term, told]) => [make('dt', {}, term), make('dd', {}, told)]);
  return make('details', { class: 'facts', open: true }, make('summary', {}, 'About this run'), make('dl', {}, pairs));
}
