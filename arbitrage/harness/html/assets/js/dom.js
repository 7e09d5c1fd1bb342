// Building the document. Texts become text nodes: nothing that a run contains is ever read as markup.

/** An element with attributes; children are nodes, or anything else as its text; null and false are left out. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, '');
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  for (const child of children.flat()) {
    if (child instanceof Node) element.append(child);
    else if (child !== null && child !== undefined && child !== false) element.append(visible(String(child)));
  }
  return element;
}

/** A button that calls `act` when it is pressed. */
function button(attributes, act, ...children) {
  const element = make('button', { type: 'button', ...attributes }, ...children);
  element.addEventListener('click', act);
  return element;
}

/** A drop-down list of [value, text] pairs with a label. */
function choice(label, options, chosen, act) {
  const select = make('select', {}, options.map(([value, text]) => make('option', { value }, text)));
  select.value = String(chosen);
  select.addEventListener('change', () => act(select.value));
  return make('label', { class: 'field' }, make('span', {}, label), select);
}

/** Text in which control and direction characters can be seen instead of acting. */
function visible(text) {
  return text.replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g,
    (found) => {
      const code = found.codePointAt(0);
      if (code === 0x0d) return '';
      return code < 0x20 ? String.fromCodePoint(0x2400 + code) : `\u27e8U+${code.toString(16).toUpperCase()}\u27e9`;
    },
  );
}

const byId = (id) => document.getElementById(id);

/** A share as a percentage. */
const percent = (share, digits = 0) => (share === null || share === undefined ? '—' : `${(100 * share).toFixed(digits)} %`);

/** Seconds in a unit that needs few digits. */
function duration(seconds) {
  if (seconds === null || seconds === undefined) return '—';
  const size = Math.abs(seconds);
  if (size >= 100) return `${seconds.toFixed(0)} s`;
  if (size >= 1) return `${seconds.toFixed(size >= 10 ? 1 : 2)} s`;
  return `${(1000 * seconds).toFixed(size >= 0.01 ? 0 : 1)} ms`;
}

/** A number with its sign; a true minus, so that columns line up. */
const signed = (value, digits = 2) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(digits)}`;

const plural = (count, one) => `${count.toLocaleString('en')} ${one}${count === 1 ? '' : 's'}`;
