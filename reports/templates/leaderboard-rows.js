"use strict";
/* The rows of the board: models with their readings, sorted and ranked; means over trainings and published ones below. */

const inTheirProtocol = () => ["space", "policy"].every((name) => state[name] === D.publishedProtocol[name]);
const publishedShown = () => D.published.length > 0 && (state.published === "auto" ? inTheirProtocol() : state.published === "1");

/* The mean over a model's trainings with several seeds, and their standard deviation; never ranked. */
function overSeeds(group, rows, columns) {
  const members = rows.filter((row) => group.models.includes(row.model.id));
  if (members.length < 2) return null;
  const cells = new Map(columns.map((column) => {
    const values = members.map((row) => row.cells.get(column.name)?.value);
    if (values.some((v) => v === null || v === undefined)) return [column.name, null];
    const value = values.reduce((a, b) => a + b) / values.length;
    const deviation = Math.sqrt(values.reduce((sum, v) => sum + (v - value) ** 2, 0) / (values.length - 1));
    return [column.name, { value, deviation }];
  }));
  return { kind: "trainings", model: { title: `${group.title}, mean of ${members.length} trainings`, id: group.title }, cells };
}

/* A row of a model of the run has its number `m`; published and averaged ones have none. */
const isModel = (row) => row.m !== undefined;

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
  rows.push(...D.trainings.map((group) => overSeeds(group, rows, all)).filter((row) => row));
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
