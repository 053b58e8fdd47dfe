watchTheme(drawCharts);
startCharts();

/** Unpack the completions when the reader scrolls near them. */
let browser = null;

async function openBrowser() {
  if (browser) return;
  byId("summary").textContent = "Unpacking …";
  browser = Rollouts.load().then((rollouts) => {
    const list = new List(rollouts);
    addEventListener("popstate", () => location.hash.startsWith(PREFIX) && list.restore());
    return list.restore();
  });
  await browser;
}

new IntersectionObserver(
  (entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    openBrowser();
  },
  { rootMargin: "600px" },
).observe(byId("rollouts"));

if (location.hash.startsWith(`${PREFIX}?`)) {
  openBrowser().then(() => byId("summary").scrollIntoView({ behavior: "instant" }));
}
