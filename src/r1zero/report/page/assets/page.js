// Helpers of all parts of the page. Text from data is set as text only, never as markup.

// Hidden characters and those that reorder text, shown by their code points.
const UNSEEN = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;

const byId = (id) => document.getElementById(id);

/** Make an element; children are elements or texts. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false)
      element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Make an SVG element. */
function draw(tag, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

/** Untrusted text with marks for hidden characters and highlighted matches of a pattern. */
function shown(text, pattern = null) {
  const fragment = document.createDocumentFragment();
  let end = 0;
  for (const [from, to] of matches(text, pattern)) {
    fragment.append(
      ...visible(text.slice(end, from)),
      make("mark", {}, ...visible(text.slice(from, to))),
    );
    end = to;
  }
  fragment.append(...visible(text.slice(end)));
  return fragment;
}

const MOST_MATCHES = 2000;

function matches(text, pattern) {
  const found = [];
  if (!pattern) return found;
  pattern.lastIndex = 0;
  for (let match; found.length < MOST_MATCHES && (match = pattern.exec(text));) {
    if (match[0]) found.push([match.index, pattern.lastIndex]);
    else pattern.lastIndex += 1;
  }
  return found;
}

function visible(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(UNSEEN)) {
    const code = match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    parts.push(text.slice(end, match.index), make("span", { class: "unseen" }, `U+${code}`));
    end = match.index + match[0].length;
  }
  return [...parts, text.slice(end)];
}

/** Up to four significant digits, or all digits of an integer. */
function number(value) {
  if (!Number.isFinite(value)) return "–";
  const text = Number.isInteger(value)
    ? value.toLocaleString("en")
    : String(Number(value.toPrecision(4)));
  return text.replace("-", "−");
}

const dark = () => document.documentElement.dataset.theme === "dark";

/** Follow the system's theme until the reader chooses; call `changed` whenever it changes. */
function watchTheme(changed) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = byId("theme");
  let chosen = null;
  const set = () => {
    document.documentElement.dataset.theme = (chosen ?? system.matches) ? "dark" : "light";
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Use ${dark() ? "light" : "dark"} colours`);
  };
  set();
  button.hidden = false;
  button.addEventListener("click", () => {
    chosen = !dark();
    set();
    changed();
  });
  system.addEventListener("change", () => {
    set();
    changed();
  });
}
