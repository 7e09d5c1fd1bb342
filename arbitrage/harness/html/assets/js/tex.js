// Texts of models: plain text with mathematics in $…$, $$…$$, \(…\), \[…\], bare \boxed{…} and bare environments.

const LONGEST_TEXT = 6000;
const LONGEST_FORMULA = 2000;
const MOST_FORMULAS = 200;
const ENVIRONMENT = /^\\begin\{(?:align|alignat|equation|gather)\*?\}/;
const PAIRS = [
  { open: '$$', close: '$$', display: true },
  { open: '\\[', close: '\\]', display: true },
  { open: '\\(', close: '\\)', display: false },
  { open: '$', close: '$', display: false },
];

/** Cuts a text into plain pieces and formulas. A text without any bracket may have lines that are nothing but TeX. */
function pieces(text) {
  if (/\$|\\[([]|\\begin\{/.test(text)) return bracketed(text);
  const lines = text.split('\n');
  return lines.flatMap((line, row) => {
    const end = row < lines.length - 1 ? [{ text: '\n' }] : [];
    return [...(bare(line) ? [{ source: line, tex: line, display: false, bare: true }] : bracketed(line)), ...end];
  });
}

/** Whether a line is mathematics only, and TeX would show all of it: it swallows comments, blanks and some braces. */
function bare(line) {
  if (!/[=<>^_\\]/.test(line) || line.length > LONGEST_FORMULA || /[%#&~"`]|\d\s+\d|[\^_][^\da-z{]|[\^_]\d\d/i.test(line)) return false;
  const rest = line.replace(/\\[a-z]+|\\./gi, ' @');
  return !/\p{L}{2,}|(?:^|[^@}\w^_])\s*\{|\\/u.test(rest);
}

/** Cuts a text into plain pieces and bracketed formulas, in one pass: [{ text }, { source, tex, display }, …]. */
function bracketed(text) {
  const found = [];
  let plain = 0;
  let place = 0;
  let formulas = 0;
  while (place < text.length && formulas < MOST_FORMULAS) {
    const next = nextSign(text, place);
    if (next < 0) break;
    const formula = formulaAt(text, next);
    if (formula === null) {
      place = next + (text[next] === '\\' || text.startsWith('$$', next) ? 2 : 1);
      continue;
    }
    if (next > plain) found.push({ text: text.slice(plain, next) });
    found.push(formula);
    formulas += 1;
    place = plain = next + formula.source.length;
  }
  if (plain < text.length) found.push({ text: text.slice(plain) });
  return found;
}

/** Place of the next dollar or backslash. */
function nextSign(text, from) {
  for (let place = from; place < text.length; place += 1) {
    if (text[place] === '$' || text[place] === '\\') return place;
  }
  return -1;
}

/** The formula that starts at `start`; null when none does. */
function formulaAt(text, start) {
  if (text.startsWith('\\boxed{', start)) return boxedAt(text, start);
  if (text.startsWith('\\begin{', start)) return environmentAt(text, start);
  const pair = PAIRS.find(({ open }) => text.startsWith(open, start));
  if (pair === undefined) return null;
  const from = start + pair.open.length;
  const end = closing(text, from, pair);
  const tex = end < 0 ? '' : text.slice(from, end);
  if (!tex.trim()) return null;
  return { source: text.slice(start, end + pair.close.length), tex, display: pair.display };
}

/** Where a formula ends, or -1: not at an escaped sign, and not in another paragraph. */
function closing(text, from, { close, display }) {
  const limit = Math.min(text.length, from + LONGEST_FORMULA);
  for (let place = from; place < limit; place += 1) {
    if (text.startsWith(close, place)) return close !== '$' || closes(text, from, place) ? place : -1;
    if (text[place] === '\\') place += 1;
    else if (!display && text[place] === '\n' && text[place + 1] === '\n') return -1;
  }
  return -1;
}

/** Whether a dollar ends what another began: $x$ and $ x $ are formulas, $5 and $6 are prices. */
function closes(text, from, place) {
  const blank = (at) => /\s/.test(text[at] ?? ' ');
  return blank(from) === blank(place - 1) && !/\d/.test(text[place + 1] ?? '');
}

/** A \boxed{…} outside of any formula. */
function boxedAt(text, start) {
  const limit = Math.min(text.length, start + LONGEST_FORMULA);
  let depth = 0;
  for (let place = start + '\\boxed'.length; place < limit; place += 1) {
    if (text[place] === '\\') place += 1;
    else if (text[place] === '{') depth += 1;
    else if (text[place] === '}') depth -= 1;
    if (depth === 0) {
      const source = text.slice(start, place + 1);
      return { source, tex: source, display: false };
    }
  }
  return null;
}

/** A \begin{align*}…\end{align*} outside of any formula. */
function environmentAt(text, start) {
  const rest = text.slice(start, start + LONGEST_FORMULA);
  const close = ENVIRONMENT.exec(rest)?.[0].replace('begin', 'end');
  const end = close === undefined ? -1 : rest.indexOf(close);
  if (end < 0) return null;
  const source = rest.slice(0, end + close.length);
  return { source, tex: source, display: true };
}

/** One formula; text that KaTeX cannot read stays text. */
function formula({ source, tex, display, bare: lone }) {
  const holder = make('span', { class: 'formula' });
  try {
    window.katex.render(tex, holder, {
      displayMode: display,
      throwOnError: true,
      strict: 'ignore',
      trust: false,
      maxSize: 20,
      maxExpand: 200,
    });
    return holder;
  } catch {
    return lone ? make('span', {}, source) : make('code', { class: 'unread' }, source);
  }
}

/** Shows formulas of the texts that come near the window; those far away wait as they were written. */
const written = new WeakMap();
const nearby = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => showFormulas(entry.target)),
  { rootMargin: '800px' },
);

/** A text whose formulas appear when it is seen; the whole of a long one on demand, then without formulas. */
function prose(text, tag = 'div') {
  const shown = text.length > LONGEST_TEXT ? text.slice(0, LONGEST_TEXT) : text;
  const body = make('span', {}, shown);
  const holder = make(tag, { class: 'prose', dir: 'auto' }, body);
  if (/[$\\=<>^_]/.test(shown)) {
    written.set(body, shown);
    nearby.observe(body);
  }
  if (shown.length < text.length) {
    const all = () => holder.replaceChildren(visible(text));
    holder.append(button({ class: 'link' }, all, `… show all ${text.length.toLocaleString('en')} characters`));
  }
  return holder;
}

window.addEventListener('beforeprint', () => {
  const bodies = [...document.querySelectorAll('.prose > span')];
  bodies.filter((body) => written.has(body)).forEach(showFormulas);
});

async function showFormulas(body) {
  nearby.unobserve(body);
  await mathematics();
  const text = written.get(body);
  if (text === undefined) return;
  written.delete(body);
  const parts = pieces(text).map((piece) =>
    piece.tex === undefined ? visible(piece.text.replaceAll('\\$', '$')) : formula(piece),
  );
  body.replaceChildren(...parts);
}

/** An answer, which is LaTeX without dollars; KaTeX must be there. */
function answer(text) {
  if (text === null || text === undefined) return make('em', { class: 'quiet' }, 'none');
  if (text.length > LONGEST_FORMULA || text.includes('$')) return prose(text, 'span');
  return formula({ source: text, tex: text, display: false });
}
