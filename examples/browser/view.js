/** What the page shows. */

export const $ = (id) => document.getElementById(id);

const SUGGESTIONS = [
  'I forgot my password, how can I reset it?',
  'Can I get my money back?',
  'Which credit cards can I pay with?',
  'How tall is the Eiffel Tower?',
];

const MISSES = {
  'below-threshold': 'Nothing that is known is similar enough.',
  vetoed: 'What is similar enough asks for something else.',
  'no-match': 'What is similar enough has expired, or may not answer.',
  'embedder-failure': 'The encoder could not read the question.',
  unreadable:
    'The encoder cannot read enough of this: it knows English, and 128 tokens of it. The same words would be found.',
};

const milliseconds = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

function element(name, className, ...content) {
  const made = document.createElement(name);
  made.className = className;
  made.append(...content);
  return made;
}

function fact(label, value) {
  return element('span', '', `${label} `, element('b', '', value));
}

/** A bar of a similarity, with a mark where an answer begins. */
function meter(similarity, threshold) {
  const percent = (value) => `${Math.min(Math.max(value, 0), 1) * 100}%`;
  const full = element('span', similarity >= threshold ? 'full' : 'full short');
  full.style.width = percent(similarity);
  const mark = element('span', 'mark');
  mark.style.left = percent(threshold);
  mark.title = `An answer begins at ${threshold.toFixed(2)}`;
  const made = element('div', 'meter', full, mark);
  made.setAttribute('role', 'img');
  made.setAttribute(
    'aria-label',
    `Similarity ${similarity.toFixed(2)}; an answer begins at ${threshold.toFixed(2)}`,
  );
  return made;
}

function show(...content) {
  $('result').hidden = false;
  $('result').replaceChildren(...content);
  // On a phone it is below the question.
  $('result').scrollIntoView({ block: 'nearest' });
}

export function showHit(hit, ms, threshold) {
  const facts = element(
    'p',
    'facts',
    fact('Layer', hit.layer),
    fact('Similarity', hit.similarity.toFixed(3)),
    fact('Took', `${milliseconds.format(ms)} ms`),
    fact('Asked as', hit.query),
  );
  show(element('p', 'answer', hit.response), meter(hit.similarity, threshold), facts);
}

export function showMiss(miss, ms, threshold, candidates) {
  const isEmpty = miss.reason === 'no-match' && candidates.length === 0;
  const reason = isEmpty ? 'Nothing is known yet.' : (MISSES[miss.reason] ?? miss.reason);
  const why = `${reason} (${milliseconds.format(ms)} ms)`;
  const near = candidates.map(({ query, similarity, vetoes }) =>
    element(
      'li',
      '',
      element('span', 'near-query', query),
      element('b', '', similarity.toFixed(2)),
      ...vetoes.map((of) => element('span', 'veto', `“${of.query}”, not “${of.entry}”`)),
      meter(similarity, threshold),
    ),
  );
  const list = near.length
    ? [element('h3', '', 'The nearest questions'), element('ol', 'near', ...near)]
    : [];
  show(element('p', 'miss', why), ...list);
}

export function showStats({ entries, counters }) {
  $('entries').textContent = entries;
  $('exact').textContent = counters.hitsExact;
  $('semantic').textContent = counters.hitsSemantic;
  $('misses').textContent = counters.misses;
  $('empty').hidden = entries > 0;
}

/** @param onChoose called with the question that was clicked */
export function showSuggestions(onChoose) {
  const items = SUGGESTIONS.map((question) => {
    const button = element('button', 'suggestion', question);
    button.type = 'button';
    button.addEventListener('click', () => onChoose(question));
    return element('li', '', button);
  });
  $('suggestions').replaceChildren(...items);
}

/** Says why the page cannot work, in place of what cannot be used. */
export function showBroken(message) {
  $('broken').hidden = false;
  $('broken').replaceChildren(element('h2', '', 'Something is missing'), element('p', '', message));
  for (const control of document.querySelectorAll('main input, main button, main textarea')) {
    control.disabled = true;
  }
}
