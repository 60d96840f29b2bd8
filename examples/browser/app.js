/** The page: asks the cache, shows what it says, and keeps what it is taught. */

import { startEncoder } from './encoder.js';
import { SemanticCache, hasJspi } from './mneme/index.js';
import { indexedDB } from './mneme/stores/indexeddb.js';
import { memory } from './mneme/stores/memory.js';
import { $, showBroken, showHit, showMiss, showStats, showSuggestions } from './view.js';

const READY = hasJspi()
  ? 'Ready. Everything stays in this browser.'
  : 'Ready. This browser lacks WebAssembly JSPI, so entries are gone when the page is.';
/** How long the slider must rest before the question is asked again. */
const REST_MS = 150;

let cache;
/** What was asked last. */
let asked;
let isBusy = false;
/** What `onError` said during the present work. */
let trouble;
/** Whether the threshold was moved during the present work. */
let isMoved = false;

function say(text, isError = false) {
  $('status').textContent = text;
  $('status').classList.toggle('error', isError);
}

/**
 * Does what a control asks for, one thing at a time, and tells what goes wrong. Controls stay
 * enabled, so that none loses the focus.
 */
async function during(what, work) {
  if (isBusy || !cache) return;
  isBusy = true;
  trouble = undefined;
  document.documentElement.dataset.busy = 'true';
  say(what);
  try {
    const said = await work();
    say(trouble ?? said ?? READY, trouble !== undefined);
  } catch (error) {
    say(error.message, true);
  } finally {
    await refresh().catch((error) => say(error.message, true));
    isBusy = false;
    delete document.documentElement.dataset.busy;
  }
  if (isMoved) askAgain();
}

/** Asks the last question with the present threshold, when what is under way is done. */
function askAgain() {
  isMoved = isBusy;
  if (asked !== undefined && !isBusy) during('Looking…', () => ask(asked, { teaches: false }));
}

/** The embedder, which remembers the last text: a question is often looked at more than once. */
function remembering(embedder) {
  let last;
  const embed = async (texts, options) => {
    if (texts.length === 1 && texts[0] === last?.text) return [last.embedding];
    const embedded = await embedder.embed(texts, options);
    if (texts.length === 1) last = { text: texts[0], embedding: embedded[0] };
    return embedded;
  };
  return { ...embedder, embed };
}

async function refresh() {
  showStats(await cache.stats());
}

async function ask(question, { teaches = true } = {}) {
  const threshold = Number($('threshold').value);
  const start = performance.now();
  const { hit, miss } = await cache.lookUp(question, { threshold });
  const ms = performance.now() - start;
  asked = question;
  $('teach').hidden = Boolean(hit);
  if (hit) {
    showHit(hit, ms, threshold);
    return;
  }
  const { candidates } = await cache.explain(question, { threshold, limit: 3 });
  showMiss(miss, ms, threshold, candidates);
  if (teaches) $('answer').focus();
}

async function fill() {
  const lines = (await (await fetch('examples.jsonl')).text()).trim().split('\n');
  const answers = lines.map((line) => JSON.parse(line));
  await cache.putMany(answers.map(({ query, response }) => ({ query, response })));
  return `${answers.length} questions and their answers were kept. Ask one in your own words.`;
}

async function suggest(question) {
  $('question').value = question;
  if ((await cache.stats()).entries === 0) {
    say('Reading the examples…');
    await fill();
  }
  await ask(question, { teaches: false });
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
  const kib = (archive.size / 1024).toFixed(1);
  return `${entries} entries, ${kib} KiB. \`mneme load mneme.tar.gz\` reads it.`;
}

async function load(file) {
  const { entries } = await cache.load(file, { mode: 'merge' });
  return `${entries} entries were loaded.`;
}

/** Asks before what cannot be undone. */
async function isSure(what) {
  $('sure-what').textContent = what;
  $('sure').returnValue = 'no';
  $('sure').showModal();
  await new Promise((resolve) => $('sure').addEventListener('close', resolve, { once: true }));
  return $('sure').returnValue === 'yes';
}

async function clear() {
  const { entries } = await cache.stats();
  if (entries === 0) return 'There is nothing to delete.';
  if (!(await isSure(`Delete all ${entries} entries? This cannot be undone.`))) {
    return 'Nothing was deleted.';
  }
  const gone = await cache.clear();
  asked = undefined;
  $('result').hidden = true;
  $('teach').hidden = true;
  return `${gone} entries were deleted.`;
}

let resting;
$('threshold').addEventListener('input', ({ target }) => {
  $('threshold-value').textContent = Number(target.value).toFixed(2);
  clearTimeout(resting);
  resting = setTimeout(askAgain, REST_MS);
});
$('ask').addEventListener('submit', (event) => {
  event.preventDefault();
  during('Looking…', () => ask($('question').value));
});
$('teach').addEventListener('submit', (event) => {
  event.preventDefault();
  during('Keeping…', async () => {
    await cache.put(asked, $('answer').value);
    $('answer').value = '';
    $('question').value = asked;
    await ask(asked);
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
$('clear').addEventListener('click', () => during('Clearing…', clear));
showSuggestions((question) => during('Looking…', () => suggest(question)));

// Without it the page works too, but not offline.
navigator.serviceWorker?.register('service-worker.js').catch(() => {});
say('Loading the encoder (10 MB, once)…');
try {
  cache = await SemanticCache.open({
    store: hasJspi() ? indexedDB('mneme-example') : memory(),
    embedder: remembering(await startEncoder()),
    onError: (error) => {
      trouble = error.message;
      say(trouble, true);
    },
  });
  await refresh();
  say(READY);
  $('question').focus();
} catch (error) {
  showBroken(error.message);
  say('The page cannot go on.', true);
}
document.documentElement.dataset.ready = 'true';
