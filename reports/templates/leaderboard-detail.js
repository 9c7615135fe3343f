"use strict";
/* From a cell to its classes, to the distribution over cases, to pictures of single cases. */

const detail = document.getElementById("detail");
let returnTo = null;

function closeDetail() {
  Object.assign(state, { cell: "", slot: "" });
  writeAddress();
  detail.hidden = true;
  detail.replaceChildren();
  if (returnTo && returnTo.isConnected) returnTo.focus();
}
detail.addEventListener("keydown", (event) => { if (event.key === "Escape") closeDetail(); });

/* `origin` is the button that was pressed; none when the address brings the detail back. */
function openDetail(m, column, setting, origin = null) {
  returnTo = origin;
  const cell = `${D.models[m].id}~${column.name}`;
  if (state.cell !== cell) Object.assign(state, { cell, slot: "" });
  writeAddress();
  const model = D.models[m];
  const rows = scores(setting);
  const list = column.slots
    .map((s) => ({ s, row: rows.get(`${m}|${s}`) }))
    .filter(({ row }) => row)
    .sort((a, b) => (a.row.value === null) - (b.row.value === null) || goodness(a.row.value) - goodness(b.row.value));
  const place = h("div");
  const head = h("div", { class: "head" },
    h("h2", {}, `${model.title}: ${column.title}`),
    h("button", { type: "button", onclick: closeDetail }, "Close (Esc)"));
  const others = D.models.map((other, o) => [other, o]).filter(([other, o]) => o !== m && other.role !== "control");
  const body = list.map(({ s, row }) => {
    const [d, c] = D.slots[s];
    const best = others
      .map(([other, o]) => [other.title, rows.get(`${o}|${s}`)?.value ?? null])
      .filter(([, value]) => value !== null).sort((a, b) => goodness(b[1]) - goodness(a[1]))[0];
    return h("tr", {},
      h("th", { class: "model", scope: "row" },
        h("button", { type: "button", class: "cell", onclick: () => { showCases(place, m, s, setting); place.scrollIntoView({ block: "nearest" }); } },
          `${D.classes[c].name}`)),
      h("td", { class: "text" }, h("a", { href: pageAddress("dataset", D.datasets[d].id) }, D.datasets[d].title)),
      h("td", {}, number(row.value)),
      h("td", {}, interval(row) || "–"),
      h("td", {}, `${row.scans}${row.missing ? ` (${row.missing} missing)` : ""}`),
      h("td", { class: "text" }, best ? `${number(best[1])} ${best[0]}` : "–"));
  });
  const table = h("table", {},
    h("thead", {}, h("tr", {}, ...["Class", "Dataset", measure().title, "95 % interval", "Scans", measure().better ? "Best other" : "Nearest to 0"]
      .map((t, i) => h("th", { scope: "col", class: i < 2 || i === 5 ? "text" : "" }, t)))),
    h("tbody", {}, ...body));
  detail.replaceChildren(head,
    h("p", {}, list.length === 1 ? "One class." : `${list.length} classes, ${measure().better ? "worst" : "farthest from 0"} first. Choose one to see its cases.`),
    h("div", { class: "scroll" }, table), place);
  detail.hidden = false;
  hintScrolling(detail);
  const looked = list.length === 1 ? list[0] : list.find(({ s }) => slotName(s) === state.slot);
  if (looked) showCases(place, m, looked.s, setting);
  if (!origin) return;
  detail.focus();
  detail.scrollIntoView({ block: "nearest" });
}

/* The detail that the address names, under the metric and protocol that are chosen now. */
function restoreDetail(columns, setting) {
  const [model, ...name] = state.cell.split("~");
  const m = D.models.findIndex((item) => item.id === model);
  const column = columns.find((item) => item.name === name.join("~"));
  if (m >= 0 && column) openDetail(m, column, setting);
  else { detail.hidden = true; detail.replaceChildren(); }
}

function showCases(place, m, s, setting) {
  const [d, c] = D.slots[s];
  state.slot = slotName(s);
  writeAddress();
  const rows = distributions(setting);
  const spreads = D.models.map((_, o) => rows.get(`${o}|${s}`));
  const range = axisOf(spreads.filter((spread) => spread));
  const lines = D.models.map((model, o) => {
    const spread = spreads[o];
    const words = spread
      ? `median ${number(spread.quartiles[1])}, quartiles ${between(spread.quartiles[0], spread.quartiles[2])}, n ${spread.n}`
      : "no scored case";
    return h("div", { class: "line", "aria-current": String(o === m) },
      h("span", { class: "name" }, h("a", { href: pageAddress("model", model.id) }, model.title)),
      chart(spread, `${model.title}: ${words}`, range),
      h("small", {}, words));
  });
  const ends = D.numbers.ends;
  const own = (ends.model ?? []).map((_, i) => i).filter((i) => ends.model[i] === m && ends.slot[i] === s);
  const lead = MEASURES.get(D.lead);
  const pictures = D.pictures[`${m}|${s}`] ?? [];
  const shown = pictures.map((p) => h("figure", {},
    h("img", { src: p.src, alt: p.alt, loading: "lazy", width: p.width, height: p.height }),
    h("figcaption", {}, h("strong", {}, `${p.which}: ${p.score}`),
      ` · ${p.case}`, h("br"), p.words)));
  const list = own.length && !pictures.length
    ? h("p", {}, `Cases by ${lead.title}: ` + own
      .map((i) => `${ends.which[i]} ${ends.case[i]} (${ends.value[i].toFixed(lead.digits)})`).join(", ")
      + ". No picture of them is on this page: the gallery draws a limited number.")
    : "";
  place.replaceChildren(
    h("h3", {}, `${D.classes[c].name}, ${D.datasets[d].title}: ${measure().title} of each case`),
    h("div", { class: "charts" }, ...lines,
      axisLine(range, "line = median")),
    h("h3", {}, `Worst, median and best case of ${D.models[m].title}`),
    h("p", {}, h("small", {}, `By ${lead.title}, whatever the board shows: ${D.casesChosen}`)),
    pictures.length ? h("p", {}, h("i", { class: "key", style: `border-color:${D.colours.reference}` }), " reference, ",
      h("i", { class: "key dashed", style: `border-color:${D.colours.prediction}` }), " prediction; ",
      "axial slice, patient's right on the left") : "",
    h("div", { class: "pictures" }, ...shown), list);
}
