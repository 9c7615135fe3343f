"use strict";
/* The table of the board: a row for each model, a cell for each reading. */

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

function sortButton(name, title, className = "", page = null) {
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
  } }, title), page && h("a", { href: page, "aria-label": `Page of ${title}` }, "page"));
}

/* What stands behind a number, in words: for pointing at the cell, its focus, or its small print. */
function smallPrint(cell) {
  const parts = [(hasInterval(cell) ? "95 % interval " : "") + interval(cell), `n ${cell.scans.toLocaleString("en")}${cell.scores ? " scores" : ""}`];
  if (cell.expected > 1 || cell.classes !== cell.expected) parts.push(`${cell.classes}/${cell.expected} classes`);
  if (cell.missing) parts.push(`${cell.missing} missing`);
  if (cell.undefined) parts.push(`${cell.undefined} undefined`);
  return parts.filter((part) => part);
}

function scoreCell(row, column, setting) {
  const cell = row.cells.get(column.name);
  if (!cell || cell.value === null || cell.value === undefined) {
    const why = !isModel(row) ? "–" : column.slots.length ? "no score" : "not run";
    return h("td", {}, h("small", {}, why));
  }
  const value = number(cell.value);
  if (!isModel(row)) {
    const spread = cell.deviation === undefined ? "" : ` ± ${number(cell.deviation)}`;
    return h("td", {}, h("span", { class: "value" }, `${value}${spread}`));
  }
  const isBest = row.rank && column.best !== null && value === column.best;
  const flags = contamination(row, column);
  const lacking = cell.missing || !cell.complete ? "*" : "";
  const few = tooSmall(cell) ? "°" : "";
  const words = `${row.model.title}, ${column.title}: ${measure().title} ${value}; `
    + [...smallPrint(cell), ...(flags ? [flags.title] : [])].join("; ");
  return h("td", { class: isBest ? "best" : "" },
    h("button", { type: "button", class: "cell", "aria-label": `${words}. Show its classes and cases.`, "data-words": words,
      "data-cell": `${row.model.id}~${column.name}`,
      onclick: (event) => openDetail(row.m, column, setting, event.currentTarget) },
    h("span", { class: "value" }, value), h("sup", {}, `${lacking}${few}${flags ? flags.sign : ""}`)),
    ...(state.small === "1" ? smallPrint(cell).map((part) => h("small", {}, part)) : []));
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
  return h("th", { class: "model", scope: "row", title: row.model.citation ?? "" },
    isModel(row) ? h("a", { href: pageAddress("model", row.model.id) }, row.model.title) : row.model.title, " ", ...badges);
}

let lastBoard = null;

function drawBoard() {
  let columns = columnsShown();
  const tooMany = columns.length > MOST_COLUMNS;
  if (tooMany) columns = columns.slice(0, MOST_COLUMNS);
  const { rows, overall, setting } = boardRows(columns);
  const facts = state.facts === "1" ? FACTS : [];
  lastBoard = { rows, columns: [overall, ...columns], facts };
  const pageOf = (column) => (column.level === "dataset" ? pageAddress("dataset", column.id) : null);
  const head = h("tr", {},
    h("th", { scope: "col" }, "Rank"), sortButton("model", "Model", "model"),
    sortButton("overall", overall.level === "overall" ? "Overall" : "This choice"),
    h("th", { scope: "col" }, "Complete"),
    ...columns.map((c) => sortButton(c.name, c.title, "", pageOf(c))),
    ...facts.map(([name, title]) => sortButton(`fact:${name}`, title, "text")));
  const body = rows.map((row) => {
    const incomplete = row.kind === "entrant" && !row.whole;
    return h("tr", { class: `${row.kind}${incomplete ? " incomplete" : ""}` },
      rankCell(row), modelHead(row), scoreCell(row, overall, setting), completeness(row),
      ...columns.map((c) => scoreCell(row, c, setting)),
      ...facts.map(([, , words]) => h("td", { class: "text" }, isModel(row) ? words(row.model) ?? "–" : "")));
  });
  const caption = h("caption", { class: "visually-hidden" }, `Models by ${measure().title}`);
  element("board").replaceChildren(h("table", { "aria-describedby": "state" }, caption, h("thead", {}, head), h("tbody", {}, ...body)));
  describe(setting, columns, tooMany);
  restoreDetail([overall, ...columns], setting);
}

function rankCell(row) {
  if (!row.rank) return h("td", {}, h("span", { class: "rank" }, "–"));
  const between = row.rankInterval ? `${row.rankInterval.low}–${row.rankInterval.high}` : "";
  const few = tooSmall(row.cells.get("overall"));
  return h("td", { class: "ranks" }, h("span", { class: "rank" }, `${row.rank}`),
    h("small", {}, [between, few].filter((part) => part).join(" ")));
}

function completeness(row) {
  const cell = row.cells.get("overall");
  if (!isModel(row) || !cell || !cell.expected) return h("td", {}, "–");
  const share = Math.round((100 * cell.classes) / cell.expected);
  return h("td", { class: "complete", title: `${cell.classes} of ${cell.expected} class slots` },
    h("span", { class: "meter" }, h("i", { style: `width:${share}%` })),
    h("small", {}, `${cell.classes}/${cell.expected}`));
}

/* Pointing at a cell, or reaching it by keyboard, says what stands behind its number. */
function showWords(event) {
  element("words").textContent = event.target.closest?.("[data-words]")?.dataset.words ?? "";
}
for (const kind of ["pointerover", "focusin"]) element("board").addEventListener(kind, showWords);

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
  const notes = ["Point at a cell for its 95 % interval over patients, its scans and its classes, open it for classes and cases."];
  notes.push("*: lacks classes or predictions that others have. °: too few patients for an interval. Underlined: best ranked entrant. T: trained on the training split of that dataset. !: test scans linked to its training scans.");
  if (D.trainings.length) notes.push("After ±: standard deviation over trainings.");
  if (publishedShown()) notes.push(inTheirProtocol() ? "Published rows are in their document's protocol, as ours are here; they are not ranked."
    : `Published rows are in their document's protocol (${D.publishedProtocol.words}), not the one chosen here; they are not ranked.`);
  element("legend").textContent = notes.join(" ");
}
