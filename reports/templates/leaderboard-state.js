"use strict";
/* What the board shows. All of it is in the address: a reload, a bookmark or a link brings it back. */

const D = JSON.parse(document.getElementById("data").textContent);
const MODALITIES = D.modalities;
const MEASURES = new Map(D.measures.map((m) => [m.id, m]));

const DEFAULTS = {
  metric: D.lead, policy: "present-only", space: "native", view: "paper",
  coverage: "supported", statistic: "entries", columns: "region",
  region: "", modality: "", dataset: "", lesion: "", klass: "",
  facts: "", published: "auto", controls: "1", small: "", sort: "overall", down: "1", unranked: "",
  // Whether the switches are unfolded; the page of a model or dataset; the cell and class looked into.
  open: "", page: "", cell: "", slot: "",
};
const state = { ...DEFAULTS };

const measure = () => MEASURES.get(state.metric);
/* The larger, the better; without a direction, the nearer to 0. */
const goodness = (value) => ({ higher: value, lower: -value }[measure().better] ?? -Math.abs(value));

function readAddress() {
  const told = [...new URLSearchParams(location.hash.slice(1))].filter(([name]) => name in DEFAULTS);
  Object.assign(state, DEFAULTS, Object.fromEntries(told));
  if (!measure()) state.metric = D.lead;
  // A link that names no order shows the best first.
  if (!told.some(([name]) => name === "down")) state.down = bestFirst(state.metric);
}

/* The order that shows the best first. */
function bestFirst(metric) {
  return MEASURES.get(metric)?.better === "lower" ? "" : "1";
}

/* The address of the present choice with some of it changed. */
function addressOf(changes = {}) {
  const all = { ...state, ...changes }, usual = { ...DEFAULTS, down: bestFirst(all.metric) };
  const told = Object.entries(all).filter(([name, value]) => value !== usual[name]);
  return told.length ? `#${new URLSearchParams(told)}` : "#";
}

function writeAddress() {
  const address = addressOf();
  history.replaceState(null, "", address === "#" ? location.pathname + location.search : address);
}

const pageAddress = (kind, id) => addressOf({ page: `${kind}:${id}`, cell: "", slot: "" });

/* [kind, model or dataset] of the page that is shown; null for the board. */
function pageShown() {
  const [kind, ...rest] = state.page.split(":"), id = rest.join(":");
  const place = { model: D.models, dataset: D.datasets }[kind]?.findIndex((item) => item.id === id) ?? -1;
  return place < 0 ? null : [kind, place];
}

/* What a class of an entry is called in the address. */
const slotName = (s) => {
  const { modality, name } = D.classes[D.slots[s][1]];
  return `${D.datasets[D.slots[s][0]].id}|${modality}|${name}`;
};
