/** What `conformance` prints, for people. */

import { stdout } from 'node:process';
import type { Case, Counts, Report } from '../conformance.js';

const colour = (code: number) => (text: string) =>
  stdout.isTTY && !process.env['NO_COLOR'] ? `\x1b[${code}m${text}\x1b[0m` : text;
const red = colour(31);
const green = colour(32);

/** The cases, by section. */
export function listText(cases: Case[]): string {
  const lines: string[] = [];
  let section = '';
  for (const one of cases) {
    if (one.section !== section) {
      section = one.section;
      lines.push(section);
    }
    const needs = one.needs ? ` (stores that claim \`${one.needs}\`)` : '';
    lines.push(`  ${one.name}: ${one.summary}${needs}`);
  }
  return lines.join('\n');
}

/** The report: a table of the sections, the failures, what was skipped, the verdict. */
export function reportText(report: Report): string {
  const sections = new Map<string, Counts>();
  for (const { section, outcome } of report.cases) {
    const counts = sections.get(section) ?? { passed: 0, failed: 0, skipped: 0 };
    counts[outcome] += 1;
    sections.set(section, counts);
  }
  const rows: [string, Counts][] = [...sections];
  if (rows.length !== 1) {
    rows.push(['(all)', report.summary]);
  }
  const width = Math.max('section'.length, ...rows.map(([name]) => name.length));
  const line = (name: string, ...cells: (string | number)[]) =>
    [name.padEnd(width), ...cells.map((cell) => String(cell || '-').padStart(8))].join('');
  const lines = [line('section', 'passed', 'failed', 'skipped')];
  for (const [name, { passed, failed, skipped }] of rows) {
    lines.push(line(name, passed, failed, skipped));
  }
  for (const one of report.cases) {
    if (one.outcome === 'failed') {
      lines.push(
        '',
        `failed: ${red(one.name)} (${one.section})`,
        field('behaviour', one.summary),
        field('expected', one.expected ?? ''),
        field('actual', one.actual ?? ''),
      );
    }
  }
  const reasons = new Map<string, string[]>();
  for (const { outcome, detail, name } of report.cases) {
    if (outcome === 'skipped') {
      reasons.set(detail ?? '', [...(reasons.get(detail ?? '') ?? []), name]);
    }
  }
  for (const [reason, names] of reasons) {
    lines.push('', `skipped: ${reason}`, ...names.map((name) => `  ${name}`));
  }
  const { passed, failed, skipped } = report.summary;
  const verdict = failed === 0 ? green('conforms') : red('DOES NOT CONFORM');
  lines.push(
    '',
    `The ${report.store} store ${verdict}: ${passed} cases passed, ${failed} failed, ${skipped} skipped (seed ${report.seed}).`,
  );
  if (failed > 0) {
    lines.push(
      'A failure may also come of somebody else who wrote to the store meanwhile.',
      `Repeat one with: --seed ${report.seed} --case NAME`,
    );
  }
  return lines.join('\n');
}

/** Stores may say anything, terminal commands included. */
function field(name: string, value: string): string {
  const clean = value.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, '\ufffd').trimEnd();
  return `  ${name.padEnd(9)}  ${clean.replaceAll('\n', '\n             ')}`;
}
