/** Work that goes in steps, between which everything else has its turn. */

import { breathe } from './platform.js';

/** The most requests that are sent again in one call, which answers some hundred of them. */
const AGAIN = 512;

/** Calls until there is no more to do; everything else has its turn in between. */
export async function inSteps<R>(call: () => Promise<R>, isMore: (step: R) => boolean): Promise<R> {
  for (;;) {
    const step = await call();
    if (!isMore(step)) {
      return step;
    }
    await breathe();
  }
}

/** Calls with all requests, and then with those that come late, in their order. */
export async function inTurns<Q, A>(
  requests: Q[],
  isLate: (answer: A) => boolean,
  call: (rest: Q[]) => Promise<A[]>,
): Promise<A[]> {
  const answers = await call(requests);
  const lateOf = (some: number[]) => some.filter((i) => isLate(answers[i] as A));
  let late = lateOf([...answers.keys()]);
  while (late.length > 0) {
    await breathe();
    const some = late.slice(0, AGAIN);
    const again = await call(some.map((i) => requests[i] as Q));
    some.forEach((i, at) => {
      answers[i] = again[at] as A;
    });
    late = [...lateOf(some), ...late.slice(AGAIN)];
  }
  return answers;
}
