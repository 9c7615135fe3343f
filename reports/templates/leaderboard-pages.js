"use strict";
/* The page of a model or a dataset: facts, and every class as a dot with its interval. */

/* Lines of charts: what each is called, its reading, and the readings it stands among. */
function dotLines(lines, range) {
  return h("div", { class: "charts" }, ...lines.map(({ name, row, others }) => {
    const words = row && row.value !== null ? `${number(row.value)} (${[interval(row), `n ${row.scans}`].filter((part) => part).join("; ")})` : "no score";
    return h("div", { class: "line dots" }, h("span", { class: "name" }, name),
      dotChart(row, others, words, range), h("small", {}, words));
  }), axisLine(range, ""));
}

function pageHead(title) {
  return [h("p", {}, h("a", { href: addressOf({ page: "" }) }, "\u2190 All models")), h("h2", { tabindex: "-1" }, title)];
}

const valueOf = (row) => row?.value ?? null;

function modelPage(m) {
  const model = D.models[m], rows = scores(settingIndex());
  const others = D.models.map((other, o) => [other, o]).filter(([other, o]) => o !== m && other.role !== "control");
  const own = D.slots.map((_, s) => s).filter((s) => passes(D.slots[s]) && rows.has(`${m}|${s}`));
  const range = axisOfMeans(own.flatMap((s) => D.models.map((_, o) => rows.get(`${o}|${s}`))));
  const sections = grouped(own, (slot) => slot[0]).map((slots) => {
    const dataset = D.datasets[D.slots[slots[0]][0]], d = D.slots[slots[0]][0];
    const known = model.contamination?.[d];
    return [h("h3", {}, h("a", { href: pageAddress("dataset", dataset.id) }, dataset.title)), known ? h("p", { class: "warning" }, known) : null,
      dotLines(slots.map((s) => ({
        name: D.classes[D.slots[s][1]].name, row: rows.get(`${m}|${s}`),
        others: others.map(([, o]) => valueOf(rows.get(`${o}|${s}`))).filter((value) => value !== null),
      })), range)];
  });
  return [...pageHead(model.title),
    h("dl", {}, ...[...FACTS.map(([, title, words]) => [title, words(model)]), ["Citation", model.citation]]
      .filter(([, words]) => words).flatMap(([title, words]) => [h("dt", {}, title), h("dd", {}, words)])),
    h("p", {}, h("i", { class: "swatch own" }), ` ${measure().title} of this model with its 95 % interval; `, h("i", { class: "swatch" }), " the other entrants"),
    ...(sections.length ? sections.flat() : [h("p", {}, "No score under this choice.")])].filter((node) => node);
}

function datasetPage(d) {
  const dataset = D.datasets[d], rows = scores(settingIndex());
  const slots = D.slots.map((_, s) => s).filter((s) => D.slots[s][0] === d && passes(D.slots[s]));
  const range = axisOfMeans(slots.flatMap((s) => D.models.map((_, o) => rows.get(`${o}|${s}`))));
  const sections = slots.flatMap((s) => {
    const info = D.classes[D.slots[s][1]];
    const lines = D.models.map((model, m) => ({ model, row: rows.get(`${m}|${s}`) })).filter(({ row }) => row)
      .filter(({ model }) => model.role !== "control" || state.controls === "1")
      .sort((a, b) => (valueOf(a.row) === null) - (valueOf(b.row) === null) || goodness(b.row.value) - goodness(a.row.value));
    return [h("h3", {}, `${info.name} (${MODALITIES[info.modality]})`),
      dotLines(lines.map(({ model, row }) => ({ name: h("a", { href: pageAddress("model", model.id) }, model.title), row, others: [] })), range)];
  });
  const table = addressOf({ page: "", columns: "class", dataset: dataset.id, cell: "", slot: "", sort: "overall" });
  return [...pageHead(dataset.title),
    h("p", {}, slots.length ? `${slots.length} ${slots.length === 1 ? "class" : "classes"}; ${measure().title} with 95 % intervals, the best first. ` : "No score of it. ",
      h("a", { href: table }, "As a table")), ...sections];
}

function drawPage([kind, place]) {
  element("page").replaceChildren(...(kind === "model" ? modelPage : datasetPage)(place));
  describe(settingIndex(), [], false);
}

function listPages() {
  const list = (kind, items) => h("ul", { class: "columns" }, ...items.map((item) => h("li", {}, h("a", { "data-page": `${kind}:${item.id}`, href: "#" }, item.title))));
  element("pages").replaceChildren(h("h2", {}, "Pages"), h("h3", {}, "Models"), list("model", D.models),
    h("h3", {}, "Datasets"), list("dataset", D.datasets.filter((_, d) => D.slots.some(([e]) => e === d))));
}

/* Links to pages keep the choice of metric and protocol, whenever it was made. */
function refreshLinks() {
  for (const link of document.querySelectorAll("[data-page]")) {
    link.href = addressOf({ page: link.dataset.page, cell: "", slot: "" });
  }
}
