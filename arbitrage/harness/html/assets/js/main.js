// What is open, kept in the address so that it can be linked to; and the keys.

const page = { runs: [], run: 0, problem: -1, panes: [], repeat: 0, list: null, ticket: 0 };

async function start() {
  page.runs = await record('overview');
  page.places = page.runs.map((run) => new Map(run.problems.map(({ id }, place) => [id, place])));
  document.title = `${visible(page.runs.map((run) => run.name).join(', ')).slice(0, 120)} – arbitrage report`;
  if (!follow()) openRun(0);
  window.addEventListener('hashchange', follow);
  document.addEventListener('keydown', key);
  document.documentElement.dataset.ready = 'yes';
}

/** Shows a run: results, charts, list. */
function openRun(place) {
  const run = page.runs[place];
  Object.assign(page, { run: place, problem: -1, repeat: 0, panes: [{ run: place, strategy: Math.max(0, run.strategies.findLastIndex(({ bound }) => !bound)) }] });
  showRuns();
  showResults(run);
  showCharts(run);
  page.list = new ProblemList(run, openProblem);
  if (run.problems.length) openProblem(0, false);
  else byId('problem').replaceChildren(make('p', { class: 'empty' }, 'This run has no rows yet.'));
}

function showRuns() {
  const names = page.runs.map(({ name }, place) => [place, name]);
  byId('runs').replaceChildren(
    page.runs.length > 1 ? choice('run', names, page.run, (place) => { openRun(Number(place)); remember(); }) : make('span', { class: 'run-name' }, page.runs[0].name),
  );
}

/** Opens a problem of the run by its place. */
function openProblem(place, told = true) {
  page.problem = place;
  page.list.choose(place);
  if (told) remember();
  return show();
}

/** Draws the open problem; what was asked for last wins. */
async function show() {
  const ticket = (page.ticket += 1);
  const run = page.runs[page.run];
  const listed = run.problems[page.problem];
  const wanted = page.panes.map((pane) => ({ ...pane, place: page.places[pane.run].get(listed.id) }));
  const chunks = await Promise.all([
    record(`chunk-${page.run}-${page.problem}`),
    ...wanted.map(({ run: other, place }) => (place === undefined ? null : record(`chunk-${other}-${place}`))),
    mathematics(),
  ]);
  if (ticket !== page.ticket) return;
  const panes = wanted.map((pane, index) => paneOf(pane, index, chunks[index + 1]));
  const view = problemView(listed, chunks[0], page.problem, run.problems.length, step, panes);
  byId('problem').replaceChildren(...view);
}

/** Everything a pane needs to be drawn. */
function paneOf({ run, strategy, place }, index, chunk) {
  const rows = (chunk?.rows ?? []).filter((row) => row.strategy === strategy).sort((a, b) => a.repeat - b.repeat);
  const row = rows.find((one) => one.repeat === page.repeat) ?? rows[0];
  return {
    strategy: page.runs[run].strategies[strategy],
    options: index ? [['', 'nothing'], ...solutions()] : solutions(),
    value: `${run}:${strategy}`,
    choose: (value) => choosePane(index, value),
    extra: index === 0 && page.panes.length === 1 && page.runs.flatMap((one) => one.strategies).length > 1
      ? choice('beside', [['', 'nothing'], ...solutions()], '', (value) => choosePane(1, value)) : null,
    rows,
    row,
    repeat: (repeat) => { page.repeat = repeat; remember(); show(); },
    missing: row ? null : place === undefined ? 'This problem is not part of that run.' : 'This strategy has no row for this problem.',
  };
}

/** All strategies of all runs as options. */
function solutions() {
  return page.runs.flatMap((run, place) =>
    run.strategies.map(({ label }, strategy) => [`${place}:${strategy}`, page.runs.length > 1 ? `${run.name}: ${label}` : label]));
}

function choosePane(index, value) {
  const [run, strategy] = value.split(':').map(Number);
  page.panes = page.panes.slice(0, value === '' ? index : undefined);
  if (value !== '') page.panes[index] = { run, strategy };
  remember();
  show();
}

/** The neighbour in the filtered list. */
function step(by) {
  const place = page.list.neighbour(by);
  if (place !== undefined) openProblem(place);
}

/** Writes what is open into the address. */
function remember() {
  const run = page.runs[page.run];
  const told = new URLSearchParams();
  if (page.runs.length > 1) told.set('run', run.name);
  if (page.problem >= 0) told.set('problem', run.problems[page.problem].id);
  page.panes.forEach((pane, index) => {
    const { name, strategies } = page.runs[pane.run];
    told.set(index ? 'beside' : 'strategy', strategies[pane.strategy].label);
    if (pane.run !== page.run) told.set(index ? 'beside-run' : 'strategy-run', name);
  });
  if (page.repeat) told.set('repeat', page.repeat + 1);
  history.replaceState(null, '', `#${told}`);
}

/** Opens what the address says; false when it says nothing of this page. */
function follow() {
  const told = new URLSearchParams(location.hash.slice(1));
  if (!['run', 'problem', 'strategy'].some((name) => told.has(name))) return false;
  const run = runNamed(told.get('run'), 0);
  if (page.list === null || run !== page.run) openRun(run);
  const panes = ['strategy', 'beside'].map((role) => paneNamed(told, role, run)).filter((pane) => pane !== null);
  if (panes.length) page.panes = panes;
  page.repeat = Math.max(0, Number.parseInt(told.get('repeat') ?? '1', 10) - 1) || 0;
  const place = page.places[run].get(told.get('problem'));
  if (place !== undefined) openProblem(place, false);
  else if (page.problem >= 0) show();
  byId('steps').scrollIntoView();
  return true;
}

function runNamed(name, otherwise) {
  const place = page.runs.findIndex((run) => run.name === name);
  return place < 0 ? otherwise : place;
}

function paneNamed(told, role, run) {
  const place = runNamed(told.get(`${role}-run`), run);
  const strategy = page.runs[place].strategies.findIndex(({ label }) => label === told.get(role));
  return strategy < 0 ? null : { run: place, strategy };
}

/** j, k and the arrows turn the pages, unless something is being written or chosen. */
function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest('input, select, textarea, .plot')) return;
  const inList = event.target.closest('.box') !== null;
  const by = { j: 1, k: -1, ArrowRight: 1, ArrowLeft: -1, ...(inList ? { ArrowDown: 1, ArrowUp: -1 } : {}) }[event.key];
  if (by === undefined) return;
  event.preventDefault();
  step(by);
}

start();
