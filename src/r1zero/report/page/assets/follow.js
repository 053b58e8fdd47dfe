// A problem followed through training: its reward as a curve, its completions side by side.

const CARD = 1500; // Characters of a completion that are shown beside others.
const CURVE = { width: 640, height: 190, left: 34, right: 12, top: 22, bottom: 34 };

/** A problem through the steps of a run: its reward as a curve, its completions side by side. */
function followed(list, problem, run) {
  const { rollouts } = list;
  const rows = rollouts.through(run, problem);
  const head = make(
    "div",
    { class: "head" },
    make("h3", {}, ...visible(`Problem ${problem}`)),
    make("div", {}, runChoice(list, problem, run), " ", closing(list)),
  );
  if (!rows.length) return [head, make("p", {}, "No completion of it is here.")];
  const steps = new Map();
  for (const row of rows) {
    const name = `${rollouts.value("step", row)} ${rollouts.value("source", row)} ${rollouts.value("draw", row)}`;
    steps.set(name, [...(steps.get(name) ?? []), row]);
  }
  const prompt = rollouts.prompt(rows[0]);
  return [
    head,
    promptBox(prompt),
    curve(rollouts, [...steps.values()]),
    make(
      "div",
      { class: "steps", role: "region", tabindex: 0, "aria-label": "Completions by step" },
      ...[...steps.values()].map((members) => stepColumn(list, members)),
    ),
  ].filter((element) => element !== null);
}

function runChoice(list, problem, run) {
  const { rollouts } = list;
  const place = rollouts.texts.indexOf(problem);
  const having = rollouts.runs
    .map((name, index) => [name, index])
    .filter(([, index]) => rollouts.problems.has(`${index} ${place}`));
  const choice = make(
    "select",
    { "aria-label": "Run", onchange: () => list.follow(problem, Number(choice.value)) },
    ...having.map(([name, index]) =>
      make("option", { value: index, selected: index === run }, ...visible(name)),
    ),
  );
  return choice;
}

function stepColumn(list, rows) {
  const { rollouts } = list;
  const right = rows.map((row) => rollouts.value("right", row)).filter((value) => value !== null);
  const share = right.length ? `: ${right.filter(Boolean).length} of ${right.length} right` : "";
  const cards = rows.map((row) => {
    const open = make("button", { type: "button", onclick: () => list.open(row) }, "Open");
    return make(
      "article",
      {},
      make("div", { class: "head" }, facts(rollouts, row, { where: false }), open),
      completion(rollouts.text("completion", row) ?? "", list.pattern, CARD),
    );
  });
  return make(
    "section",
    {},
    make(
      "h4",
      {},
      ...visible(
        `Step ${number(rollouts.value("step", rows[0]))}, ${sourceName(rollouts, rows[0])}${share}`,
      ),
    ),
    ...cards,
  );
}

/** Reward of each completion by step, and its mean. Evaluations have no reward; right counts as 1. */
function curve(rollouts, groups) {
  const value = (row) => rollouts.value("reward", row) ?? rollouts.value("right", row);
  const points = groups
    .map((rows) => rows.filter((row) => value(row) !== null))
    .filter((rows) => rows.length);
  const all = points.flat();
  if (!all.length) return null;
  const steps = all.map((row) => rollouts.value("step", row));
  const [first, last] = [Math.min(...steps), Math.max(...steps)];
  const [low, high] = [Math.min(0, ...all.map(value)), Math.max(1, ...all.map(value))];
  // The drawing is as wide as it is shown, so that its letters have the size of the text around it.
  const width = Math.min(CURVE.width, byId("rollouts").clientWidth);
  const x = (step) =>
    CURVE.left + ((step - first) / (last - first || 1)) * (width - CURVE.left - CURVE.right);
  const y = (level) =>
    CURVE.height -
    CURVE.bottom -
    ((level - low) / (high - low)) * (CURVE.height - CURVE.top - CURVE.bottom);
  const evaluated = rollouts.suite(all[0]) !== null;
  const title = evaluated ? "Right (1) or wrong (0)" : "Reward";
  const chart = draw("svg", {
    class: "curve",
    viewBox: `0 0 ${width} ${CURVE.height}`,
    width,
    role: "img",
    "aria-label": `${title} of this problem by step`,
  });
  chart.append(
    draw("text", { x: CURVE.left, y: 12 }, `${title}: each completion, and the mean of each step`),
  );
  for (const level of [low, (low + high) / 2, high]) {
    chart.append(
      draw("line", {
        class: "axis",
        x1: CURVE.left,
        x2: width - CURVE.right,
        y1: y(level),
        y2: y(level),
      }),
    );
    chart.append(
      draw("text", { x: CURVE.left - 8, y: y(level) + 4, "text-anchor": "end" }, number(level)),
    );
  }
  for (const step of new Set([first, ...spread(steps, 6), last])) {
    chart.append(
      draw("text", { x: x(step), y: CURVE.height - 16, "text-anchor": "middle" }, number(step)),
    );
  }
  chart.append(
    draw(
      "text",
      { x: width - CURVE.right, y: CURVE.height - 2, "text-anchor": "end" },
      "optimizer step",
    ),
  );
  const means = points.map((rows) => [
    rollouts.value("step", rows[0]),
    rows.reduce((sum, row) => sum + value(row), 0) / rows.length,
  ]);
  chart.append(
    draw("polyline", {
      class: "mean",
      points: means.map(([step, mean]) => `${x(step)},${y(mean)}`).join(" "),
    }),
  );
  for (const row of all)
    chart.append(
      draw("circle", { class: "dot", cx: x(rollouts.value("step", row)), cy: y(value(row)), r: 3 }),
    );
  for (const [step, mean] of means)
    chart.append(draw("circle", { class: "dot", cx: x(step), cy: y(mean), r: 4.5 }));
  return chart;
}

/** At most this many of the distinct values, evenly spaced. */
function spread(values, most) {
  const distinct = [...new Set(values)];
  const stride = Math.ceil(distinct.length / most);
  return distinct.filter((_, place) => place % stride === 0);
}
