/** Keeps all that the page needs, so that it works with the network off. */

const NAME = 'mneme-example-';

self.addEventListener('install', (event) => {
  event.waitUntil(
    (async () => {
      const { version, assets } = await (await fetch('assets.json', { cache: 'no-store' })).json();
      const cache = await caches.open(NAME + version);
      await cache.addAll([...assets, 'assets.json']);
      await self.skipWaiting();
    })(),
  );
});

self.addEventListener('activate', (event) => {
  event.waitUntil(self.clients.claim());
});

self.addEventListener('fetch', (event) => {
  event.respondWith(
    // The network's version, or else the last one kept.
    fetch(event.request).catch(async () => {
      const names = (await caches.keys()).filter((name) => name.startsWith(NAME)).reverse();
      for (const name of names) {
        const kept = await (await caches.open(name)).match(event.request, { ignoreSearch: true });
        if (kept) {
          return kept;
        }
      }
      return Response.error();
    }),
  );
});
