/**
 * A page of another origin tries every route of a server, in every way that a page has. Called
 * with the server's address, and its token if it has one.
 */

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const [address, token] = process.argv.slice(2);
const { launch } = await import(pathToFileURL('test/support/chromium.mjs').href);
const bearer = token ? { authorization: `Bearer ${token}` } : {};
const json = { 'content-type': 'application/json' };
const { port } = new URL(address);

/** As a program asks. */
async function ask(method, path, body, headers = json) {
  const response = await fetch(`${address}${path}`, { method, body, headers: { ...bearer, ...headers } });
  assert.ok(response.ok, `${method} ${path}: ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
}

const put = (query, response) =>
  ask('POST', '/v1/put', JSON.stringify({ query, response, embedding: [1, 0, 0] }));

// The archive holds another answer than the server does.
await put('question', 'from the attacker');
const archive = await ask('GET', '/v1/dump');
await put('question', 'a secret answer');
const before = await ask('GET', '/v1/dump?portable=true');

const { paths } = JSON.parse(await ask('GET', '/openapi.json'));
const routes = Object.entries(paths).flatMap(([path, methods]) =>
  Object.keys(methods).map((method) => ({
    method: method.toUpperCase(),
    path: path.replace('{namespace}', 'default'),
  })),
);
routes.push({ method: 'GET', path: '/openapi.json' });
assert.ok(routes.length > 20);

// Another port is another origin; another name is another site too.
const pages = createServer((_, response) => {
  response.setHeader('content-type', 'text/html');
  response.end('<!doctype html><title>Another origin</title><body></body>');
});
await new Promise((resolve) => pages.listen(0, '127.0.0.1', resolve));
const origins = ['127.0.0.1', 'localhost'].map((name) => `http://${name}:${pages.address().port}`);
const targets = [`http://127.0.0.1:${port}`, `http://localhost:${port}`];
const browser = await launch();
let tried = 0;
try {
  for (const origin of origins) {
    for (const target of targets) {
      const page = await browser.context.newPage();
      const seen = [];
      // What reaches the server, and what it says. Redirected by nobody.
      page.on('response', (response) => {
        if (response.url().startsWith(target)) seen.push([response.status(), response.request().method(), response.url()]);
      });
      await page.goto(origin);
      const learned = await page.evaluate(attack, {
        target,
        routes,
        token,
        archive: [...archive],
      });
      tried += learned.tried;
      assert.deepEqual(learned.read, [], 'the page could read this');
      for (const [status, method, url] of seen) {
        assert.ok([400, 401, 403, 404, 405, 415].includes(status), `${method} ${url}: ${status}`);
      }
      assert.ok(seen.length > routes.length, 'requests reach the server');
      await page.close();
    }
  }
  const after = await ask('GET', '/v1/dump?portable=true');
  assert.ok(after.equals(before), 'something has changed');
  const { entries } = JSON.parse(await ask('GET', '/v1/stats'));
  assert.equal(entries, 1);
  console.log(`${tried} requests of pages, none was served`);
} finally {
  await browser.close();
  pages.close();
}

/** Runs in the page: every route, in every way. What it could read is returned. */
async function attack({ target, routes, token, archive }) {
  const read = [];
  let tried = 0;
  const bytes = new Uint8Array(archive);
  const body = JSON.stringify({ query: 'question', response: 'from a page', embedding: [1, 0, 0] });
  const bodies = [
    body,
    new Blob([body], { type: 'text/plain' }),
    new Blob([body], { type: 'application/json' }),
    new Blob([bytes]),
    bytes,
    new URLSearchParams({ [body]: '' }),
    (() => {
      const form = new FormData();
      form.append('archive', new Blob([bytes]), 'archive');
      return form;
    })(),
  ];
  const tokens = token ? [undefined, token] : [undefined];
  async function one(url, options) {
    tried += 1;
    try {
      const response = await fetch(url, options);
      if (response.type !== 'opaque') read.push(`${options.method} ${url}: ${await response.text()}`);
    } catch {
      // Refused by the browser, which was not allowed to ask.
    }
  }
  for (const { method, path } of routes) {
    const url = `${target}${path}`;
    const queries = path === '/v1/load' ? ['?mode=replace', '?mode=merge'] : [''];
    for (const query of queries) {
      for (const mode of ['no-cors', 'cors']) {
        for (const token of tokens) {
          const headers = token ? { authorization: `Bearer ${token}` } : {};
          const all = ['GET', 'DELETE'].includes(method) ? [undefined] : bodies;
          for (const body of all) {
            await one(url + query, { method, mode, headers, body, credentials: 'include' });
            if (mode === 'cors' && body) {
              const json = { ...headers, 'content-type': 'application/json' };
              await one(url + query, { method, mode, headers: json, body });
            }
          }
        }
      }
      if (method === 'POST') {
        tried += 2;
        navigator.sendBeacon(url + query, new Blob([body], { type: 'text/plain' }));
        navigator.sendBeacon(url + query, bytes);
        for (const enctype of ['text/plain', 'multipart/form-data', 'application/x-www-form-urlencoded']) {
          tried += 1;
          await submit(url + query, enctype, body);
        }
      }
      if (method === 'GET') {
        for (const tag of ['img', 'script', 'iframe', 'object', 'link']) {
          tried += 1;
          await embed(url + query, tag);
        }
      }
    }
  }
  return { read, tried };

  /** A form whose answer goes to a frame. */
  function submit(url, enctype, text) {
    const frame = document.createElement('iframe');
    frame.name = `frame${tried}`;
    const form = document.createElement('form');
    Object.assign(form, { method: 'post', action: url, enctype, target: frame.name });
    const field = document.createElement('input');
    // As text/plain, the body is `name=value`: JSON, if the equals sign is in a string.
    Object.assign(field, { name: `${text.slice(0, -1)},"x":"`, value: '"}' });
    form.append(field);
    document.body.append(frame, form);
    const answered = new Promise((resolve) => {
      frame.onload = resolve;
      setTimeout(resolve, 2000);
    });
    form.submit();
    return answered.then(() => {
      try {
        const text = frame.contentDocument?.body?.innerText;
        if (text) read.push(`form ${url}: ${text}`);
      } catch {
        // Of another origin.
      }
      frame.remove();
      form.remove();
    });
  }

  function embed(url, tag) {
    const element = document.createElement(tag);
    const ended = new Promise((resolve) => {
      element.onload = resolve;
      element.onerror = resolve;
      setTimeout(resolve, 500);
    });
    if (tag === 'link') Object.assign(element, { rel: 'stylesheet', href: url });
    else if (tag === 'object') element.data = url;
    else element.src = url;
    document.body.append(element);
    return ended.then(() => element.remove());
  }
}
