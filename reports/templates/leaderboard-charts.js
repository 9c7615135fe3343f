"use strict";
/* Drawings: the cases of a class, and means with their intervals, on one axis for all models. */

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

/* The numbers below charts of one axis. */
function axisLine(range, note) {
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => h("span", { style: `left:${100 * share}%` },
    `${Number((range.low + share * (range.high - range.low)).toPrecision(3))}`));
  const unit = measure().unit === "%" ? "percent" : measure().unit;
  return h("div", { class: "line axis" }, h("span"), h("div", { class: "ticks", "aria-hidden": "true" }, ...ticks),
    h("small", {}, [unit, note].filter((part) => part).join("; ")));
}

/* A dot with its 95 % interval; pale dots are the other models' means. */
function dotChart(row, others, text, range) {
  const picture = svg("svg", { viewBox: "0 0 500 18", preserveAspectRatio: "none", role: "img", "aria-label": text });
  const mark = (value, colour, width) => svg("rect", { x: range.x(value) - width / 2, y: 4, width, height: 10, rx: 2, fill: colour });
  picture.append(svg("line", { x1: 0, y1: 17, x2: 500, y2: 17, stroke: "var(--line)" }));
  for (const value of others) picture.append(mark(value, "var(--bar)", 3));
  if (row?.value === null || row?.value === undefined) return picture;
  if (hasInterval(row)) {
    picture.append(svg("line", { x1: range.x(row.low), y1: 9, x2: range.x(row.high), y2: 9, stroke: "var(--accent)", "stroke-width": 2 }));
  }
  picture.append(mark(row.value, "var(--accent)", 6));
  return picture;
}

/* The axis of means and their intervals: the measure's range, or that of the values. */
function axisOfMeans(rows) {
  const known = rows.filter((row) => row && row.value !== null);
  return axisOf(known.map((row) => ({ from: row.low ?? row.value, to: row.high ?? row.value })));
}
