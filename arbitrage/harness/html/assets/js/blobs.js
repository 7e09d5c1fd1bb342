// The page's data blocks: gzip in base64, unpacked when they are wanted.

const unpacked = new Map();

/** The text of a block. */
async function unpack(name) {
  const binary = atob(byId(`data-${name}`).textContent);
  const bytes = new Uint8Array(binary.length);
  for (let place = 0; place < binary.length; place += 1) bytes[place] = binary.charCodeAt(place);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(stream).text();
}

/** What `load` gives, made once for each name. */
function once(name, load) {
  if (!unpacked.has(name)) unpacked.set(name, load());
  return unpacked.get(name);
}

/** A block that holds JSON; not kept, because chunks are many. */
async function record(name) {
  return JSON.parse(await unpack(name));
}

/** A script of the page's own, run when it is first needed; the policy knows its hash. */
function library(name) {
  return once(name, async () => {
    const script = document.createElement('script');
    script.textContent = await unpack(name);
    document.head.append(script);
  });
}

/** KaTeX with its style sheet and fonts. */
function mathematics() {
  return once('mathematics', async () => {
    const [style] = await Promise.all([unpack('katex-style'), library('katex')]);
    const sheet = document.createElement('style');
    sheet.textContent = style;
    document.head.append(sheet);
  });
}
