"use strict";
/* The board's numbers: unpacked from the page, filtered and averaged. No drawing here. */

const D = JSON.parse(document.getElementById("data").textContent);
const METRICS = { dsc: "DSC", nsd: "NSD" };
const MODALITIES = { ct: "CT", mri: "MR" };
const MOST_COLUMNS = 60;

const DEFAULTS = {
  metric: "dsc", policy: "present-only", space: "native", tolerance: "1", view: "paper",
  coverage: "supported", statistic: "entries", columns: "region",
  region: "", modality: "", dataset: "", lesion: "", klass: "",
  facts: "1", published: "auto", controls: "1", sort: "overall", down: "1", unranked: "",
};
const state = { ...DEFAULTS };

const unique = (values) => [...new Set(values)];

/* Index of the setting (policy, space, tolerance, view, coverage) that the switches ask for; the
   nearest one that was computed if that combination was not. */
function settingIndex() {
  const want = [
    ["space", state.space], ["policy", state.policy], ["tolerance", Number(state.tolerance)],
    ["view", state.view], ["coverage", state.coverage],
  ];
  let best = 0, bestHits = -1;
  D.settings.forEach((setting, index) => {
    const hits = want.reduce((n, [name, value], i) => n + (setting[name] === value ? 32 >> i : 0), 0);
    if (hits > bestHits) { best = index; bestHits = hits; }
  });
  return best;
}

/* Columnar rows of a setting as a Map "model|key" -> row; percent values, null = none. */
function unpack(settings, index, keyName) {
  const rows = new Map();
  // A number points at an earlier setting with the same values.
  const columns = typeof settings[index] === "number" ? settings[settings[index]] : settings[index];
  if (!columns) return rows;
  const names = Object.keys(columns).filter((n) => n !== "m" && n !== keyName);
  const scaled = new Set(["dsc", "dl", "dh", "nsd", "nl", "nh"]);
  columns.m.forEach((m, i) => {
    const row = {};
    for (const name of names) {
      const value = columns[name][i];
      row[name] = scaled.has(name) && value !== null ? value / 100 : value;
    }
    rows.set(`${m}|${columns[keyName][i]}`, row);
  });
  return rows;
}

const cache = { groups: new Map(), scores: new Map() };
function groups(setting) {
  if (!cache.groups.has(setting)) cache.groups.set(setting, unpack(D.groups, setting, "k"));
  return cache.groups.get(setting);
}
function scores(setting) {
  if (!cache.scores.has(setting)) cache.scores.set(setting, unpack(D.scores, setting, "s"));
  return cache.scores.get(setting);
}

/* What a row says under the chosen metric. */
function reading(row, metric = state.metric) {
  if (!row) return null;
  const prefix = metric[0];
  return {
    value: row[metric], low: row[prefix + "l"] ?? null, high: row[prefix + "h"] ?? null,
    n: row.n, patients: row.p, classes: row.c ?? null, expected: row.e ?? null,
    missing: row.x ?? 0, complete: row.f,
  };
}

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
   (and then regions). Slots that no model has a value for are not expected of any. */
function average(model, slots, setting, statistic) {
  const rows = scores(setting);
  const metric = state.metric;
  const has = (m, s) => { const row = rows.get(`${m}|${s}`); return row && row[metric] !== null; };
  const expected = slots.filter((s) => D.models.some((_, m) => has(m, s)));
  const all = expected.filter((s) => has(model, s));
  // The mean over regions has no place for a class without one; it still expects the class.
  const placed = (s) => statistic !== "regions" || D.classes[D.slots[s][1]].region !== "unassigned";
  const scored = all.filter(placed);
  const at = (s) => rows.get(`${model}|${s}`)[metric];
  const inner = (parts) => parts.map((part) => mean(part.map(at)));
  let value;
  if (statistic === "entries") value = mean(inner(grouped(scored, (slot) => slot[0])));
  else if (statistic === "regions") {
    value = mean(grouped(scored, (slot) => D.classes[slot[1]].region)
      .map((part) => mean(inner(grouped(part, (slot) => slot[1])))));
  } else value = mean(inner(grouped(scored, (slot) => slot[1])));
  // A class that several entries have is one class, unless entries are what is averaged.
  const count = (part) => (statistic === "entries" ? part.length
    : new Set(part.map((s) => D.slots[s][1])).size);
  const sum = (name) => scored.reduce((n, s) => n + (rows.get(`${model}|${s}`)[name] ?? 0), 0);
  return {
    value, low: null, high: null, n: sum("n"), scores: true, patients: null,
    classes: count(scored), expected: count(expected), missing: sum("x"),
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
  if (state.columns === "lesion" || state.columns === "class") {
    const lesions = state.columns === "lesion";
    return D.classes.map((info, c) => [info, c])
      .filter(([info]) => !lesions || info.region === "lesion")
      .map(([info, c]) => make("class", `${info.modality}|${info.name}`,
        `${info.name} (${MODALITIES[info.modality]})`, present(([, k]) => k === c), "classes"))
      .filter((column) => column.slots.length);
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
    return reading(groups(setting).get(`${model}|${column.key}`));
  }
  if (column.slots.length === 1) {
    const row = reading(scores(setting).get(`${model}|${column.slots[0]}`));
    return row && { ...row, classes: 1, expected: 1, complete: true };
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

const inPaperProtocol = () => state.space === "resampled" && state.policy === "paper";
const publishedShown = () => D.published.length > 0 && (state.published === "auto" ? inPaperProtocol() : state.published === "1");

/* Rows of the board: models with their readings, then published ones; ranks only for entrants that
   answered every class of every scan unless asked: a missing prediction counts 0, but it is missing. */
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
  const whole = (row) => {
    const cell = row.cells.get("overall");
    return cell && cell.value !== null && ((cell.complete && !cell.missing) || state.unranked === "1");
  };
  const ranked = rows.filter((row) => row.kind === "entrant" && whole(row));
  for (const row of ranked) {
    const value = row.cells.get("overall").value;
    row.rank = 1 + ranked.filter((r) => r.cells.get("overall").value > value).length;
    const interval = D.ranks[setting]?.[state.metric]?.[row.m];
    // The tables rank complete models by the mean over entries; no other order has an interval.
    const theirs = state.statistic === "entries" && state.unranked !== "1";
    if (interval && theirs && activeFilters().length === 0) row.rankInterval = interval;
  }
  for (const column of all) {
    const values = ranked.map((r) => r.cells.get(column.name)?.value).filter((v) => v != null);
    column.best = ranked.length > 1 && values.length ? Math.max(...values).toFixed(1) : null;
  }
  if (publishedShown()) {
    for (const entry of D.published) {
      const cells = new Map(all.map((c) => {
        // A published mean cannot be cut by a filter; a class's own mean is cut only by an entry.
        const whole = untouched(c) || (c.level === "class" && !state.dataset);
        const value = whole ? entry.values[`${c.level}:${c.id}`]?.[state.metric] ?? null : null;
        return [c.name, value === null ? null : { value: value / 100 }];
      }));
      rows.push({ kind: "published", model: { title: entry.title, id: entry.id }, cells });
    }
  }
  return { rows, overall, setting };
}
