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
    .map((s) => ({ s, row: reading(rows.get(`${m}|${s}`)) }))
    .filter(({ row }) => row)
    .sort((a, b) => (a.row.value ?? 101) - (b.row.value ?? 101));
  const place = h("div");
  const head = h("div", { class: "head" },
    h("h2", {}, `${model.title}: ${column.title}`),
    h("button", { type: "button", onclick: closeDetail }, "Close (Esc)"));
  const others = D.models.map((other, o) => [other, o]).filter(([other, o]) => o !== m && other.role !== "control");
  const body = list.map(({ s, row }) => {
    const [d, c] = D.slots[s];
    const best = others
      .map(([other, o]) => [other.title, reading(rows.get(`${o}|${s}`))?.value ?? null])
      .filter(([, value]) => value !== null).sort((a, b) => b[1] - a[1])[0];
    return h("tr", {},
      h("th", { class: "model", scope: "row" },
        h("button", { type: "button", class: "cell", onclick: () => showCases(place, m, s, setting) },
          `${D.classes[c].name}`)),
      h("td", { class: "text" }, D.datasets[d].title),
      h("td", {}, number(row.value)),
      h("td", {}, interval(row) || "–"),
      h("td", {}, `${row.n}${row.missing ? ` (${row.missing} missing = 0)` : ""}`),
      h("td", { class: "text" }, best ? `${number(best[1])} ${best[0]}` : "–"));
  });
  const table = h("table", {},
    h("thead", {}, h("tr", {}, ...["Class", "Dataset", METRICS[state.metric], "95 % interval", "Scans", "Best other"]
      .map((t, i) => h("th", { scope: "col", class: i < 2 || i === 5 ? "text" : "" }, t)))),
    h("tbody", {}, ...body));
  detail.replaceChildren(head,
    h("p", {}, list.length === 1 ? "One class." : `${list.length} classes, lowest first. Choose one to see its cases.`),
    h("div", { class: "scroll" }, table), place);
  detail.hidden = false;
  if (list.length === 1) showCases(place, m, list[0].s, setting);
  detail.focus();
  detail.scrollIntoView({ block: "nearest" });
}

/* Values of a slot's distribution: sorted per mille values, or counts in 25 bins. */
function distribution(m, s, setting) {
  const { policy, space, tolerance, view } = D.settings[setting];
  const name = `${policy}|${space}|${tolerance}`;
  const known = D.distributions[`${name}|${view}`] ?? D.distributions[`${name}|paper`];
  return known?.[`${m}|${s}`]?.[state.metric] ?? null;
}

const SVG = "http://www.w3.org/2000/svg";
function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function chart(spread, text) {
  const picture = svg("svg", { viewBox: "0 0 500 34", preserveAspectRatio: "none", role: "img", "aria-label": text });
  picture.append(svg("line", { x1: 0, y1: 33, x2: 500, y2: 33, stroke: "var(--line)" }));
  if (spread?.v) {
    const seen = new Map();
    for (const value of spread.v) {
      const stack = seen.get(value) ?? 0;
      seen.set(value, stack + 1);
      picture.append(svg("rect", { x: value / 2 - 2, y: Math.max(28 - 6 * stack, 0), width: 4, height: 5,
        fill: "var(--accent)" }));
    }
  } else if (spread?.h) {
    const top = Math.max(...spread.h);
    spread.h.forEach((count, i) => {
      if (!count) return;
      const height = Math.max((32 * count) / top, 1.5);
      picture.append(svg("rect", { x: i * 20 + 1, y: 33 - height, width: 18, height, fill: "var(--accent)" }));
    });
  }
  if (spread) {
    const x = spread.q[1] / 2;
    picture.append(svg("line", { x1: x, y1: 0, x2: x, y2: 34, stroke: "var(--ink)", "stroke-width": 2 }));
  }
  return picture;
}

function showCases(place, m, s, setting) {
  const [d, c] = D.slots[s];
  const lines = D.models.map((model, o) => {
    const spread = distribution(o, s, setting);
    const words = spread
      ? `median ${number(spread.q[1] / 10)}, quartiles ${number(spread.q[0] / 10)}–${number(spread.q[2] / 10)}, n ${spread.n}`
      : "no scored case";
    return h("div", { class: "line", "aria-current": String(o === m) },
      h("span", { class: "name" }, model.title),
      chart(spread, `${model.title}: ${words}`),
      h("small", {}, words));
  });
  const axis = svg("svg", { viewBox: "0 0 500 16", role: "presentation" });
  for (const tick of [0, 25, 50, 75, 100]) {
    const anchor = tick === 0 ? "start" : tick === 100 ? "end" : "middle";
    const label = svg("text", { x: tick * 5, y: 12, "text-anchor": anchor, "font-size": 12, fill: "currentColor" });
    label.append(`${tick}`);
    axis.append(label);
  }
  const ends = D.cases[`${m}|${s}`];
  const pictures = D.pictures[`${m}|${s}`] ?? [];
  const shown = pictures.map((p) => h("figure", {},
    h("img", { src: p.src, alt: p.alt, loading: "lazy", width: p.width, height: p.height }),
    h("figcaption", {}, h("strong", {}, `${p.which}: DSC ${number(p.dsc / 10)}`),
      ` · ${p.case}`, h("br"), p.words)));
  const list = ends && !pictures.length
    ? h("p", {}, "Cases by DSC: " + ["worst", "median", "best"]
      .map((which, i) => `${which} ${ends[i][0]} (${number(ends[i][1] / 10)})`).join(", ")
      + ". No picture of them is on this page: the gallery draws a limited number.")
    : "";
  place.replaceChildren(
    h("h3", {}, `${D.classes[c].name}, ${D.datasets[d].title}: ${METRICS[state.metric]} of each case`),
    h("div", { class: "charts" }, ...lines,
      h("div", { class: "line axis" }, h("span"), axis, h("small", {}, "percent; line = median"))),
    h("h3", {}, `Worst, median and best case of ${D.models[m].title}`),
    h("p", {}, h("small", {}, `By DSC, whatever the board shows: ${D.casesChosen}`)),
    pictures.length ? h("p", {}, h("i", { class: "key", style: `border-color:${D.colours.reference}` }), " reference, ",
      h("i", { class: "key dashed", style: `border-color:${D.colours.prediction}` }), " prediction; ",
      "axial slice, patient's right on the left") : "",
    h("div", { class: "pictures" }, ...shown), list);
  place.scrollIntoView({ block: "nearest" });
}
