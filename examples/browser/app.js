/** The page: asks the cache, shows what it says, and keeps what it is taught. */

import { SemanticCache, hasJspi } from './mneme/index.js';
import { indexedDB } from './mneme/stores/indexeddb.js';
import { memory } from './mneme/stores/memory.js';

const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

/** The encoder in its Worker. */
async function startEncoder() {
  const worker = new Worker('encoder-worker.js', { type: 'module' });
  const waiting = new Map();
  let last = 0;
  worker.onmessage = ({ data: { id, value, error } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    error === undefined ? resolve(value) : reject(new Error(error));
  };
  worker.onerror = ({ message }) => {
    for (const { reject } of waiting.values()) {
      reject(new Error(message ?? 'the encoder cannot be loaded'));
    }
    waiting.clear();
  };
  const ask = (texts) =>
    new Promise((resolve, reject) => {
      last += 1;
      waiting.set(last, { resolve, reject });
      worker.postMessage({ id: last, texts });
    });
  return { ...(await ask()), embed: ask };
}

function say(text, isError = false) {
  $('status').textContent = text;
  $('status').classList.toggle('error', isError);
}

/** Runs what a button asks for, with the buttons off meanwhile, and tells what goes wrong. */
async function during(what, work) {
  const buttons = document.querySelectorAll('button');
  say(what);
  for (const button of buttons) button.disabled = true;
  try {
    say((await work()) ?? 'Ready. Everything stays in this browser.');
  } catch (error) {
    say(error.message, true);
  } finally {
    for (const button of buttons) button.disabled = false;
    await showStats();
  }
}

let cache;

async function showStats() {
  if (!cache) return;
  const { entries, counters } = await cache.stats();
  $('entries').textContent = entries;
  $('exact').textContent = counters.hitsExact;
  $('semantic').textContent = counters.hitsSemantic;
  $('misses').textContent = counters.misses;
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function fact(label, value) {
  const made = element('span', '', `${label} `);
  made.append(element('b', '', value));
  return made;
}

function showHit(hit, ms) {
  const meter = element('div', 'meter', '');
  const full = element('span', '', '');
  full.style.width = `${Math.max(0, hit.similarity) * 100}%`;
  meter.append(full);
  const facts = element('p', 'facts', '');
  facts.append(
    fact('Layer', hit.layer),
    fact('Similarity', hit.similarity.toFixed(3)),
    fact('Took', `${number.format(ms)} ms`),
    fact('Asked as', hit.query),
  );
  $('result').replaceChildren(element('p', 'answer', hit.response), meter, facts);
}

const MISSES = {
  'below-threshold': 'Nothing that is known is similar enough.',
  'no-match': 'Nothing is known yet.',
  'embedder-failure': 'The encoder could not read the question.',
};

async function ask(question) {
  const start = performance.now();
  const { hit, miss } = await cache.lookUp(question, {
    threshold: Number($('threshold').value),
  });
  const ms = performance.now() - start;
  $('result').hidden = false;
  $('teach').hidden = Boolean(hit);
  if (hit) {
    showHit(hit, ms);
  } else {
    const text = `${MISSES[miss.reason] ?? miss.reason} (${number.format(ms)} ms)`;
    $('result').replaceChildren(element('p', 'miss', text));
    $('answer').focus();
  }
}

async function fill() {
  const lines = (await (await fetch('examples.jsonl')).text()).trim().split('\n');
  const answers = lines.map((line) => JSON.parse(line));
  await cache.putMany(answers.map(({ query, response }) => ({ query, response })));
  return `${answers.length} questions and their answers were kept.`;
}

/** The address of the last archive. */
let download;

async function dump() {
  const { archive, entries } = await cache.dump();
  // The one before has been fetched by now; this one may not have been when the click returns.
  if (download) URL.revokeObjectURL(download);
  download = URL.createObjectURL(archive);
  const link = document.createElement('a');
  link.href = download;
  link.download = 'mneme.tar.gz';
  link.click();
  return `${entries} entries, ${number.format(archive.size / 1024)} KiB. \`mneme load mneme.tar.gz\` reads it.`;
}

async function load(file) {
  const { entries } = await cache.load(file, { mode: 'merge' });
  return `${entries} entries were loaded.`;
}

$('threshold').addEventListener('input', ({ target }) => {
  $('threshold-value').textContent = Number(target.value).toFixed(2);
});
$('ask').addEventListener('submit', (event) => {
  event.preventDefault();
  during('Looking…', () => ask($('question').value));
});
$('teach').addEventListener('submit', (event) => {
  event.preventDefault();
  during('Keeping…', async () => {
    await cache.put($('question').value, $('answer').value);
    $('answer').value = '';
    await ask($('question').value);
    $('question').focus();
  });
});
$('fill').addEventListener('click', () => during('Reading the examples…', fill));
$('dump').addEventListener('click', () => during('Packing…', dump));
$('load').addEventListener('click', () => $('file').click());
$('file').addEventListener('change', ({ target }) => {
  const [file] = target.files;
  target.value = '';
  if (file) during('Loading…', () => load(file));
});
$('clear').addEventListener('click', () =>
  during('Clearing…', async () => {
    const gone = await cache.clear();
    $('result').hidden = true;
    $('teach').hidden = true;
    return `${gone} entries were deleted.`;
  }),
);

await during('Loading the encoder (10 MB, once)…', async () => {
  // Without it the page works too, but not offline.
  navigator.serviceWorker?.register('service-worker.js').catch(() => {});
  const embedder = await startEncoder();
  const store = hasJspi() ? indexedDB('mneme-example') : memory();
  cache = await SemanticCache.open({
    store,
    embedder,
    confidence: { cutOff: 0 },
  });
  $('question').focus();
  return hasJspi()
    ? 'Ready. Everything stays in this browser.'
    : 'Ready. This browser lacks WebAssembly JSPI, so entries are gone when the page is.';
});
document.documentElement.dataset.ready = 'true';
