"use strict";
/* From a cell to its classes, to the distribution over cases, to pictures of single cases. */

const detail = document.getElementById("detail");
let returnTo = null;

function closeDetail() {
  detail.hidden = true;
  detail.replaceChildren();
  if (returnTo && returnTo.isConnected) returnTo.focus();
}
detail.addEventListener("keydown", (event) => { if (event.key === "Escape") closeDetail(); });

function openDetail(m, column, setting, origin) {
  returnTo = origin;
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
        h("button", { type: "button", class: "cell", onclick: () => showCases(place, m, s, setting) },
          `${D.classes[c].name}`)),
      h("td", { class: "text" }, D.datasets[d].title),
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
  if (list.length === 1) showCases(place, m, list[0].s, setting);
  detail.focus();
  detail.scrollIntoView({ block: "nearest" });
}

/* A slot's distribution over cases: sorted values, or counts in equal bins. Coverage does not
   matter to single cases, and without linked scans the view `clean` is the view `paper`. */
function distributions(setting) {
  const { policy, space, view } = D.settings[setting];
  for (const wanted of [view, "paper"]) {
    const first = D.settings.findIndex((s) => s.policy === policy && s.space === space && s.view === wanted);
    const rows = first < 0 ? new Map() : rowsOf("cases", "slot", first);
    if (rows.size) return rows;
  }
  return new Map();
}

const SVG = "http://www.w3.org/2000/svg";
function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/* Ends of the axis that all models of a slot share: the measure's range, or that of the values. */
function axisOf(spreads) {
  const ends = spreads.flatMap((s) => (s.values ? [s.values[0], s.values.at(-1)] : [s.from, s.to]));
  const low = measure().low ?? Math.min(...ends, 0), high = measure().high ?? Math.max(...ends, 0);
  return { low, high: high > low ? high : low + 1, x: (value) => (500 * (value - low)) / ((high > low ? high : low + 1) - low) };
}

function chart(spread, text, axis) {
  const picture = svg("svg", { viewBox: "0 0 500 34", preserveAspectRatio: "none", role: "img", "aria-label": text });
  picture.append(svg("line", { x1: 0, y1: 33, x2: 500, y2: 33, stroke: "var(--line)" }));
  if (spread?.values) {
    const seen = new Map();
    for (const value of spread.values) {
      const place = Math.round(axis.x(value) * 2) / 2;
      const stack = seen.get(place) ?? 0;
      seen.set(place, stack + 1);
      picture.append(svg("rect", { x: place - 2, y: Math.max(28 - 6 * stack, 0), width: 4, height: 5,
        fill: "var(--accent)" }));
    }
  } else if (spread?.counts) {
    const top = Math.max(...spread.counts), step = (spread.to - spread.from) / spread.counts.length;
    spread.counts.forEach((count, i) => {
      if (!count) return;
      const height = Math.max((32 * count) / top, 1.5), x = axis.x(spread.from + i * step);
      picture.append(svg("rect", { x: x + 0.5, y: 33 - height, width: Math.max(axis.x(spread.from + (i + 1) * step) - x - 1, 1),
        height, fill: "var(--accent)" }));
    });
  }
  if (spread) {
    const x = axis.x(spread.quartiles[1]);
    picture.append(svg("line", { x1: x, y1: 0, x2: x, y2: 34, stroke: "var(--ink)", "stroke-width": 2 }));
  }
  return picture;
}

function showCases(place, m, s, setting) {
  const [d, c] = D.slots[s];
  const rows = distributions(setting);
  const spreads = D.models.map((_, o) => rows.get(`${o}|${s}`));
  const range = axisOf(spreads.filter((spread) => spread));
  const lines = D.models.map((model, o) => {
    const spread = spreads[o];
    const words = spread
      ? `median ${number(spread.quartiles[1])}, quartiles ${between(spread.quartiles[0], spread.quartiles[2])}, n ${spread.n}`
      : "no scored case";
    return h("div", { class: "line", "aria-current": String(o === m) },
      h("span", { class: "name" }, model.title),
      chart(spread, `${model.title}: ${words}`, range),
      h("small", {}, words));
  });
  const axis = svg("svg", { viewBox: "0 0 500 16", role: "presentation" });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
    const label = svg("text", { x: share * 500, y: 12, "text-anchor": anchor, "font-size": 12, fill: "currentColor" });
    label.append(`${Number((range.low + share * (range.high - range.low)).toPrecision(3))}`);
    axis.append(label);
  }
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
      h("div", { class: "line axis" }, h("span"), axis, h("small", {}, `${measure().unit === "%" ? "percent; " : measure().unit ? `${measure().unit}; ` : ""}line = median`))),
    h("h3", {}, `Worst, median and best case of ${D.models[m].title}`),
    h("p", {}, h("small", {}, `By ${lead.title}, whatever the board shows: ${D.casesChosen}`)),
    pictures.length ? h("p", {}, h("i", { class: "key", style: `border-color:${D.colours.reference}` }), " reference, ",
      h("i", { class: "key dashed", style: `border-color:${D.colours.prediction}` }), " prediction; ",
      "axial slice, patient's right on the left") : "",
    h("div", { class: "pictures" }, ...shown), list);
  place.scrollIntoView({ block: "nearest" });
}
