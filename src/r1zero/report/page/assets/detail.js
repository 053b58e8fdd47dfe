// One completion with its group.

const AT_FIRST = 20000; // Characters of a completion that are shown before the reader asks for all.

/** Run, source, step, problem, verdict, reward and length of a completion in one line. */
function facts(rollouts, row, { where = true } = {}) {
  const line = make("span", { class: "facts" });
  const add = (text, name = null) => line.append(make("span", { class: name }, ...visible(text)));
  if (where) {
    add(rollouts.runs[rollouts.run(row)]);
    add(sourceName(rollouts, row));
    add(`step ${number(rollouts.value("step", row))}`);
  }
  const right = rollouts.value("right", row);
  if (right !== null) add(right ? "right" : "wrong", right ? "right" : "wrong");
  const reward = rollouts.value("reward", row);
  if (reward !== null) add(`reward ${number(reward)}`);
  if (rollouts.text("decoding", row) === "greedy") add("greedy");
  add(`${number(rollouts.value("length", row) ?? NaN)} tokens`, "end");
  return line;
}

function sourceName(rollouts, row) {
  return rollouts.suite(row) ?? "training";
}

function showDetail(list) {
  const { row, follow, of } = list.state;
  const browser = byId("browser");
  const known = row !== null && row < list.rollouts.count;
  browser.classList.toggle("following", follow !== null);
  browser.classList.toggle("reading", known);
  const content =
    follow !== null
      ? followed(list, follow, of)
      : known
        ? detail(list, row)
        : [
            make(
              "p",
              { class: "keys" },
              list.found.length ? "Choose a completion." : "Nothing matches.",
            ),
          ];
  byId("detail").replaceChildren(...content);
}

function detail(list, row) {
  const { rollouts } = list;
  const problem = rollouts.text("problem_id", row);
  const prompt = rollouts.prompt(row);
  const mates = rollouts.mates(row).filter((mate) => mate !== row);
  const head = make(
    "div",
    { class: "head" },
    make(
      "h3",
      {},
      ...visible(
        `${rollouts.runs[rollouts.run(row)]}, ${sourceName(rollouts, row)}, step ${number(rollouts.value("step", row))}`,
      ),
    ),
    make(
      "div",
      {},
      button("Follow this problem", () => list.follow(problem, rollouts.run(row))),
      " ",
      closing(list),
    ),
  );
  return [
    head,
    values(rollouts, row),
    promptBox(prompt),
    make("h3", {}, "Completion"),
    completion(rollouts.text("completion", row) ?? "", list.pattern, AT_FIRST),
    ...(mates.length
      ? [
          make(
            "h3",
            {},
            rollouts.suite(row) === null
              ? `Rest of its group (${mates.length})`
              : `Other completions of it at this step (${mates.length})`,
          ),
          mateList(list, mates),
        ]
      : []),
  ].filter((element) => element !== null);
}

/** The prompt, collapsed if it is long; null if it is unknown. */
function promptBox(prompt) {
  if (prompt === null) return null;
  return make(
    "details",
    { open: prompt.length < 600 },
    make("summary", {}, "Prompt"),
    make("pre", {}, shown(prompt)),
  );
}

function button(text, onclick, id = null) {
  return make("button", { type: "button", onclick, id }, text);
}

function closing(list) {
  return button("Back to the list", () => list.close(), "close");
}

function values(rollouts, row) {
  const rows = [["Problem", rollouts.text("problem_id", row)]];
  const add = (name, column, show = number) => {
    const value = rollouts.value(column, row);
    if (value !== null) rows.push([name, show(value)]);
  };
  const answer = (value) => (value ? "yes" : "no");
  add("Right", "right", answer);
  add("Right, leniently", "lenient", answer);
  add("In the format", "format", answer);
  for (const term of rollouts.terms) add(`Reward: ${term.slice("rewards/".length)}`, term);
  add("Reward", "reward");
  add("Advantage", "advantage");
  add("In the loss", "in_loss", answer);
  add("Length (tokens)", "length");
  add("Cut at the limit", "truncated", answer);
  if (rollouts.value("draw", row)) add("Draw", "draw");
  for (const [name, column] of [
    ["Decoding", "decoding"],
    ["Answer found", "extracted"],
    ["Why", "reason"],
  ]) {
    const text = rollouts.text(column, row);
    if (text) rows.push([name, text]);
  }
  return make(
    "dl",
    { class: "values" },
    ...rows.map(([name, value]) =>
      make("div", {}, make("dt", {}, ...visible(name)), make("dd", {}, ...visible(value ?? "–"))),
    ),
  );
}

/** A completion. A long one is shown in part, but always with the first match. */
function completion(text, pattern, atFirst) {
  const box = make("pre", { tabindex: 0, "aria-label": "Completion" });
  const [first] = matches(text, pattern);
  const end = Math.max(atFirst, first ? first[1] + atFirst / 10 : 0);
  box.append(shown(text.slice(0, end), pattern));
  if (text.length > end) {
    box.append(
      " … ",
      button(`Show all ${number(text.length)} characters`, () =>
        box.replaceChildren(shown(text, pattern)),
      ),
    );
  }
  if (!text) box.append(make("span", { class: "facts" }, "(empty)"));
  return box;
}

function mateList(list, mates) {
  const entries = mates.map((mate) =>
    make(
      "li",
      {},
      button(null, () => list.open(mate)),
    ),
  );
  entries.forEach((entry, place) =>
    entry.firstChild.replaceChildren(
      facts(list.rollouts, mates[place], { where: false }),
      make("span", { class: "snippet" }, list.snippet(mates[place])),
    ),
  );
  return make("ol", { class: "mates" }, ...entries);
}
