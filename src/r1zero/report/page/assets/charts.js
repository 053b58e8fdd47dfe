// The figures: Vega-Lite drawn in the page's theme and width, with the page's own legend and tooltip.

const MARGIN = 90; // Axis, labels and padding beside a panel, in pixels.
const WIDE = 560; // Pixels from which panels have the width they were made with.
const CHARACTER = 6.2; // Mean width of a character of a title, in pixels.
const MOST_SVG = 3000; // Values above which a canvas is faster.

let picked = null;
const plots = [];

function startCharts() {
  const { picked: signal, figures } = JSON.parse(byId("figure-data").textContent);
  for (const place of document.querySelectorAll(".plot")) {
    const figure = figures[place.dataset.figure];
    const plot = {
      place,
      signal,
      ...figure,
      legend: place.closest("figure").querySelector(".legend"),
    };
    plots.push(plot);
    listSeries(plot);
  }
  drawCharts();
  let width = innerWidth;
  addEventListener("resize", () => {
    if (Math.abs(innerWidth - width) < 40) return;
    width = innerWidth;
    drawCharts();
  });
}

let drawing = 0;

async function drawCharts() {
  const mine = ++drawing;
  for (const plot of plots) {
    if (mine !== drawing) return;
    await drawChart(plot);
  }
}

async function drawChart(plot) {
  const width = plot.place.parentElement.clientWidth;
  const spec = fitted(themed(plot.spec), width);
  const many = JSON.stringify(plot.spec).split("},{").length > MOST_SVG;
  plot.view?.finalize();
  const options = {
    ast: true,
    actions: false,
    defaultStyle: false,
    mode: "vega-lite",
    tooltip,
    renderer: many ? "canvas" : "svg",
  };
  const { view } = await vegaEmbed(plot.place, spec, options);
  plot.view = view;
  for (const swatch of plot.legend.querySelectorAll("rect")) {
    swatch.setAttribute("fill", color(swatch.dataset.color));
  }
  if (plot.series.some(([name]) => name === picked))
    await view.signal(plot.signal, picked).runAsync();
}

/** Buttons for the series of a chart. The picked series is highlighted in all charts. */
function listSeries(plot) {
  if (plot.series.length < 2) return;
  plot.legend.hidden = false;
  if (plot.title) plot.legend.append(make("span", {}, plot.title));
  for (const [name, fill] of plot.series) {
    const swatch = draw("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" });
    const square = draw("rect", { width: 12, height: 12, rx: 2 });
    square.dataset.color = fill;
    swatch.append(square);
    const button = make(
      "button",
      { type: "button", "aria-pressed": "false", onclick: () => pick(name) },
      swatch,
      name,
    );
    button.dataset.series = name;
    plot.legend.append(button);
  }
}

function pick(name) {
  picked = picked === name ? null : name;
  for (const plot of plots) {
    const has = plot.series.some(([series]) => series === picked);
    plot.legend.classList.toggle("picking", has);
    for (const button of plot.legend.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(has && button.dataset.series === picked));
    }
    plot.view?.signal(plot.signal, has ? picked : null).runAsync();
  }
}

/** Change the colours of a chart that was drawn for white paper to those of the page. */
function themed(spec) {
  const light = { ...spec, background: "transparent" };
  if (!dark()) return light;
  const config = { ...light.config, text: { color: "#000", ...light.config?.text } };
  for (const [name, keys] of [
    ["axis", ["labelColor", "titleColor"]],
    ["legend", ["labelColor", "titleColor", "symbolBaseFillColor", "symbolBaseStrokeColor"]],
    ["title", ["color", "subtitleColor"]],
    ["header", ["labelColor", "titleColor"]],
  ]) {
    config[name] = { ...Object.fromEntries(keys.map((key) => [key, "#222"])), ...config[name] };
  }
  return recoloured({ ...light, config });
}

function recoloured(value, key = "") {
  if (key === "values" || key === "datasets") return value;
  if (typeof value === "string")
    return /^#[0-9a-f]{3}([0-9a-f]{3})?$|^(white|black)$/i.test(value) ? color(value) : value;
  if (Array.isArray(value)) return value.map((item) => recoloured(item));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, recoloured(item, name)]),
  );
}

/** A colour for the theme: in the dark theme greys are inverted and strong colours get lighter. */
function color(value) {
  if (!dark()) return value;
  const name = { white: "#ffffff", black: "#000000" }[value.toLowerCase()] ?? value;
  const hex = name.length === 4 ? name.replace(/[0-9a-f]/gi, "$&$&") : name;
  let channels = [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));
  const spread = Math.max(...channels) - Math.min(...channels);
  if (spread < 12) channels = channels.map((level) => 232 - level * 0.82);
  while (spread >= 12 && luminance(channels) < 0.2)
    channels = channels.map((level) => level + (255 - level) * 0.12);
  return `#${channels.map((level) => Math.round(level).toString(16).padStart(2, "0")).join("")}`;
}

/** Relative luminance, WCAG 2.2. */
function luminance(channels) {
  const [red, green, blue] = channels.map((level) => {
    const share = level / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** Lay out a chart for a width: panels move below each other if they do not fit side by side. */
function fitted(spec, width) {
  const fit = { ...spec };
  if (fit.title) fit.title = wrapped(fit.title, width);
  if (typeof fit.width === "number") fit.width = panelWidth(fit.width, width);
  if (fit.hconcat && across(fit) > width) {
    fit.vconcat = fit.hconcat;
    delete fit.hconcat;
  }
  if (fit.concat) {
    const panel = Math.max(...fit.concat.map(across));
    const columns = Math.max(1, Math.floor((width - 20) / panel));
    fit.columns = Math.min(fit.columns ?? fit.concat.length, columns);
    if (fit.columns > 1) return { ...fit, concat: fit.concat.map((part) => fitted(part, WIDE)) };
  }
  for (const key of ["hconcat", "vconcat", "concat", "layer"]) {
    if (fit[key]) fit[key] = fit[key].map((part) => fitted(part, width));
  }
  return fit;
}

/** A panel keeps its width, except on a phone, whose width it takes. */
function panelWidth(made, width) {
  const most = Math.max(180, width - MARGIN);
  return width < WIDE ? most : Math.min(made, most);
}

/** Approximate width of a chart in pixels. */
function across(spec) {
  if (spec.hconcat) return spec.hconcat.reduce((sum, part) => sum + across(part), 0);
  if (spec.vconcat || spec.concat) return Math.max(...(spec.vconcat ?? spec.concat).map(across));
  return (spec.width ?? 300) + 60;
}

function wrapped(title, width) {
  if (typeof title === "string" || Array.isArray(title)) return lines(title, width);
  const change = { ...title, text: lines(title.text, width) };
  if (title.subtitle) change.subtitle = lines(title.subtitle, width);
  return change;
}

function lines(text, width) {
  const most = Math.max(20, Math.floor((width - 30) / CHARACTER));
  const found = [];
  for (const paragraph of [text].flat()) {
    let line = "";
    for (const word of paragraph.split(" ")) {
      if (line && line.length + word.length >= most) {
        found.push(line);
        line = "";
      }
      line = line ? `${line} ${word}` : word;
    }
    found.push(line);
  }
  return found;
}

/** Show the values of a mark at the pointer. */
function tooltip(handler, event, item, value) {
  const box = byId("tooltip");
  box.hidden = value === null || value === undefined || value === "";
  if (box.hidden) return;
  const rows = typeof value === "object" ? Object.entries(value) : [["", value]];
  const cells = rows.flatMap(([name, text]) => [
    make("span", {}, ...visible(String(name))),
    make("b", {}, ...visible(text !== "" && isFinite(text) ? number(Number(text)) : String(text))),
  ]);
  box.replaceChildren(make("div", {}, ...cells));
  const left = Math.min(
    event.pageX + 14,
    scrollX + document.documentElement.clientWidth - box.offsetWidth - 8,
  );
  box.style.left = `${Math.max(8, left)}px`;
  box.style.top = `${event.pageY + 16}px`;
}
