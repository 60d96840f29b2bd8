/**
 * A semantic cache for many tenants: each has its own Durable Object with a database and a cache,
 * so that a question of one tenant never meets an answer of another.
 *
 *   PUT    /tenants/:tenant/answers   {"question", "answer", "ttlSeconds"?}   stores
 *   GET    /tenants/:tenant/answers?question=...                       asks
 *   DELETE /tenants/:tenant/answers?question=...                       removes
 *   GET    /tenants/:tenant/stats                                      counts
 */

import { DurableObject } from 'cloudflare:workers';
import { InvalidArgumentError, MnemeError, SemanticCache } from 'mneme-cache-wasm';
import { durableObject } from 'mneme-cache-wasm/stores/durable-object';
import { embedderOf } from './embedder.js';

function refused(error) {
  return Response.json({ error, code: 'invalid-argument' }, { status: 400 });
}

export class TenantCache extends DurableObject {
  #cache;

  constructor(ctx, env) {
    super(ctx, env);
    // Requests wait until the cache is open.
    ctx.blockConcurrencyWhile(async () => {
      this.#cache = await SemanticCache.open({
        store: durableObject(ctx.storage),
        embedder: embedderOf(env),
        similarityThreshold: 0.8,
        maxEntries: 10_000,
        // The object may be evicted at any time: what waits in memory would be lost.
        touchLimit: 1,
      });
    });
  }

  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    const question = searchParams.get('question');
    try {
      switch (`${request.method} ${pathname.split('/').at(-1)}`) {
        case 'PUT answers': {
          const body = await request.json();
          if (typeof body !== 'object' || body === null || Array.isArray(body)) {
            return refused('the body is not a JSON object; give {"question", "answer"}');
          }
          const { question, answer, ttlSeconds } = body;
          const id = await this.#cache.put(question, answer, { ttlSeconds });
          return Response.json({ id }, { status: 201 });
        }
        case 'GET answers': {
          const { hit, miss } = await this.#cache.lookUp(question);
          return hit ? Response.json(hit) : Response.json({ reason: miss.reason }, { status: 404 });
        }
        case 'DELETE answers':
          return Response.json({ deleted: await this.#cache.delete(question) });
        case 'GET stats':
          return Response.json(await this.#cache.stats());
        default:
          return Response.json({ error: 'there is nothing here' }, { status: 404 });
      }
    } catch (error) {
      if (error instanceof MnemeError) {
        const status = error instanceof InvalidArgumentError ? 400 : error.retryable ? 503 : 500;
        return Response.json({ error: error.message, code: error.code }, { status });
      }
      if (error instanceof SyntaxError) {
        return refused('the body is not JSON; give {"question", "answer"}');
      }
      throw error;
    }
  }
}

export default {
  async fetch(request, env) {
    const [, tenant] = /^\/tenants\/([\w-]{1,64})\/\w+$/.exec(new URL(request.url).pathname) ?? [];
    if (!tenant) {
      return Response.json({ error: 'ask below /tenants/:tenant' }, { status: 404 });
    }
    // Your authentication decides here who may ask for which tenant.
    return env.TENANTS.get(env.TENANTS.idFromName(tenant)).fetch(request);
  },
};
