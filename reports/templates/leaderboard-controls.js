"use strict";
/* The switches, the saved table, and how the page starts. */

function options(id, entries, name) {
  const select = element(id);
  select.replaceChildren(...entries.map(([value, text]) => h("option", { value }, text)));
  for (const node of select.options) if (!node.hasAttribute("value")) node.value = "";
  select.addEventListener("change", () => {
    state[name] = select.value;
    if (name === "columns") state.sort = "overall";
    if (name === "metric") { state.down = measure().better === "lower" ? "" : "1"; }
    draw();
  });
}

function ticks(id, name) {
  element(id).addEventListener("change", (event) => { state[name] = event.target.checked ? "1" : "0"; draw(); });
}

const CONTROLS = [["metric", "metric"], ["policy", "policy"], ["space", "space"], ["view", "view"],
  ["coverage", "coverage"], ["statistic", "statistic"], ["columns", "columns"], ["f-region", "region"], ["f-modality", "modality"],
  ["f-dataset", "dataset"], ["f-lesion", "lesion"], ["f-class", "klass"]];

function fillControls() {
  for (const [id, name] of CONTROLS) element(id).value = state[name];
  element("switches").open = state.open === "1";
  element("facts").checked = state.facts === "1";
  element("small").checked = state.small === "1";
  element("published").checked = publishedShown();
  element("controls-shown").checked = state.controls === "1";
  element("unranked").checked = state.unranked === "1";
}

// As `evaluation.files.spreadsheets.cell`: no text becomes a formula, numbers stay numbers.
function csvCell(value) {
  const text = String(value ?? "").replace(/[\u0000-\u0009\u000b-\u001f\u007f]/g, " ");
  const number = /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(text);
  const safe = !number && /^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]/.test(text) ? `'${text}` : text;
  return `"${safe.replaceAll('"', '""')}"`;
}

function saveCsv() {
  const { rows, columns, facts } = lastBoard;
  const head = ["rank", "model", "kind", ...columns.flatMap((c) => [c.title, "low", "high", "n", "classes", "expected"]), ...facts.map((f) => f[1])];
  const lines = rows.map((row) => [row.rank ?? "", row.model.title, row.kind,
    ...columns.flatMap((c) => { const r = row.cells.get(c.name) ?? {}; return [r.value?.toFixed(4), r.low, r.high, r.scans, r.classes, r.expected]; }),
    ...facts.map(([, , words]) => (isModel(row) ? words(row.model) : ""))]);
  const text = [[`# ${element("state").textContent}`], head, ...lines].map((line) => line.map(csvCell).join(",")).join("\n");
  const link = h("a", { href: URL.createObjectURL(new Blob([text + "\n"], { type: "text/csv" })), download: `${D.meta.run}-board.csv` });
  link.click();
  URL.revokeObjectURL(link.href);
}

function draw() {
  const page = pageShown();
  element("board-view").hidden = page !== null;
  element("page").hidden = page === null;
  if (page) drawPage(page);
  else drawBoard();
  writeAddress();
  refreshLinks();
  hintScrolling();
}

async function start() {
  await unpackNumbers();
  const used = (name) => unique(D.settings.map((s) => s[name]));
  const named = (name) => used(name).map((value) => [value, D.words[name][value] ?? value]);
  DEFAULTS.space = D.settings[0].space;
  DEFAULTS.policy = D.settings[0].policy;
  DEFAULTS.down = MEASURES.get(D.lead).better === "lower" ? "" : "1";
  readAddress();
  options("metric", D.measures.map((m) => [m.id, m.unit && m.unit !== "%" ? `${m.title} (${m.unit})` : m.title]), "metric");
  for (const name of ["policy", "space", "view", "coverage"]) options(name, named(name), name);
  options("statistic", Object.entries(D.words.statistic).filter(([id]) => keyIndex.has(`overall:${id}`)), "statistic");
  options("columns", [["region", "regions"], ["modality", "modalities"], ["dataset", "datasets"], ["lesion", "lesions"],
    ...(D.aspects.length ? [["aspect", "aspects"]] : []), ["class", "classes"],
    ["merged", "classes, modalities merged"], ["none", "overall only"]], "columns");
  options("f-region", [["", "all"], ...D.regions.map((r) => [r.id, r.title])], "region");
  options("f-modality", [["", "all"], ...Object.entries(MODALITIES)], "modality");
  options("f-dataset", [["", "all"], ...D.datasets.map((d) => [d.id, d.title])], "dataset");
  options("f-lesion", [["", "with organs"], ["only", "only lesions"], ["none", "without lesions"]], "lesion");
  element("published-shown").hidden = !D.published.length;
  element("f-class").addEventListener("input", (event) => { state.klass = event.target.value; draw(); });
  for (const [id, name] of [["facts", "facts"], ["small", "small"], ["published", "published"], ["controls-shown", "controls"], ["unranked", "unranked"]]) ticks(id, name);
  element("reset").addEventListener("click", () => { Object.assign(state, DEFAULTS, { open: state.open }); fillControls(); draw(); });
  element("csv").addEventListener("click", saveCsv);
  element("controls").addEventListener("submit", (event) => event.preventDefault());
  element("notes").replaceChildren(...D.meta.notes.map((note) => h("li", {}, note)));
  if (D.meta.notRun.length) {
    element("not-run").replaceChildren(h("h2", {}, `Not run: ${D.meta.notRun.length} of ${D.meta.entries} entries`),
      h("ul", {}, ...D.meta.notRun.map(([title, reason]) => h("li", {}, `${title}: ${reason}`))));
  }
  element("switches").addEventListener("toggle", () => {
    state.open = element("switches").open ? "1" : "";
    writeAddress();
    refreshLinks();
  });
  listPages();
  fillControls();
  draw();
  // A link to a page, the browser's way back, or an address typed by hand.
  window.addEventListener("hashchange", () => {
    const before = state.page;
    readAddress();
    fillControls();
    draw();
    if (state.page !== before) (pageShown() ? element("page").querySelector("h2") : element("board")).focus();
  });
}
start().catch((error) => {
  const old = typeof DecompressionStream === "undefined";
  element("board").replaceChildren(h("p", { class: "warning" }, old
    ? "This browser cannot unpack the board's numbers (it knows no DecompressionStream). The tables of the report hold them too."
    : `The board cannot be shown: ${error}`));
});
