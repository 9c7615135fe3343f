"use strict";
/* Draws the board from the state, and the state from the switches and the address. */

const element = (id) => document.getElementById(id);

/* A DOM element; text is always set as text, never parsed as markup. */
function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== "") node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const number = (value) => (value === null || value === undefined ? "–" : value.toFixed(measure().digits));
/* None below three patients: resampling so few gives a width that means nothing. */
const tooSmall = (r) => (r && r.patients !== null && r.patients < D.meta.minPatients ? D.meta.tooSmall : "");
/* A dash between numbers that may be negative would mislead. */
const between = (low, high) => `${number(low)}${measure().low === null ? " to " : "–"}${number(high)}`;
const interval = (r) => [r && r.low !== null && r.low !== undefined && !(r.patients < 3) ? between(r.low, r.high) : "",
  tooSmall(r)].filter((part) => part).join(" ");

const FACTS = [
  ["parameters", "Parameters", (m) => (m.preset ? `preset ${m.preset}: ` : "") + (m.parameters ? millions(m.parameters) : m.preset ? "not recorded" : "–")
    + (m.networks > 1 ? ` in ${m.networks} networks` : "")],
  ["trained", "Trained on", (m) => m.trained || "nothing"],
  ["linked", "Test scans linked to its training", (m) => m.linked],
  ["tta", "Test-time augmentation", (m) => m.tta],
  ["trainHours", "Training", (m) => (m.trainHours == null ? "not measured" : hours(m.trainHours))],
  ["seconds", "Prediction", (m) => (m.seconds == null ? "not measured" : `${m.seconds.toPrecision(2)} s a scan`)],
  ["memory", "Peak memory", (m) => (m.memory == null ? "not measured" : `${(m.memory / 1024).toFixed(1)} GiB`)],
  ["licence", "Licence", (m) => m.licence],
  ["record", "Run record", (m) => m.record],
];
const millions = (n) => (n >= 1e7 ? `${Math.round(n / 1e6).toLocaleString("en")} M` : `${Number((n / 1e6).toPrecision(2))} M`);
const hours = (t) => (t < 1 ? `${(t * 60).toPrecision(2)} min` : `${t.toPrecision(3)} h`) + " in all";

function sortButton(name, title, className = "") {
  const current = state.sort === name;
  const attributes = { scope: "col", class: className };
  if (current) attributes["aria-sort"] = state.down === "1" ? "descending" : "ascending";
  return h("th", attributes, h("button", { type: "button", "data-sort": name, onclick: () => {
    // First the best: the highest, or the lowest where lower is better.
    const best = measure().better === "lower" && !name.startsWith("fact:") && name !== "model" ? "" : "1";
    state.down = current ? (state.down === "1" ? "" : "1") : best;
    state.sort = name;
    draw();
    document.querySelector(`[data-sort="${CSS.escape(name)}"]`)?.focus();
  } }, title));
}

function scoreCell(row, column, setting) {
  const cell = row.cells.get(column.name);
  if (!cell || cell.value === null || cell.value === undefined) {
    const why = row.kind === "published" ? "–" : column.slots.length ? "no score" : "not run";
    return h("td", {}, h("small", {}, why));
  }
  const value = number(cell.value);
  if (row.kind === "published") return h("td", {}, h("span", { class: "value" }, value));
  const isBest = row.rank && column.best !== null && value === column.best;
  const flags = contamination(row, column);
  const sizes = [`n ${cell.scans.toLocaleString("en")}${cell.scores ? " scores" : ""}`];
  if (cell.expected > 1 || cell.classes !== cell.expected) sizes.push(`${cell.classes}/${cell.expected} classes`);
  if (cell.missing) sizes.push(`${cell.missing} missing`);
  const label = `${row.model.title}, ${column.title}: ${measure().title} ${value}. Show its classes and cases.`;
  return h("td", { class: isBest ? "best" : "" },
    h("button", { type: "button", class: "cell", "aria-label": label,
      onclick: (event) => openDetail(row.m, column, setting, event.currentTarget) },
    h("span", { class: "value" }, value), flags ? h("sup", { title: flags.title }, flags.sign) : ""),
    h("small", {}, interval(cell) || " "), ...sizes.map((size) => h("small", {}, size)));
}

/* "T": trained on the training split of that entry; "!": the audit links test scans to it. */
function contamination(row, column) {
  const known = row.model.contamination ?? {};
  const states = unique(column.slots.map((s) => known[D.slots[s][0]]).filter(Boolean));
  if (states.some((t) => t.startsWith("linked"))) {
    return { sign: " !", title: states.filter((t) => t.startsWith("linked")).join("; ") };
  }
  return column.level === "dataset" && states.length ? { sign: " T", title: states.join("; ") } : null;
}

function modelHead(row) {
  const badges = [];
  if (row.kind === "published") badges.push(h("span", { class: "badge" }, "published"));
  if (row.kind === "control") badges.push(h("span", { class: "badge" }, "control"));
  const overall = row.cells.get("overall");
  if (row.kind === "entrant" && !row.whole) {
    badges.push(h("span", { class: "badge warn" }, overall?.value == null ? "no score" : "incomplete"));
  }
  return h("th", { class: "model", scope: "row", title: row.model.citation ?? "" }, row.model.title, " ", ...badges);
}

let lastBoard = null;

function draw() {
  let columns = columnsShown();
  const tooMany = columns.length > MOST_COLUMNS;
  if (tooMany) columns = columns.slice(0, MOST_COLUMNS);
  const { rows, overall, setting } = boardRows(columns);
  const facts = state.facts === "1" ? FACTS : [];
  lastBoard = { rows, columns: [overall, ...columns], facts };
  const head = h("tr", {},
    h("th", { scope: "col" }, "Rank"), sortButton("model", "Model", "model"),
    sortButton("overall", overall.level === "overall" ? "Overall" : "This choice"),
    h("th", { scope: "col" }, "Complete"),
    ...columns.map((c) => sortButton(c.name, c.title)),
    ...facts.map(([name, title]) => sortButton(`fact:${name}`, title, "text")));
  const body = rows.map((row) => {
    const cell = row.cells.get("overall");
    const incomplete = row.kind === "entrant" && !row.whole;
    const rank = row.rank
      ? [h("span", { class: "rank" }, `${row.rank}`), h("small", {}, [row.rankInterval ? `${row.rankInterval.low}–${row.rankInterval.high}` : "", tooSmall(row.cells.get("overall"))].filter((part) => part).join(" "))]
      : [h("span", { class: "rank" }, "–")];
    return h("tr", { class: `${row.kind}${incomplete ? " incomplete" : ""}` },
      h("td", {}, ...rank), modelHead(row), scoreCell(row, overall, setting),
      completeness(row, cell),
      ...columns.map((c) => scoreCell(row, c, setting)),
      ...facts.map(([, , words]) => h("td", { class: "text" }, row.kind === "published" ? "" : words(row.model) ?? "–")));
  });
  const caption = h("caption", { class: "visually-hidden" }, `Models by ${measure().title}`);
  element("board").replaceChildren(h("table", { "aria-describedby": "state" }, caption, h("thead", {}, head), h("tbody", {}, ...body)));
  describe(setting, columns, tooMany);
  const changed = Object.entries(state).filter(([name, value]) => value !== DEFAULTS[name]);
  history.replaceState(null, "", changed.length ? "#" + new URLSearchParams(changed) : location.pathname + location.search);
}

function completeness(row, cell) {
  if (row.kind === "published" || !cell || !cell.expected) return h("td", {}, "–");
  const share = Math.round((100 * cell.classes) / cell.expected);
  return h("td", {}, h("span", { class: "meter", title: `${share} %` }, h("i", { style: `width:${share}%` })),
    h("small", {}, `${cell.classes} of ${cell.expected} class slots`));
}

function describe(setting, columns, tooMany) {
  const s = D.settings[setting];
  const filters = activeFilters().map((f) => `${f === "klass" ? "class" : f} “${f === "dataset" ? D.datasets.find((d) => d.id === state.dataset)?.title : state[f]}”`);
  const exact = ["policy", "space", "view", "coverage"].every((n) => s[n] === state[n]);
  const { title, unit, better } = measure();
  const direction = { higher: "higher is better", lower: "lower is better" }[better] ?? "without a direction: not ranked";
  element("state").textContent = `${title}${unit === "%" ? " in percent" : unit ? ` in ${unit}` : ""}, ${direction} · `
    + ["space", "policy", "view", "coverage"].map((n) => D.words[n][s[n]]).join(" · ")
    + ` · overall: mean over ${D.words.statistic[state.statistic]}`
    + (filters.length ? ` · filter: ${filters.join(", ")} (${selected().length} of ${D.slots.length} class slots; intervals only where precomputed)` : "")
    + (exact ? "" : " · this combination was not computed, the nearest is shown")
    + (tooMany ? ` · first ${MOST_COLUMNS} columns: narrow the filter to see others` : "");
  const notes = ["Small print in a cell: 95 % interval over patients; scans in the mean; classes scored of those expected."];
  notes.push("Underlined: best ranked entrant. T: trained on the training split of that dataset. !: test scans linked to its training scans.");
  if (publishedShown()) notes.push(inTheirProtocol() ? "Published rows are in their document's protocol, as ours are here; they are not ranked."
    : `Published rows are in their document's protocol (${D.publishedProtocol.words}), not the one chosen here; they are not ranked.`);
  element("legend").textContent = notes.join(" ");
}

function options(id, entries, name) {
  const select = element(id);
  select.replaceChildren(...entries.map(([value, text]) => h("option", { value }, text)));
  for (const node of select.options) if (!node.hasAttribute("value")) node.value = "";
  select.addEventListener("change", () => {
    state[name] = select.value;
    if (name === "columns") state.sort = "overall";
    if (name === "metric") { state.down = measure().better === "lower" ? "" : "1"; closeDetail(); }
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
  element("facts").checked = state.facts === "1";
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
    ...columns.flatMap((c) => { const r = row.cells.get(c.name) ?? {}; return [r.value?.toFixed(4), r.low, r.high, r.n, r.classes, r.expected]; }),
    ...facts.map(([, , words]) => (row.kind === "published" ? "" : words(row.model)))]);
  const text = [[`# ${element("state").textContent}`], head, ...lines].map((line) => line.map(csvCell).join(",")).join("\n");
  const link = h("a", { href: URL.createObjectURL(new Blob([text + "\n"], { type: "text/csv" })), download: `${D.meta.run}-board.csv` });
  link.click();
  URL.revokeObjectURL(link.href);
}

async function start() {
  await unpackNumbers();
  const used = (name) => unique(D.settings.map((s) => s[name]));
  const named = (name) => used(name).map((value) => [value, D.words[name][value] ?? value]);
  DEFAULTS.space = D.settings[0].space;
  DEFAULTS.policy = D.settings[0].policy;
  DEFAULTS.down = MEASURES.get(D.lead).better === "lower" ? "" : "1";
  Object.assign(state, DEFAULTS, Object.fromEntries(
    [...new URLSearchParams(location.hash.slice(1))].filter(([name]) => name in DEFAULTS)));
  if (!measure()) state.metric = D.lead;
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
  for (const [id, name] of [["facts", "facts"], ["published", "published"], ["controls-shown", "controls"], ["unranked", "unranked"]]) ticks(id, name);
  element("reset").addEventListener("click", () => { Object.assign(state, DEFAULTS); closeDetail(); fillControls(); draw(); });
  element("csv").addEventListener("click", saveCsv);
  element("controls").addEventListener("submit", (event) => event.preventDefault());
  element("notes").replaceChildren(...D.meta.notes.map((note) => h("li", {}, note)));
  if (D.meta.notRun.length) {
    element("not-run").replaceChildren(h("h2", {}, `Not run: ${D.meta.notRun.length} of ${D.meta.entries} entries`),
      h("ul", {}, ...D.meta.notRun.map(([title, reason]) => h("li", {}, `${title}: ${reason}`))));
  }
  element("switches").open = !matchMedia("(max-width: 40rem)").matches;
  fillControls();
  draw();
}
start().catch((error) => {
  const old = typeof DecompressionStream === "undefined";
  element("board").replaceChildren(h("p", { class: "warning" }, old
    ? "This browser cannot unpack the board's numbers (it knows no DecompressionStream). The tables of the report hold them too."
    : `The board cannot be shown: ${error}`));
});
