// The completions: unpacking, filtering, sorting, grouping. Nothing here changes the page.

const SLICE = 12; // Milliseconds of searching after which the page may draw.

/** Columns of numbers (NaN if unknown), indices of texts, and lookups by them. */
class Rollouts {
  static async load() {
    const stream = new Blob([bytes(byId("rollout-data").textContent)]).stream();
    const text = await new Response(stream.pipeThrough(new DecompressionStream("gzip"))).text();
    return new Rollouts(JSON.parse(text));
  }

  constructor({ runs, sources, texts, columns }) {
    Object.assign(this, { runs, sources, texts });
    this.terms = Object.keys(columns).filter((name) => name.startsWith("rewards/"));
    this.columns = columns;
    this.count = columns.step.length;
    this.numbers = {};
    for (const name of ["step", "length", "reward", "advantage", "right", "source"]) {
      this.numbers[name] = Float64Array.from(columns[name], (value) => value ?? NaN);
    }
    this.groups = this.grouped(
      (row) =>
        `${columns.source[row]} ${columns.step[row]} ${columns.draw[row]} ${columns.problem_id[row]}`,
    );
    this.problems = this.grouped((row) => `${this.run(row)} ${columns.problem_id[row]}`);
  }

  grouped(key) {
    const groups = new Map();
    for (let row = 0; row < this.count; row++) {
      const name = key(row);
      if (groups.has(name)) groups.get(name).push(row);
      else groups.set(name, [row]);
    }
    return groups;
  }

  /** Value of a column, null if it is unknown; the text itself for columns of text. */
  value(name, row) {
    return this.columns[name][row];
  }

  text(name, row) {
    return this.texts[this.columns[name][row]] ?? null;
  }

  run(row) {
    return this.sources[this.columns.source[row]].run;
  }

  suite(row) {
    return this.sources[this.columns.source[row]].suite;
  }

  /** Completions of the same problem in the same step, including this one. */
  mates(row) {
    const { source, step, draw, problem_id } = this.columns;
    return this.groups.get(`${source[row]} ${step[row]} ${draw[row]} ${problem_id[row]}`);
  }

  /** All completions of a problem in a run, by step. */
  through(run, problem) {
    const rows = this.problems.get(`${run} ${this.texts.indexOf(problem)}`) ?? [];
    return rows.toSorted((one, other) => this.numbers.step[one] - this.numbers.step[other]);
  }

  /** The prompt, taken from another completion of the problem if this one's file has none. */
  prompt(row) {
    const known = this.problems.get(`${this.run(row)} ${this.columns.problem_id[row]}`) ?? [];
    const found = [row, ...known].find((other) => this.columns.prompt[other] !== null);
    return found === undefined ? null : this.text("prompt", found);
  }

  /** Rows that match a query, in its order; null if `current` says that the query is outdated. */
  async find(query, pattern, current) {
    const admitted = pattern ? await this.search(pattern, current) : null;
    if (pattern && !admitted) return null;
    const wanted = this.sources.map(
      ({ run, suite }) =>
        (query.run === "" || run === Number(query.run)) &&
        (query.source === "" || (suite ?? "training") === query.source),
    );
    const ranges = ["step", "reward", "length"].map((name) => [
      this.numbers[name],
      limit(query[`${name}-min`], -Infinity),
      limit(query[`${name}-max`], Infinity),
    ]);
    const limited = ranges.filter(([, low, high]) => low > -Infinity || high < Infinity);
    const verdict = { right: 1, wrong: 0 }[query.verdict];
    const { source, completion } = this.columns;
    const found = [];
    for (let row = 0; row < this.count; row++) {
      if (!wanted[source[row]]) continue;
      if (verdict !== undefined && this.numbers.right[row] !== verdict) continue;
      if (!limited.every(([values, low, high]) => values[row] >= low && values[row] <= high))
        continue;
      if (admitted && !admitted[completion[row]]) continue;
      found.push(row);
    }
    return this.sorted(found, query.sort);
  }

  sorted(rows, order) {
    if (!order) return rows;
    const [sign, name] = order.startsWith("-") ? [-1, order.slice(1)] : [1, order];
    const values = this.numbers[name];
    // Unknown values come last in either order.
    const key = (row) => (Number.isNaN(values[row]) ? Infinity : sign * values[row]);
    return rows.sort((one, other) => key(one) - key(other) || one - other);
  }

  /** Which texts match. Each text is searched once for all rows that have it. */
  async search(pattern, current) {
    const matched = new Uint8Array(this.texts.length);
    let started = performance.now();
    for (let place = 0; place < matched.length; place++) {
      pattern.lastIndex = 0;
      matched[place] = pattern.test(this.texts[place]) ? 1 : 0;
      if (performance.now() - started < SLICE) continue;
      await new Promise((resume) => setTimeout(resume));
      if (!current()) return null;
      started = performance.now();
    }
    return matched;
  }
}

function bytes(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function limit(text, otherwise) {
  return text === "" || !Number.isFinite(Number(text)) ? otherwise : Number(text);
}

/** The pattern of a query: null for none, an Error if it is not a regular expression. */
function patternOf(query) {
  if (!query.text) return null;
  const source = query.regex ? query.text : query.text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
  try {
    return new RegExp(source, "giu");
  } catch (error) {
    return error;
  }
}
