"use strict";
/* The board's numbers: unpacked from the page, filtered and averaged. No drawing here. */

const D = JSON.parse(document.getElementById("data").textContent);
const MODALITIES = D.modalities;
const MEASURES = new Map(D.measures.map((m) => [m.id, m]));
const MOST_COLUMNS = 60;

/* The tables: a JSON object of columns, compressed (gzip) and in base64. */
async function unpackNumbers() {
  const text = document.getElementById("numbers").textContent.trim();
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  D.numbers = await new Response(stream).json();
}

const DEFAULTS = {
  metric: D.lead, policy: "present-only", space: "native", view: "paper",
  coverage: "supported", statistic: "entries", columns: "region",
  region: "", modality: "", dataset: "", lesion: "", klass: "",
  facts: "1", published: "auto", controls: "1", sort: "overall", down: "1", unranked: "",
};
const state = { ...DEFAULTS };

const unique = (values) => [...new Set(values)];
const measure = () => MEASURES.get(state.metric);
/* The larger, the better; without a direction, the nearer to 0. */
const goodness = (value) => ({ higher: value, lower: -value }[measure().better] ?? -Math.abs(value));

/* Index of the setting (policy, space, view, coverage) that the switches ask for; the nearest one
   that was computed if that combination was not. */
function settingIndex() {
  const want = ["space", "policy", "view", "coverage"];
  let best = 0, bestHits = -1;
  D.settings.forEach((setting, index) => {
    const hits = want.reduce((n, name, i) => n + (setting[name] === state[name] ? 16 >> i : 0), 0);
    if (hits > bestHits) { best = index; bestHits = hits; }
  });
  return best;
}

/* Rows of a table under a setting and the chosen measure as a Map "model|key" -> row. */
const cache = new Map();
function rowsOf(name, keyName, setting) {
  const at = D.settings[setting][name] ?? setting;
  const id = `${name}|${at}|${state.metric}`;
  if (!cache.has(id)) {
    const columns = D.numbers[name], rows = new Map();
    (columns.measure ?? []).forEach((m, i) => {
      if (m !== state.metric || columns.setting[i] !== at) return;
      const row = Object.fromEntries(Object.entries(columns).map(([column, values]) => [column, values[i]]));
      rows.set(`${row.model}|${row[keyName]}`, row);
    });
    cache.set(id, rows);
  }
  return cache.get(id);
}
const means = (setting) => rowsOf("means", "key", setting);
const scores = (setting) => rowsOf("slots", "slot", setting);

const FILTERS = ["region", "modality", "dataset", "lesion", "klass"];
const activeFilters = () => FILTERS.filter((name) => state[name] !== "");

function passes(slot) {
  const [d, c] = slot;
  const info = D.classes[c];
  if (state.modality && info.modality !== state.modality) return false;
  if (state.dataset && D.datasets[d].id !== state.dataset) return false;
  if (state.region && info.region !== state.region) return false;
  if (state.lesion === "only" && info.region !== "lesion") return false;
  if (state.lesion === "none" && info.region === "lesion") return false;
  if (state.klass && !info.name.toLowerCase().includes(state.klass.toLowerCase())) return false;
  return true;
}
const selected = () => D.slots.map((_, s) => s).filter((s) => passes(D.slots[s]));

const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);

function grouped(slots, keyOf) {
  const found = new Map();
  for (const s of slots) {
    const key = keyOf(D.slots[s]);
    if (!found.has(key)) found.set(key, []);
    found.get(key).push(s);
  }
  return [...found.values()];
}

/* Mean over any choice of slots (entry x class), in the order of the tables:
   `entries`: classes of an entry, then entries; otherwise a class over its entries, then classes
   (and then regions, or modalities). Slots that no model has a value for are not expected of any. */
function average(model, slots, setting, statistic) {
  const rows = scores(setting);
  const has = (m, s) => { const row = rows.get(`${m}|${s}`); return row && row.value !== null; };
  const expected = slots.filter((s) => D.models.some((_, m) => has(m, s)));
  const all = expected.filter((s) => has(model, s));
  // The mean over regions has no place for a class without one; it still expects the class.
  const placed = (s) => statistic !== "regions" || D.classes[D.slots[s][1]].region !== "unassigned";
  const scored = all.filter(placed);
  const at = (s) => rows.get(`${model}|${s}`).value;
  const inner = (parts) => parts.map((part) => mean(part.map(at)));
  let value;
  if (statistic === "entries") value = mean(inner(grouped(scored, (slot) => slot[0])));
  else if (statistic === "regions") {
    value = mean(grouped(scored, (slot) => D.classes[slot[1]].region)
      .map((part) => mean(inner(grouped(part, (slot) => slot[1])))));
  } else if (statistic === "modalities") {
    value = mean(grouped(scored, (slot) => D.classes[slot[1]].modality)
      .map((part) => mean(inner(grouped(part, (slot) => slot[1])))));
  } else value = mean(inner(grouped(scored, (slot) => slot[1])));
  // A class that several entries have is one class, unless entries are what is averaged.
  const count = (part) => (statistic === "entries" ? part.length
    : new Set(part.map((s) => D.slots[s][1])).size);
  const sum = (name) => scored.reduce((n, s) => n + (rows.get(`${model}|${s}`)[name] ?? 0), 0);
  return {
    value, low: null, high: null, scans: sum("scans"), scores: true, patients: null,
    classes: count(scored), expected: count(expected), missing: sum("missing"),
    undefined: sum("undefined"),
    complete: all.length === expected.length && scored.length > 0,
  };
}

const keyIndex = new Map(D.keys.map((key, index) => [`${key.level}:${key.id}`, index]));

/* The columns to the right of the overall one. */
function columnsShown() {
  const slots = selected();
  const present = (test) => slots.filter((s) => test(D.slots[s]));
  const make = (level, id, title, part, statistic) => ({
    level, id, title, slots: part, statistic, name: `${level}:${id}`,
    key: keyIndex.get(`${level}:${id}`) ?? null,
  });
  if (state.columns === "region") {
    return D.regions.map((r) => make("region", r.id, r.title,
      present(([, c]) => D.classes[c].region === r.id), "classes"));
  }
  if (state.columns === "modality") {
    return Object.entries(MODALITIES).map(([id, title]) => make("modality", id, title,
      present(([, c]) => D.classes[c].modality === id), "classes")).filter((c) => c.slots.length);
  }
  if (state.columns === "dataset") {
    return D.datasets.map((dataset, d) => make("dataset", dataset.id, dataset.title,
      present(([e]) => e === d), "entries"))
      .filter((c) => c.slots.length || activeFilters().length === 0);
  }
  if (state.columns === "aspect") {
    return D.aspects.map((a) => make("aspect", a.id, a.title,
      slots.filter((s) => a.slots.includes(s)), "entries")).filter((c) => c.key !== null);
  }
  if (state.columns === "lesion" || state.columns === "class") {
    const lesions = state.columns === "lesion";
    return D.classes.map((info, c) => [info, c])
      .filter(([info]) => !lesions || info.region === "lesion")
      .map(([info, c]) => make("class", `${info.modality}|${info.name}`,
        `${info.name} (${MODALITIES[info.modality]})`, present(([, k]) => k === c), "classes"))
      .filter((column) => column.slots.length);
  }
  if (state.columns === "merged") {
    // By name alone: of several modalities the tables hold the mean of theirs, under `any`.
    return unique(D.classes.map((info) => info.name)).map((name) => {
      const part = present(([, k]) => D.classes[k].name === name);
      const of = unique(D.classes.filter((info) => info.name === name).map((info) => info.modality));
      return make("class", `${of.length > 1 ? "any" : of[0]}|${name}`,
        `${name} (${of.map((m) => MODALITIES[m]).join(", ")})`, part, "modalities");
    }).filter((column) => column.slots.length);
  }
  return [];
}

/* The reading of one model in one column. Precomputed rows (with intervals) serve wherever no
   filter cuts into the column; any other choice is averaged here, without an interval. */
function untouched(column) {
  const filters = activeFilters();
  return filters.length === 0
    || (filters.length === 1 && column.level === filters[0] && column.id === state[filters[0]]);
}

function cellOf(model, column, setting) {
  if (untouched(column) && column.key !== null) {
    return means(setting).get(`${model}|${column.key}`) ?? null;
  }
  if (column.slots.length === 1) {
    const row = scores(setting).get(`${model}|${column.slots[0]}`);
    return row ? { ...row, classes: 1, expected: 1, complete: true } : null;
  }
  return column.slots.length ? average(model, column.slots, setting, column.statistic) : null;
}

function overallColumn() {
  const filters = activeFilters();
  const slots = selected();
  const base = { name: "overall", title: "Overall", slots, statistic: state.statistic };
  // Tables hold a region's mean over classes, and an entry's, in which both statistics agree.
  const held = { region: ["classes"], dataset: ["classes", "entries"] };
  if (filters.length === 1 && held[filters[0]]?.includes(state.statistic)) {
    const [level] = filters;
    const key = keyIndex.get(`${level}:${state[level]}`);
    if (key !== undefined) return { ...base, level, id: state[level], key };
  }
  return { ...base, level: "overall", id: state.statistic, key: filters.length
    ? null : keyIndex.get(`overall:${state.statistic}`) ?? null };
}

const inTheirProtocol = () => ["space", "policy"].every((name) => state[name] === D.publishedProtocol[name]);
const publishedShown = () => D.published.length > 0 && (state.published === "auto" ? inTheirProtocol() : state.published === "1");

/* Rows of the board: models with their readings, then published ones; ranks only for entrants that
   answered every class of every scan unless asked: a missing prediction counts 0, but it is missing,
   and a mean without the distances of missed structures is one over fewer. */
function boardRows(columns) {
  const setting = settingIndex();
  const overall = overallColumn();
  const all = [overall, ...columns];
  const rows = D.models.map((model, m) => ({
    kind: model.role, model, m,
    cells: new Map(all.map((c) => [c.name, cellOf(m, c, setting)])),
  })).filter((row) => row.kind !== "control" || state.controls === "1");
  const direction = state.down === "1" ? -1 : 1;
  const sortKey = (row) => {
    if (state.sort === "model") return row.model.title.toLowerCase();
    if (state.sort.startsWith("fact:")) return row.model[state.sort.slice(5)] ?? null;
    return row.cells.get(state.sort)?.value ?? null;
  };
  const compare = (a, b) => {
    const [x, y] = [sortKey(a), sortKey(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return (x < y ? -1 : x > y ? 1 : 0) * direction;
  };
  rows.sort(compare);
  for (const row of rows) {
    const cell = row.cells.get("overall");
    row.whole = row.kind === "entrant" && cell !== null && cell.value !== null
      && ((cell.complete && !cell.missing && !cell.undefined) || state.unranked === "1")
      && !D.unranked.includes(state.space);
  }
  // By a measure without a direction nobody is better than another.
  const ranked = measure().better ? rows.filter((row) => row.whole) : [];
  const ranks = rowsOf("ranks", "measure", setting);
  for (const row of ranked) {
    const value = goodness(row.cells.get("overall").value);
    row.rank = 1 + ranked.filter((r) => goodness(r.cells.get("overall").value) > value).length;
    // The tables rank complete models by the mean over entries; no other order has an interval.
    const theirs = state.statistic === "entries" && state.unranked !== "1";
    if (theirs && activeFilters().length === 0) row.rankInterval = ranks.get(`${row.m}|${state.metric}`);
  }
  for (const column of all) {
    const values = ranked.map((r) => r.cells.get(column.name)?.value).filter((v) => v != null);
    values.sort((a, b) => goodness(b) - goodness(a));
    column.best = ranked.length > 1 && values.length ? values[0].toFixed(measure().digits) : null;
  }
  if (publishedShown()) {
    for (const entry of D.published) {
      const cells = new Map(all.map((c) => {
        // A published mean cannot be cut by a filter; a class's own mean is cut only by an entry.
        const whole = untouched(c) || (c.level === "class" && !state.dataset);
        const value = whole ? entry.values[`${c.level}:${c.id}`]?.[state.metric] ?? null : null;
        return [c.name, value === null ? null : { value }];
      }));
      rows.push({ kind: "published", model: { title: entry.title, id: entry.id, citation: entry.citation }, cells });
    }
  }
  return { rows, overall, setting };
}
