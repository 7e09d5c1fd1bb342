// The charts, drawn by plotly from the series of the overview. Each comes with its numbers as a table.

const MARKERS = ['circle', 'square', 'diamond', 'triangle-up', 'x', 'star', 'pentagon', 'cross'];
const DASHES = ['solid', 'dash', 'dot', 'dashdot', 'longdash', 'longdashdot'];
const LONGEST_LABEL = 40;
const dark = window.matchMedia('(prefers-color-scheme: dark)');

const CHARTS = [
  {
    title: 'Accuracy over latency',
    about: 'Up and left is better. Whiskers are 95 % intervals. A bound has no latency of its own and is a line.',
    empty: 'No strategy of this run has a latency.',
    draw: latencyChart,
  },
  {
    title: 'Accuracy over acceptance',
    about: 'Share of steps that the draft wrote; the settings of one method are joined.',
    empty: 'No strategy of this run routes steps.',
    draw: acceptanceChart,
  },
  {
    title: 'Where the time goes',
    about: 'Mean seconds per problem inside each model; the rest is overhead. Bounds are left out.',
    empty: 'No strategy of this run has a latency.',
    draw: timeChart,
  },
  {
    title: 'Acceptance by position',
    about: 'Share of accepted steps by position in the solution, where at least five problems reach it.',
    empty: 'No strategy of this run routes steps.',
    draw: positionChart,
  },
  { title: 'Accuracy by level', about: 'Whiskers are 95 % intervals.', draw: groupChart('level', 'accuracy') },
  { title: 'Acceptance by level', about: 'Share of steps that the draft wrote.', draw: groupChart('level', 'acceptance') },
  { title: 'Accuracy by subject', about: 'Whiskers are 95 % intervals.', draw: groupChart('subject', 'accuracy') },
  { title: 'Acceptance by subject', about: 'Share of steps that the draft wrote.', draw: groupChart('subject', 'acceptance') },
  {
    title: 'Calibration of the router',
    about:
      'How often the target’s version was rewarded higher, by router score; on the diagonal the score is a probability. ' +
      'Whiskers are 95 % Wilson intervals that take steps as independent.',
    empty: 'No step of this run has a router score and the rewards of both versions.',
    draw: calibrationChart,
  },
];

let drawn = [];
let queue = Promise.resolve();

/** Makes the figures of a run; plotly is loaded when the first of them comes near the window. */
function showCharts(run) {
  watcher.disconnect();
  drawn = [];
  byId('figures').replaceChildren(...CHARTS.map((chart) => figure(run, chart)).filter((one) => one !== null));
}

/** Who sees one chart wants the others soon: all of them are queued, from the top. */
const watcher = new IntersectionObserver(
  (entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watcher.disconnect();
    document.querySelectorAll('.plot').forEach(plot);
  },
  { rootMargin: '150px' },
);
const waiting = new WeakMap();

function figure(run, { title, about, empty, draw }) {
  const found = draw(run.charts, looks(run));
  if (found === null && empty === undefined) return null;
  const heading = make('h3', {}, title);
  if (found === null) return make('figure', { class: 'none' }, heading, make('p', { class: 'empty' }, empty));
  const place = make('div', { class: 'plot', role: 'img', 'aria-label': `${title}. The numbers are in the table below.` });
  place.style.height = `${found.height ?? 380}px`;
  waiting.set(place, found);
  watcher.observe(place);
  return make('figure', { class: found.wide ? 'broad' : null }, heading, make('figcaption', {}, about), place, numbers(title, found.numbers));
}

function numbers(title, [titles, rows]) {
  const head = make('tr', {}, titles.map((one) => make('th', { scope: 'col' }, one)));
  const line = ([first, ...rest]) => make('tr', {}, make('th', { scope: 'row' }, first), rest.map((one) => make('td', {}, one)));
  const table = make('table', { 'aria-label': title }, make('thead', {}, head), make('tbody', {}, rows.map(line)));
  return make('details', { class: 'numbers' }, make('summary', {}, 'Numbers'), make('div', { class: 'wide' }, table));
}

/** Draws one chart after the other, each when nothing else is to be done: drawing must not keep a reader waiting. */
function plot(place) {
  queue = queue.then(idle).then(() => plotNow(place));
}

const idle = () => new Promise((done) => (window.requestIdleCallback ?? window.setTimeout)(done, { timeout: 3000 }));

async function plotNow(place) {
  if (!place.isConnected || drawn.includes(place)) return;
  await library('plotly');
  try {
    await paint(place, waiting.get(place));
    drawn.push(place);
  } catch {
    place.replaceChildren(make('p', { class: 'empty' }, 'This chart cannot be drawn; its numbers are below.'));
  }
}

const paint = (place, { traces, layout }, print = false) =>
  window.Plotly.react(place, traces, dressed(layout, print), {
    responsive: true,
    displaylogo: false,
    showSendToCloud: false,
    plotlyServerURL: '',
    modeBarButtonsToRemove: ['lasso2d', 'select2d', 'autoScale2d'],
    toImageButtonOptions: { format: 'svg' },
  });

/** Draws everything again in the colours of the screen, or of paper. */
function repaint(print = false) {
  drawn = drawn.filter((place) => place.isConnected);
  for (const place of drawn) paint(place, waiting.get(place), print);
}

dark.addEventListener('change', () => repaint());
window.addEventListener('beforeprint', () => repaint(true));
window.addEventListener('afterprint', () => repaint());

/** A layout in the page's own colours and type. */
function dressed(layout, print) {
  const ink = dark.matches && !print ? '#d8dce2' : '#2b3036';
  const line = dark.matches && !print ? '#353b44' : '#e3e6ea';
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, ticks: 'outside', tickcolor: line };
  const merged = (own) => ({ ...axis, ...own, title: { standoff: 10, font: { size: 13 }, text: own?.title ?? '' } });
  return {
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: ink },
    paper_bgcolor: 'rgba(0,0,0,0)',
    plot_bgcolor: 'rgba(0,0,0,0)',
    margin: { l: 52, r: 14, t: 10, b: 44 },
    legend: { orientation: 'h', yref: 'container', y: 0, yanchor: 'bottom', x: 0, xanchor: 'left', font: { size: 12 } },
    hoverlabel: { align: 'left', namelength: -1 },
    ...layout,
    xaxis: merged(layout.xaxis),
    yaxis: merged(layout.yaxis),
    ...(layout.yaxis2 && { yaxis2: merged(layout.yaxis2) }),
  };
}

/** Colour, marker and dash by label. */
function looks(run) {
  const found = run.strategies.map(({ label, colour, variant }) => [
    label,
    { colour, symbol: MARKERS[variant % MARKERS.length], dash: DASHES[variant % DASHES.length] },
  ]);
  return new Map(found);
}

/** A label as plotly text: plotly reads some markup, so none is left. */
function plainLabel(text) {
  const seen = visible(text.slice(0, LONGEST_LABEL + 1)).replace(/\s+/g, ' ');
  const clipped = seen.length > LONGEST_LABEL ? `${seen.slice(0, LONGEST_LABEL - 1)}…` : seen;
  return clipped.toWellFormed().replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

const span = ({ value, low, high }, scale = 100, digits = 1) =>
  low === null || high === null
    ? (scale * value).toFixed(digits)
    : `${(scale * value).toFixed(digits)} [${(scale * low).toFixed(digits)}, ${(scale * high).toFixed(digits)}]`;

const seconds = (estimate) => span(estimate, 1, estimate.value < 0.1 ? 4 : 3);

/** Whiskers of a list of estimates. */
const whiskers = (estimates, scale = 1) => ({
  type: 'data',
  symmetric: false,
  array: estimates.map(({ value, high }) => (high === null ? 0 : scale * (high - value))),
  arrayminus: estimates.map(({ value, low }) => (low === null ? 0 : scale * (value - low))),
  thickness: 1.2,
  width: 3,
});

const accuracyAxis = { title: 'accuracy (%)' };

function latencyChart({ latency }, looks) {
  if (latency.points.length === 0) return null;
  const widest = Math.max(...latency.points.map(({ latency_s: time }) => time.high ?? time.value));
  const traces = [frontier(latency.points), ...latency.bounds.map((bound) => boundLine(bound, widest))];
  for (const { label, latency_s: time, accuracy } of latency.points) {
    const { colour, symbol } = looks.get(label);
    traces.push({
      name: plainLabel(label),
      x: [time.value],
      y: [100 * accuracy.value],
      error_x: whiskers([time]),
      error_y: whiskers([accuracy], 100),
      mode: 'markers',
      marker: { color: colour, symbol, size: 11 },
      text: [`${plainLabel(label)}<br>accuracy ${span(accuracy)} %<br>latency ${seconds(time)} s`],
      hoverinfo: 'text',
    });
  }
  const rows = latency.points.map((point) => [point.label, span(point.accuracy), seconds(point.latency_s), point.on_frontier ? 'yes' : '']);
  const layout = { xaxis: { title: 'mean latency per problem (s)', rangemode: 'tozero' }, yaxis: accuracyAxis };
  return { traces, layout, height: 430, numbers: [['strategy', 'accuracy %', 'latency s', 'on the frontier'], rows] };
}

function frontier(points) {
  const best = points.filter((point) => point.on_frontier).sort((a, b) => a.latency_s.value - b.latency_s.value);
  return {
    name: 'Pareto frontier',
    x: best.map((point) => point.latency_s.value),
    y: best.map((point) => 100 * point.accuracy.value),
    mode: 'lines',
    line: { color: 'rgba(138, 138, 138, 0.45)', width: 5, shape: 'hv' },
    hoverinfo: 'skip',
  };
}

const boundLine = ([label, accuracy], widest) => ({
  name: `${plainLabel(label)} (a bound)`,
  x: [0, widest],
  y: [100 * accuracy, 100 * accuracy],
  mode: 'lines',
  line: { color: '#8a8a8a', width: 1.5, dash: 'dot' },
  text: `${plainLabel(label)}: accuracy ${percent(accuracy, 1)}`,
  hoverinfo: 'text',
});

function acceptanceChart({ acceptance }, looks) {
  if (acceptance.curves.length === 0) return null;
  const traces = acceptance.curves.map(({ name, points }) => ({
    name: plainLabel(name),
    x: points.map((point) => 100 * point.acceptance),
    y: points.map((point) => 100 * point.accuracy.value),
    error_y: whiskers(points.map((point) => point.accuracy), 100),
    mode: 'lines+markers',
    line: { color: looks.get(points[0].label).colour, width: 2 },
    marker: { size: 9 },
    text: points.map(({ label, acceptance: rate, accuracy }) => `${plainLabel(label)}<br>acceptance ${percent(rate)}<br>accuracy ${span(accuracy)} %`),
    hoverinfo: 'text',
  }));
  if (acceptance.baseline !== null) traces.unshift({ ...boundLine(['target-only', acceptance.baseline], 100), name: 'target-only' });
  const rows = acceptance.curves.flatMap(({ points }) => points.map((point) => [point.label, percent(point.acceptance, 1), span(point.accuracy)]));
  const layout = { xaxis: { title: 'acceptance rate (% of steps)', range: [-3, 103] }, yaxis: accuracyAxis };
  return { traces, layout, height: 430, numbers: [['strategy', 'acceptance', 'accuracy %'], rows] };
}

function timeChart({ time }) {
  if (time.bars.length === 0) return null;
  const names = time.bars.map(({ label }) => plainLabel(label));
  const total = (bar) => Object.values(bar).reduce((sum, value) => sum + value, 0);
  const traces = time.components.map(([component, colour]) => ({
    name: plainLabel(component),
    type: 'bar',
    orientation: 'h',
    y: names,
    x: time.bars.map(({ seconds: bar }) => bar[component] ?? 0),
    marker: colour === null ? {} : { color: colour },
    text: time.bars.map(({ label, seconds: bar }) =>
      `${plainLabel(label)}<br>${plainLabel(component)} ${duration(bar[component] ?? 0)} (${percent((bar[component] ?? 0) / total(bar))})`),
    textposition: 'none',
    hoverinfo: 'text',
  }));
  const rows = time.bars.map(({ label, seconds: bar }) => [label, ...time.components.map(([component]) => duration(bar[component] ?? 0)), duration(total(bar))]);
  const layout = {
    barmode: 'stack',
    bargap: 0.35,
    xaxis: { title: 'mean seconds per problem' },
    yaxis: { autorange: 'reversed', type: 'category' },
    legend: { orientation: 'h', y: 1.02, yanchor: 'bottom', x: 0, traceorder: 'normal' },
    margin: { l: 52, r: 14, t: 34, b: 44 },
  };
  const titles = ['strategy', ...time.components.map(([component]) => component), 'all'];
  return { traces, layout, height: Math.max(380, 110 + 34 * names.length), numbers: [titles, rows] };
}

function positionChart({ position }, looks) {
  if (position.length === 0) return null;
  const traces = position.map(({ label, points }) => {
    const { colour, symbol, dash } = looks.get(label);
    return {
      name: plainLabel(label),
      x: points.map((point) => point.index + 1),
      y: points.map((point) => 100 * point.accepted.value),
      mode: 'lines+markers',
      line: { color: colour, dash, width: 2 },
      marker: { symbol, size: 7 },
      text: points.map(({ index, accepted, problems }) => `${plainLabel(label)}<br>step ${index + 1}: ${span(accepted)} %, ${plural(problems, 'problem')}`),
      hoverinfo: 'text',
    };
  });
  const rows = position.flatMap(({ label, points }) => points.map((point) => [label, point.index + 1, span(point.accepted), point.problems]));
  const layout = { xaxis: { title: 'step', dtick: rows.length && Math.max(...rows.map((row) => row[1])) > 14 ? undefined : 1 }, yaxis: { title: 'accepted (%)', range: [-4, 104] } };
  return { traces, layout, numbers: [['strategy', 'step', 'accepted %', 'problems'], rows] };
}

/** Accuracy or acceptance by level or subject: points beside each other, as the groups have an order but no distance. */
function groupChart(attribute, quantity) {
  return (charts, looks) => {
    const told = (points) => points.filter((point) => point[quantity] !== null);
    const series = charts[attribute].map(({ label, points }) => ({ label, points: told(points) })).filter(({ points }) => points.length > 0);
    if (series.length === 0) return null;
    const value = (point) => (quantity === 'accuracy' ? point.accuracy : { value: point.acceptance, low: null, high: null });
    const groups = [...new Set(series.flatMap(({ points }) => points.map(({ group }) => group)))].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
    const traces = series.map(({ label, points }) => {
      const { colour, symbol } = looks.get(label);
      return {
        name: plainLabel(label),
        x: points.map(({ group }) => plainLabel(group)),
        y: points.map((point) => 100 * value(point).value),
        error_y: quantity === 'accuracy' ? whiskers(points.map(value), 100) : undefined,
        mode: 'markers',
        marker: { color: colour, symbol, size: 8 },
        text: points.map((point) => `${plainLabel(label)}<br>${attribute} ${plainLabel(point.group)}: ${span(value(point))} %, ${plural(point.problems, 'problem')}`),
        hoverinfo: 'text',
      };
    });
    const rows = series.flatMap(({ label, points }) => points.map((point) => [label, point.group, span(value(point)), point.problems]));
    const layout = {
      scattermode: 'group',
      scattergap: 0.35,
      xaxis: { title: attribute, type: 'category', categoryorder: 'array', categoryarray: groups.map(plainLabel) },
      yaxis: { title: quantity === 'accuracy' ? 'accuracy (%)' : 'accepted (%)', range: [-4, 104] },
    };
    return { traces, layout, wide: groups.length > 5 && series.length > 4, numbers: [['strategy', attribute, `${quantity} %`, 'problems'], rows] };
  };
}

function calibrationChart({ calibration }, looks) {
  if (calibration.length === 0) return null;
  const diagonal = { name: 'calibrated', x: [0, 1], y: [0, 100], mode: 'lines', line: { color: '#8a8a8a', dash: 'dot', width: 1.5 }, hoverinfo: 'skip' };
  const width = 0.06 / calibration.length;
  const traces = calibration.flatMap(({ label, bins, ece, steps }, place) => {
    const { colour, symbol, dash } = looks.get(label);
    const name = `${plainLabel(label)}: ECE ${ece.toFixed(3)}, ${plural(steps, 'step')}`;
    const hovertext = bins.map((bin) => `${plainLabel(label)}<br>score ${bin.score.toFixed(2)}: ${span(bin.better)} % of ${plural(bin.steps, 'step')}`);
    const share = {
      name,
      legendgroup: label,
      x: bins.map((bin) => bin.score),
      y: bins.map((bin) => 100 * bin.better.value),
      error_y: whiskers(bins.map((bin) => bin.better), 100),
      mode: 'lines+markers',
      line: { color: colour, dash, width: 1.5 },
      marker: { symbol, size: 8 },
      hovertext,
      hoverinfo: 'text',
    };
    const counts = {
      type: 'bar',
      yaxis: 'y2',
      showlegend: false,
      legendgroup: label,
      x: share.x,
      y: bins.map((bin) => bin.steps),
      width,
      offset: (place - calibration.length / 2) * width,
      marker: { color: colour, opacity: 0.55 },
      text: bins.map((bin) => String(bin.steps)),
      textposition: 'outside',
      textfont: { size: 10 },
      cliponaxis: false,
      hovertext,
      hoverinfo: 'text',
    };
    return [share, counts];
  });
  const rows = calibration.flatMap(({ label, bins }) => bins.map((bin) => [label, bin.score.toFixed(3), span(bin.better), bin.steps]));
  const most = Math.max(...calibration.flatMap(({ bins }) => bins.map((bin) => bin.steps)));
  const layout = {
    barmode: 'overlay',
    xaxis: { title: 'router score', range: [-0.05, 1.05], anchor: 'y2' },
    yaxis: { title: 'target’s better (%)', range: [-5, 105], domain: [0.36, 1] },
    yaxis2: { title: 'steps', type: 'log', domain: [0, 0.24], dtick: 1, range: [-0.15, Math.log10(most) + 0.7] },
  };
  return { traces: [diagonal, ...traces], layout, height: 470, numbers: [['strategy', 'mean score', 'target better %', 'steps'], rows] };
}
