// The list of completions, and the state of the browser, which is kept in the URL.

const PER_PAGE = 50;
const SNIPPET = 160; // Characters.
const NARROW = "(max-width: 52rem)"; // As in the style sheet: list and completion take turns.
const FIELDS = [
  "text",
  "regex",
  "run",
  "source",
  "verdict",
  "step-min",
  "step-max",
  "reward-min",
  "reward-max",
  "length-min",
  "length-max",
  "sort",
];
const PREFIX = "#rollouts";

/** State: filters, page, the open row or null, the followed problem. */
function stateOf(hash) {
  const given = new URLSearchParams(hash.slice(PREFIX.length + 1));
  const query = Object.fromEntries(FIELDS.map((name) => [name, given.get(name) ?? ""]));
  const whole = (name) => (/^\d+$/.test(given.get(name) ?? "") ? Number(given.get(name)) : null);
  return {
    query,
    page: whole("page") ?? 0,
    row: whole("row"),
    follow: given.get("follow"),
    of: whole("of"),
  };
}

function hashOf({ query, page, row, follow, of }) {
  const given = { ...query, page: page || "", row, follow, of };
  const kept = Object.entries(given).filter(([, value]) => value !== "" && value !== null);
  return kept.length ? `${PREFIX}?${new URLSearchParams(kept)}` : PREFIX;
}

class List {
  constructor(rollouts) {
    this.rollouts = rollouts;
    this.state = stateOf("");
    this.found = [];
    this.searched = 0;
    this.form = byId("filters");
    this.fill();
    this.form.hidden = byId("browser").hidden = false;
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", (event) =>
      this.typed(event.target.matches("select, [type=checkbox]")),
    );
    this.form.addEventListener("reset", () => setTimeout(() => this.typed(true)));
    byId("earlier").addEventListener("click", () => this.turn(-1));
    byId("later").addEventListener("click", () => this.turn(1));
    addEventListener("keydown", (event) => this.pressed(event));
  }

  fill() {
    const { runs, sources } = this.rollouts;
    const { run, source } = this.form.elements;
    runs.forEach((name, place) => run.append(make("option", { value: place }, ...visible(name))));
    const suites = [...new Set(sources.map(({ suite }) => suite))];
    for (const suite of suites) {
      source.append(
        make(
          "option",
          { value: suite ?? "training" },
          ...visible(suite === null ? "training" : `evaluation: ${suite}`),
        ),
      );
    }
  }

  /** Read the state from the URL. */
  async restore() {
    this.state = stateOf(location.hash);
    for (const name of FIELDS) {
      const field = this.form.elements[name];
      if (field.type === "checkbox") field.checked = this.state.query[name] !== "";
      else field.value = this.state.query[name];
    }
    await this.search();
  }

  /** Change the state. `visit` adds an entry to the history, so that going back works. */
  go(changes, visit = true) {
    Object.assign(this.state, changes);
    const hash = hashOf(this.state);
    if (visit && hash !== location.hash) history.pushState(null, "", hash);
    else history.replaceState(null, "", hash);
  }

  /** Search with the values of the form. A choice adds an entry to the history, typing does not. */
  typed(visit) {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => {
      const fields = this.form.elements;
      const query = Object.fromEntries(
        FIELDS.map((name) => [
          name,
          fields[name].type === "checkbox" ? (fields[name].checked ? "1" : "") : fields[name].value,
        ]),
      );
      this.go({ query, page: 0, row: null, follow: null, of: null }, visit);
      this.search();
    }, 150);
  }

  async search() {
    const mine = ++this.searched;
    const pattern = patternOf(this.state.query);
    const wrong = pattern instanceof Error;
    this.form.elements.text.setCustomValidity(wrong ? "not a regular expression" : "");
    if (wrong) {
      byId("summary").textContent = `Not a regular expression: ${pattern.message}`;
      return;
    }
    const found = await this.rollouts.find(this.state.query, pattern, () => mine === this.searched);
    if (!found) return;
    Object.assign(this, { found, pattern });
    this.summarise();
    this.show();
  }

  summarise() {
    const { numbers, count } = this.rollouts;
    const mean = (name) => {
      const values = this.found
        .map((row) => numbers[name][row])
        .filter((value) => !Number.isNaN(value));
      return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : NaN;
    };
    const parts = [`${number(this.found.length)} of ${number(count)} completions`];
    if (this.found.length) {
      if (Number.isFinite(mean("right"))) parts.push(`${number(mean("right") * 100)} % right`);
      parts.push(`mean length ${number(mean("length"))} tokens`);
      if (Number.isFinite(mean("reward"))) parts.push(`mean reward ${number(mean("reward"))}`);
    }
    byId("summary").textContent = parts.join(" · ");
  }

  /** Draw the current page of the list and the open completion. */
  show() {
    const pages = Math.max(1, Math.ceil(this.found.length / PER_PAGE));
    this.state.page = Math.min(this.state.page, pages - 1);
    const from = this.state.page * PER_PAGE;
    const rows = this.found.slice(from, from + PER_PAGE);
    byId("rows").replaceChildren(...rows.map((row) => make("li", {}, this.entry(row))));
    byId("rows").scrollTop = 0;
    byId("place").textContent = rows.length
      ? `${number(from + 1)}–${number(from + rows.length)} of ${number(this.found.length)}`
      : "none";
    byId("earlier").disabled = this.state.page === 0;
    byId("later").disabled = this.state.page >= pages - 1;
    this.mark();
    showDetail(this);
  }

  entry(row) {
    const button = make(
      "button",
      { type: "button", onclick: () => this.open(row) },
      facts(this.rollouts, row),
      make("span", { class: "snippet" }, this.snippet(row)),
    );
    button.dataset.row = row;
    return button;
  }

  /** The beginning of a completion, or the text around its first match. */
  snippet(row) {
    const text = this.rollouts.text("completion", row) ?? "";
    const [first] = matches(text, this.pattern);
    const from = first && first[0] > SNIPPET / 2 ? first[0] - SNIPPET / 4 : 0;
    const cut = text.slice(from, from + SNIPPET).replace(/\s+/g, " ");
    return shown(`${from ? "… " : ""}${cut}`, this.pattern);
  }

  open(row, visit = true) {
    this.go({ row, follow: null, of: null }, visit);
    const place = this.found.indexOf(row);
    const page = Math.floor(place / PER_PAGE);
    if (place >= 0 && page !== this.state.page) {
      this.go({ page }, false);
      this.show();
    } else {
      this.mark();
      showDetail(this);
    }
    if (!visit || !matchMedia(NARROW).matches) return;
    byId("detail").focus({ preventScroll: true });
    byId("detail").scrollIntoView();
  }

  follow(problem, run) {
    this.go({ follow: problem, of: run });
    showDetail(this);
    byId("summary").scrollIntoView();
  }

  close() {
    const { row } = this.state;
    this.go(this.state.follow === null ? { row: null } : { follow: null, of: null });
    this.mark();
    showDetail(this);
    byId("rows").querySelector(`[data-row="${row}"]`)?.focus();
  }

  mark() {
    for (const button of byId("rows").querySelectorAll("button")) {
      const current = Number(button.dataset.row) === this.state.row;
      button.setAttribute("aria-current", String(current));
      if (current) scrollWithin(byId("rows"), button);
    }
  }

  turn(by) {
    this.go({ page: this.state.page + by, row: null });
    this.show();
  }

  /** The next or previous completion of the list. */
  move(by) {
    const place =
      this.state.row === null
        ? by > 0
          ? -1
          : this.found.length
        : this.found.indexOf(this.state.row);
    const next = this.state.row === null && by > 0 ? this.state.page * PER_PAGE : place + by;
    if (next >= 0 && next < this.found.length) this.open(this.found[next], this.state.row === null);
  }

  pressed(event) {
    const writing = event.target.closest?.("input, select, textarea");
    if (writing || event.ctrlKey || event.metaKey || event.altKey || !onScreen(byId("rollouts")))
      return;
    const within = event.target.closest?.("#browser");
    const following = this.state.follow !== null;
    if (event.key === "Escape" && (following || this.state.row !== null)) this.close();
    else if (following) return;
    else if (event.key === "j" || (within && event.key === "ArrowDown")) this.move(1);
    else if (event.key === "k" || (within && event.key === "ArrowUp")) this.move(-1);
    else if (event.key === "f" && this.state.row !== null)
      this.follow(
        this.rollouts.text("problem_id", this.state.row),
        this.rollouts.run(this.state.row),
      );
    else return;
    event.preventDefault();
  }
}

function onScreen(element) {
  const { top, bottom } = element.getBoundingClientRect();
  return top < innerHeight * 0.75 && bottom > 0;
}

/** Scroll only a box until one of its elements is visible. */
function scrollWithin(box, element) {
  const [outer, inner] = [box.getBoundingClientRect(), element.getBoundingClientRect()];
  if (inner.top < outer.top) box.scrollTop += inner.top - outer.top;
  else if (inner.bottom > outer.bottom) box.scrollTop += inner.bottom - outer.bottom;
}
